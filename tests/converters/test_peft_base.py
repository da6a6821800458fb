"""LoRA adapters whose base model lies on this machine: both are one network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

transformers = pytest.importorskip("transformers")

import graphws  # noqa: E402
from graphws.checkpoints.conversion import Conversion  # noqa: E402
from graphws.converting import read_contents  # noqa: E402
from graphws_converters.sources.lora_sites import sites_of  # noqa: E402
from graphws_converters.sources.peft_base import on_base  # noqa: E402
from tests.graph.samples import bits  # noqa: E402

LLAMA = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12, "vocab_size": 19}
GPT2 = {"n_embd": 8, "n_layer": 1, "n_head": 2, "vocab_size": 19, "n_positions": 16}
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 6}
QUERY = "base_model.model.model.layers.0.self_attn.q_proj"
FUSED = "base_model.model.transformer.h.0.attn.c_attn"
State = dict[str, Tensor]


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _pair(site: str, read: int, write: int) -> State:
    return {f"{site}.lora_A.weight": _normal(2, read), f"{site}.lora_B.weight": _normal(write, 2)}


def _base(folder: Path, gpt2: bool = False) -> Any:
    torch.manual_seed(0)
    if gpt2:
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**GPT2))
    else:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA))
    model.save_pretrained(folder / "base")
    return model.eval()


def _adapter(folder: Path, state: State, base: str = "../base", **config: Any) -> Path:
    (folder / "adapter").mkdir()
    save_file(state, folder / "adapter" / "adapter_model.safetensors")
    text = json.dumps({**CONFIG, "base_model_name_or_path": base, **config})
    (folder / "adapter" / "adapter_config.json").write_text(text, encoding="utf-8")
    return folder / "adapter"


def _ranks(found: Conversion) -> list[tuple[int, str]]:
    return [(space.size, str(space.action)) for space in found.graph.spaces if space.role == "rank"]


def _logits(found: Conversion, ids: Tensor) -> Tensor:
    assert found.run is not None
    assert found.weights is not None
    return found.run(found.weights, ids)


@pytest.mark.parametrize("relative", [True, False])
def test_the_base_model_and_its_adapter_are_one_network(tmp_path: Path, relative: bool) -> None:
    model, state = _base(tmp_path), _pair(QUERY, 8, 8)
    folder = _adapter(tmp_path, state, "../base" if relative else str(tmp_path / "base"))
    found = graphws.convert(folder, generator=torch.Generator().manual_seed(0))
    assert found.verified
    assert found.notes[0] == "a LoRA adapter of 1 sites on its base model 'base'"
    assert _ranks(found) == [(2, "linear")]
    alone = graphws.convert(tmp_path / "base", generator=torch.Generator().manual_seed(0))
    permutations = found.graph.log10_order() - alone.graph.log10_order()
    assert permutations == pytest.approx(torch.tensor(2.0).log10().item()), "the two numbers between A and B"
    assert found.weights is not None
    back = found.weights.to_state_dict()
    assert all(bits(back[key.removeprefix("base_model.model.")], value) for key, value in state.items())
    own = model.state_dict()
    assert bits(
        back[f"{QUERY.removeprefix('base_model.model.')}.base_layer.weight"],
        own["model.layers.0.self_attn.q_proj.weight"],
    )
    assert set(read_contents(folder).state) == set(back)


def test_its_outputs_are_those_of_the_merged_weight(tmp_path: Path) -> None:
    model, state = _base(tmp_path), _pair(QUERY, 8, 8)
    ids = torch.randint(19, (2, 5), generator=torch.Generator().manual_seed(0))
    found = graphws.convert(_adapter(tmp_path, state), {"input_ids": ids}, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        model.model.layers[0].self_attn.q_proj.weight += (
            3 * state[f"{QUERY}.lora_B.weight"] @ state[f"{QUERY}.lora_A.weight"]
        )
        expected = model(input_ids=ids).logits
    ours = _logits(found, ids)
    torch.testing.assert_close(ours[: expected.numel()].reshape(-1), expected.reshape(-1), rtol=1e-4, atol=1e-5)


def test_dora_brings_rows_to_their_lengths(tmp_path: Path) -> None:
    model = _base(tmp_path)
    state = _pair(QUERY, 8, 8) | {f"{QUERY}.lora_magnitude_vector": _normal(8).abs() + 1}
    file = _adapter(tmp_path, state, use_dora=True) / "adapter_config.json"
    sites = tuple(sites_of(file, state, CONFIG))
    adapted, _ = on_base(tmp_path / "base", state, sites)
    ids = torch.randint(19, (2, 5), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        weight = model.model.layers[0].self_attn.q_proj.weight
        weight += 3 * state[f"{QUERY}.lora_B.weight"] @ state[f"{QUERY}.lora_A.weight"]
        weight *= (state[f"{QUERY}.lora_magnitude_vector"] / weight.norm(dim=1)).unsqueeze(1)
        torch.testing.assert_close(adapted(input_ids=ids).logits, model(input_ids=ids).logits, rtol=1e-4, atol=1e-5)


def test_the_transposed_layers_of_gpt2_and_whole_tensors(tmp_path: Path) -> None:
    model = _base(tmp_path, gpt2=True)
    norm = "base_model.model.transformer.ln_f.weight"
    state = _pair(FUSED, 8, 24) | {norm: _normal(8)}
    sites = tuple(sites_of(_adapter(tmp_path, state) / "adapter_config.json", state, CONFIG))
    adapted, said = on_base(tmp_path / "base", state, sites)
    assert said == ["the adapter's own 'transformer.ln_f.weight' stands in the place of the base model's"]
    ids = torch.randint(19, (2, 5), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        merged = 3 * state[f"{FUSED}.lora_B.weight"] @ state[f"{FUSED}.lora_A.weight"]
        model.transformer.h[0].attn.c_attn.weight += merged.T
        model.transformer.ln_f.weight.copy_(state[norm])
        torch.testing.assert_close(adapted(input_ids=ids).logits, model(input_ids=ids).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("state", "base", "reason"),
    [
        (_pair(QUERY, 8, 8), "somebody/base", ""),
        (_pair(QUERY, 8, 6), "../base", "reads 8 and writes 8 numbers; LoRA's shapes are (2, 8) and (6, 2)"),
        (
            _pair(QUERY.replace("layers.0", "layers.7"), 8, 8),
            "../base",
            "has no layer 'model.layers.7.self_attn.q_proj'",
        ),
        (
            _pair(QUERY, 8, 8) | {"base_model.model.score.weight": _normal(3, 8)},
            "../base",
            "of shape (3, 8), its base model none",
        ),
        (
            _pair(QUERY.replace("self_attn.q_proj", "input_layernorm"), 8, 8),
            "../base",
            "on a layer of type LlamaRMSNorm",
        ),
    ],
)
def test_without_a_base_that_fits_it_is_converted_by_itself(
    tmp_path: Path, state: State, base: str, reason: str
) -> None:
    _base(tmp_path)
    found = graphws.convert(_adapter(tmp_path, state, base))
    assert found.verified
    assert found.notes[0] == "a LoRA adapter of 1 sites"
    said = [note for note in found.notes if note.startswith("its base model is not used: ")]
    assert (len(said) == 1 and reason in said[0]) if reason else not said


def test_the_file_alone_is_the_folder_and_no_chain_of_layers(tmp_path: Path) -> None:
    state = _pair(QUERY, 8, 8)
    folder = _adapter(tmp_path, state)
    assert graphws.convert(folder / "adapter_model.safetensors").notes[0] == "a LoRA adapter of 1 sites"
    (folder / "adapter_config.json").unlink()
    for activation in (None, "tanh"):
        found = graphws.convert(folder / "adapter_model.safetensors", activation=activation)
        assert not any(space.moves for space in found.graph.spaces)
        assert found.notes[0].startswith("the tensors are an adapter's (LoRA): give its folder")
