"""Folders of LoRA adapters, in the layout that PEFT writes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import graphws
from graphws.checkpoints.conversion import Conversion
from graphws.errors import DataError
from graphws.models import DWSNet
from tests.graph.samples import bits

LLAMA = "base_model.model.model.layers.{}.self_attn."
CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "base_model_name_or_path": "somebody/base",
    "r": 3,
    "lora_alpha": 6,
    "target_modules": ["q_proj", "v_proj"],
    "use_rslora": False,
    "use_dora": False,
}
State = dict[str, Tensor]


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(math.prod(shape)))


def adapter(layers: int = 2, rank: int = 3, dtype: torch.dtype = torch.float32) -> State:
    state = {}
    for layer in range(layers):
        for name, outputs in (("q_proj", 6), ("v_proj", 4)):
            site = LLAMA.format(layer) + name
            state[f"{site}.lora_A.weight"] = normal(rank, 6).to(dtype)
            state[f"{site}.lora_B.weight"] = normal(outputs, rank).to(dtype)
    return state


def written(folder: Path, state: State, file: str = "adapter_model.safetensors", **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({**CONFIG, **config}), encoding="utf-8")
    if file.endswith(".bin"):
        torch.save(state, folder / file)
    else:
        save_file(state, folder / file)
    return folder


def scalings(found: Conversion) -> list[float]:
    steps = [step for step in found.graph.operations if step.kind == "mul" and dict(step.attributes)]
    return [step.attribute("other") for step in steps]


def outputs(found: Conversion, *inputs: Tensor) -> Tensor:
    assert found.run is not None
    assert found.weights is not None
    return found.run(found.weights, *inputs)


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_model.bin"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_every_rank_is_a_space_of_matrices(tmp_path: Path, file: str, dtype: torch.dtype) -> None:
    state = adapter(dtype=dtype)
    found = graphws.convert(written(tmp_path, state, file))
    assert found.verified
    assert found.notes[0] == "a LoRA adapter of 4 sites"
    ranks = [space for space in found.graph.spaces if space.moves]
    assert [(s.size, str(s.action), s.role) for s in ranks] == [(3, "linear", "rank")] * 4
    assert {check.verdict for check in found.actions} == {"confirmed"}
    assert found.runs is not None
    assert found.runs.batch == "any"
    assert scalings(found) == [2.0] * 4
    assert found.weights is not None
    back = found.weights.to_state_dict()
    assert list(back) == list(state)
    assert all(bits(back[key], value) for key, value in state.items())


def test_it_computes_b_a_x_times_alpha_by_rank(tmp_path: Path) -> None:
    state = adapter(1)
    found = graphws.convert(written(tmp_path, state, lora_alpha=12))
    x, y = normal(5, 6), normal(7, 6)
    q, v = (LLAMA.format(0) + name for name in ("q_proj", "v_proj"))
    expected = [
        4.0 * z @ state[f"{site}.lora_A.weight"].T @ state[f"{site}.lora_B.weight"].T for site, z in ((q, x), (v, y))
    ]
    torch.testing.assert_close(outputs(found, x, y), torch.cat([e.flatten() for e in expected]))


def test_roles_are_those_of_the_sites_without_the_numbers_of_layers(tmp_path: Path) -> None:
    small, large = (graphws.convert(written(tmp_path / str(n), adapter(n, rank))) for n, rank in ((1, 3), (3, 2)))
    assert {p.role for p in large.graph.parameters} == {
        "model.layers.self_attn.q_proj.lora_A.x6",
        "model.layers.self_attn.q_proj.lora_B.x6",
        "model.layers.self_attn.v_proj.lora_A.x6",
        "model.layers.self_attn.v_proj.lora_B.x4",
    }
    model = DWSNet([small.graph], 2, layers=2, channels=4, share="role").double().eval()
    assert large.weights is not None
    weights = large.weights.to(dtype=torch.float64)
    moved = large.graph.group().random(torch.Generator().manual_seed(0), dtype=torch.float64).act(weights)
    torch.testing.assert_close(model(moved), model(weights), rtol=0, atol=1e-10)


def test_scalings_of_single_sites_and_of_rslora(tmp_path: Path) -> None:
    state = adapter(2)
    del state[(key := LLAMA.format(1) + "q_proj.lora_A.weight")], state[key.replace("_A", "_B")]
    state |= {key: normal(4, 6), key.replace("_A", "_B"): normal(6, 4)}  # a rank of its own
    for patterns, expected in (
        ({}, [2.0, 2.0, 1.5, 2.0]),
        ({"v_proj": 3}, [2.0, 1.0, 1.5, 1.0]),
        ({"model.layers.1.self_attn.q_proj": 8}, [2.0, 2.0, 2.0, 2.0]),
        ({"^v_proj": 3}, [2.0, 2.0, 1.5, 2.0]),
    ):
        assert scalings(graphws.convert(written(tmp_path, state, alpha_pattern=patterns))) == expected
    found = scalings(graphws.convert(written(tmp_path, state, use_rslora=True)))
    assert found == pytest.approx([6 / math.sqrt(3)] * 2 + [3.0, 6 / math.sqrt(3)])


def test_convolutions_embeddings_magnitudes_and_biases(tmp_path: Path) -> None:
    state = {
        "base_model.model.conv.lora_A.weight": normal(2, 3, 3, 3),
        "base_model.model.conv.lora_B.weight": normal(5, 2, 1, 1),
        "base_model.model.conv.lora_magnitude_vector": normal(1, 5, 1, 1),
        "base_model.model.tokens.lora_embedding_A": normal(2, 9),
        "base_model.model.tokens.lora_embedding_B": normal(4, 2),
        "base_model.model.up.lora_A.weight": normal(2, 6),
        "base_model.model.up.lora_B.weight": normal(3, 2),
        "base_model.model.up.lora_B.bias": normal(3),
        "base_model.model.up.lora_magnitude_vector.weight": normal(3),
        "base_model.model.classifier.weight": normal(2, 7),
    }
    found = graphws.convert(written(tmp_path, state, use_dora=True))
    assert found.verified
    assert [(s.size, str(s.action)) for s in found.graph.spaces if s.moves] == [(2, "linear")] * 3
    assert found.notes[1].startswith("DoRA: magnitudes scale what is added here")
    assert "'base_model.model.classifier.weight' is not used" in found.notes
    assert {p.name.removeprefix("base_model.model."): p.role for p in found.graph.parameters} == {
        "conv.lora_A.weight": "conv.lora_A.x27",
        "conv.lora_B.weight": "conv.lora_B.x5",
        "conv.lora_magnitude_vector": "conv.lora_magnitude.x5",
        "tokens.lora_embedding_A": "tokens.lora_A.x9",
        "tokens.lora_embedding_B": "tokens.lora_B.x4",
        "up.lora_A.weight": "up.lora_A.x6",
        "up.lora_B.weight": "up.lora_B.x3",
        "up.lora_B.bias": "up.lora_B.bias.x3",
        "up.lora_magnitude_vector.weight": "up.lora_magnitude.x3",
        "classifier.weight": "unused.x2x7",
    }
    assert found.weights is not None
    back = found.weights.to_state_dict()
    assert all(bits(back[key], value) for key, value in state.items())
    assert set(back) == set(state)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3'; only LORA is read"),
        ({"peft_type": None}, "peft_type is 'None'; only LORA is read"),
        (
            {"target_parameters": ["mlp.experts"]},
            "'target_parameters' is set: what its tensors compute is not known here",
        ),
        ({"lora_alpha": "six"}, "'lora_alpha' must be a number, got 'six'"),
        ({"lora_alpha": None}, "'lora_alpha' must be a number, got 'None'"),
        ({"alpha_pattern": {"(a+)+$": 3}}, "the alpha_pattern '(a+)+$' is an expression; only paths are read"),
        ({"alpha_pattern": [3]}, "'alpha_pattern' must be a mapping"),
        ({"auto_map": {"a": "b"}}, "asks for code of its own ('auto_map'), which is never run"),
    ],
)  # fmt: skip
def test_configs_that_are_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    folder = written(tmp_path, adapter(1), **config)
    with pytest.raises(DataError) as caught:
        graphws.convert(folder)
    assert str(caught.value) == f"{folder / 'adapter_config.json'}: {message}"


SITE = LLAMA.format(0) + "q_proj"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({f"{SITE}.lora_B.weight": None}, f"{SITE!r} has no 'lora_B'"),
        ({f"{SITE}.lora_A.weight": normal(2, 6)}, f"tensors of shapes (2, 6), (6, 3) at {SITE!r} are no LoRA's"),
        ({f"{SITE}.lora_A.weight": normal(3)}, f"tensors of shapes (3,), (6, 3) at {SITE!r} are no LoRA's"),
        ({f"{SITE}.lora_A.other.weight": normal(3, 6)}, f"{SITE + '.lora_A.other.weight'!r} is there twice, for two "
                                                        "adapters: save one of them"),
        ({f"{SITE}.lora_A.weight": torch.ones(3, 6, dtype=torch.int8)}, f"the tensors at {SITE!r} are no floating "
                                                                        "numbers"),
    ],
)  # fmt: skip
def test_tensors_that_are_refused(tmp_path: Path, changed: dict[str, Tensor | None], message: str) -> None:
    state = {key: value for key, value in {**adapter(1), **changed}.items() if value is not None}
    folder = written(tmp_path, state, "adapter_model.bin")
    with pytest.raises(DataError) as caught:
        graphws.convert(folder)
    assert str(caught.value) == f"{folder / 'adapter_model.bin'}: {message}"


def test_files_without_lora_and_keys_that_are_no_paths(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no tensors of LoRA: no key ends in '\.lora_A\.weight'$"):
        graphws.convert(written(tmp_path, {"w": normal(2, 3)}))
    state = adapter(1) | {"base_model.forward.weight": normal(2)}
    with pytest.raises(DataError, match=r"^'base_model\.forward\.weight' cannot be the path of a parameter$"):
        graphws.convert(written(tmp_path, state))


def test_a_pickle_that_runs_code_is_not_run(tmp_path: Path) -> None:
    folder = written(tmp_path, adapter(1))
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    with pytest.raises(DataError):
        graphws.convert(folder)
