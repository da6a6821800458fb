"""Folders of Hugging Face load as the library loads them, and are converted from the folder alone."""

from __future__ import annotations

import json
import math
import os
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from graphws import convert
from graphws.checkpoints.conversion import Conversion, Hints
from graphws.errors import DataError
from graphws_converters.modules.conversion import convert_module
from graphws_converters.modules.hugging_face import prepare
from graphws_converters.sources import huggingface
from graphws_converters.sources.checks import leave_checks_out
from graphws_converters.sources.classes import class_of
from graphws_converters.sources.config import read_config
from graphws_converters.sources.draws import NOTE, fix_draws
from graphws_converters.sources.sample import sample_inputs
from graphws_converters.sources.weights import weights_in
from tests.converters.hub_folders import FAMILIES, TEXT, VISION, Family
from tests.graph import samples

pytest.importorskip("transformers")
QUICK = ("TimeSeriesTransformerForPrediction", "MusicgenForCausalLM", "CLIPModel")
BERT = Family("BertForMaskedLM", "BertConfig", TEXT)
ONE_PATH = ("SwitchTransformersForConditionalGeneration",)
"""Families that read numbers out of tensors and go on by them: a trace is one path of several, and says so."""
EVERYTHING = "GRAPHWS_ALL_NETWORKS"
"""The environment variable under which every family is converted; without it a third of them are, to save minutes."""
_SLOW = [family for family in FAMILIES if family.model not in QUICK]
REGULAR = _SLOW if os.environ.get(EVERYTHING) else [f for k, f in enumerate(_SLOW) if k % 3 == 0 or f.model in ONE_PATH]
NAMES = [family.model for family in FAMILIES]


@pytest.fixture(autouse=True)
def _quiet() -> None:
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def _loads(folder: Path, model: nn.Module) -> Conversion:
    """The conversion of a folder, which must be verified and hold the model's numbers."""
    found = convert(folder)
    assert found.verification is not None, found.verdict
    assert found.verification.error < 1e-6 < 1e-4 < found.verification.control
    assert found.weights is not None
    state, back = model.state_dict(), found.weights.to_state_dict()
    assert sorted(state) == sorted(back)
    assert all(samples.bits(back[key], value) for key, value in state.items())
    return found


def _stored(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def _store(folder: Path, state: dict[str, Tensor]) -> None:
    save_file({key: x.clone() for key, x in state.items()}, folder / "model.safetensors", {"format": "pt"})


def _edit(folder: Path, **entries: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | entries))


def _refusal(folder: Path) -> str:
    with pytest.raises(DataError) as refused:
        convert(folder)
    return str(refused.value).replace(str(folder), "FOLDER")


# Inputs, for every family; conversions, for a few and, slow, for all.


@pytest.mark.parametrize("family", FAMILIES, ids=NAMES)
def test_inputs_are_made_up_for_each_kind_of_data(family: Family) -> None:
    model = family.build()
    prepare(model)
    inputs = sample_inputs(model, torch.Generator().manual_seed(0), "cpu")
    assert set(inputs) == set(family.inputs.split())
    with torch.no_grad():
        model(**inputs)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.model in QUICK], ids=sorted(QUICK))
def test_a_folder_is_converted_by_itself(family: Family, tmp_path: Path) -> None:
    _loads(tmp_path, family.save(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("family", REGULAR, ids=[family.model for family in REGULAR])
def test_every_family_is_converted_from_its_folder(family: Family, tmp_path: Path) -> None:
    model = family.save(tmp_path)
    if family.model in ONE_PATH:
        assert convert(tmp_path).verdict.startswith("UNVERIFIED (one path seen: a number was read from ")
    else:
        _loads(tmp_path, model)


def test_the_end_of_a_text_is_marked_and_no_other_special_token_is_made_up() -> None:
    model = next(family for family in FAMILIES if family.model == "LlavaForConditionalGeneration").build()
    inputs = sample_inputs(model, torch.Generator().manual_seed(0), "cpu")
    tokens = inputs["input_ids"]
    assert (tokens == 40).sum(1).tolist() == [4, 4], "a place for each of 2 x 2 patches"
    assert tokens[:, -1].tolist() == [2, 2]
    assert not torch.isin(tokens[:, :-1], torch.tensor([0, 1, 2])).any()


# Tensors: surplus, missing, renamed, in shards.


def test_surplus_tensors_are_noted(tmp_path: Path) -> None:
    model = BERT.save(tmp_path)
    more = {f"cls.seq_relationship.{name}": torch.zeros(2) for name in "abcd"}
    _store(tmp_path, _stored(tmp_path) | more | {"bert.embeddings.position_ids": torch.arange(32)[None]})
    found = _loads(tmp_path, model)
    assert found.notes[0] == (
        "4 tensors of the weights are not used by BertForMaskedLM: 'cls.seq_relationship.a', 'cls.seq_relationship.b', "
        "'cls.seq_relationship.c' and 1 more"
    )


def test_missing_tensors_and_other_shapes_stay_refused(tmp_path: Path) -> None:
    BERT.save(tmp_path)
    whole = _stored(tmp_path)
    _store(tmp_path, {key: x for key, x in whole.items() if "output.dense" not in key})
    assert _refusal(tmp_path) == (
        "FOLDER: missing in the weights for BertForMaskedLM: 'bert.encoder.layer.0.attention.output.dense.bias' and 3 "
        "more"
    )
    _store(tmp_path, whole | {"bert.encoder.layer.0.output.dense.bias": torch.zeros(5)})
    assert _refusal(tmp_path).startswith("FOLDER/config.json: transformers cannot build BertForMaskedLM from it: ")


def test_counters_may_be_missing(tmp_path: Path) -> None:
    family = next(family for family in FAMILIES if family.model == "ResNetForImageClassification")
    family.save(tmp_path)
    whole = _stored(tmp_path)
    _store(tmp_path, {key: x for key, x in whole.items() if x.is_floating_point()})
    loaded, notes = huggingface.build(tmp_path, _stored(tmp_path))
    assert notes == ()
    assert sorted(loaded.state_dict()) == sorted(whole)
    _store(tmp_path, {key: x for key, x in whole.items() if "running_mean" not in key})
    assert "missing in the weights for ResNetForImageClassification: " in _refusal(tmp_path)


@pytest.mark.parametrize("prefix", [False, True])
def test_older_names_are_renamed_and_prefixes_added(tmp_path: Path, prefix: bool) -> None:
    model = BERT.save(tmp_path)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    state = {}
    for key, x in _stored(tmp_path).items():
        for new, name in old.items():
            key = key.replace(new, name)
        state[key.removeprefix("bert.") if prefix else key] = x
    assert any("gamma" in key for key in state)
    _store(tmp_path, state)
    loaded, notes = huggingface.build(tmp_path, _stored(tmp_path))
    assert notes == ()
    assert all(torch.equal(loaded.state_dict()[key], x) for key, x in model.state_dict().items())


def test_shards_of_pickles_are_read(tmp_path: Path) -> None:
    model = BERT.save(tmp_path)
    state = _stored(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    places = {key: f"pytorch_model-0000{1 + k % 2}-of-00002.bin" for k, key in enumerate(state)}
    for name in set(places.values()):
        torch.save({key: x for key, x in state.items() if places[key] == name}, tmp_path / name)
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    _loads(tmp_path, model)
    assert convert(index).verdict.startswith("UNVERIFIED"), "a file of shards by itself is a state dict"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(places, "model-00001-of-00001.safetensors")}))
    assert _refusal(tmp_path) == (
        "FOLDER/pytorch_model.bin.index.json: shard 'model-00001-of-00001.safetensors' is no .bin file beside the index"
    )


# Files of weights that are not read.

_NAMES = "model.safetensors, model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json"
_KNOWN = f"not read: the weights of a folder are {_NAMES}; rename or convert it"


@pytest.mark.parametrize(
    ("name", "begins", "message"),
    [
        ("tf_model.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes (.h5), which is not read: export"),
        ("flax_model.msgpack", b"\x81\xa5model", "a msgpack file, as flax writes, which is not read: load it"),
        ("model.Q4.gguf", b"GGUF\3\0\0\0", _KNOWN),
        ("model.ckpt.index", b"", None),
        ("model.fp16.safetensors", b"", _KNOWN),
        ("consolidated.00.pth", b"", _KNOWN),
        ("training_args.bin", b"\x89HDF\r\n\x1a\n", None),
        ("optimizer.pt", b"", None),
        ("README.md", b"# h5", None),
    ],
)
def test_weights_under_another_name_are_named(tmp_path: Path, name: str, begins: bytes, message: str | None) -> None:
    (tmp_path / name).write_bytes(begins)
    if message is None:
        assert weights_in(tmp_path) is None
        return
    with pytest.raises(DataError) as refused:
        weights_in(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / name}: {message}")


def test_links_that_lead_nowhere_and_pointers_are_named(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"a link that leads nowhere: the weights are gone, download them again$"):
        weights_in(tmp_path)
    file.unlink()
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(DataError, match=r"a pointer of Git LFS, not the file itself, which is not read: fetch"):
        weights_in(tmp_path)


# Configs: numbers, classes, code, settings.


@pytest.mark.parametrize("written", ['{"__float__": "Infinity"}', "Infinity"])
def test_infinite_numbers_of_a_config_are_read(tmp_path: Path, written: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(f'{{"time_step_limit": [0.0, {written}], "inner": {{"__float__": "Infinit"}}}}')
    assert read_config(file) == {"time_step_limit": [0.0, math.inf], "inner": {"__float__": "Infinit"}}
    file.write_text('{"eps": {"__float__": "NaN"}}')
    with pytest.raises(DataError, match=r"'eps' must be a number, got nan$"):
        read_config(file)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("musicgen_decoder", "MusicgenForCausalLM"),
        ("time_series_transformer", "TimeSeriesTransformerForPrediction"),
        ("clipseg", "CLIPSegForImageSegmentation"),
        ("patchtst", "PatchTSTForPretraining"),
        ("bert", "BertForMaskedLM"),
        (None, "BertForMaskedLM"),
        ("bert", None),
    ],
)
def test_classes_are_found_in_the_tables_and_beside_the_config(kind: str | None, name: str | None) -> None:
    config = {"model_type": kind, "architectures": None if name is None else [name]}
    found = class_of(Path("config.json"), config)
    assert found.__name__ == (name or "BertModel")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("bert", "GPT2Model"),
        ("bert", "BertEncoder"),
        ("bert", "PreTrainedModel"),
        ("bert", "BertConfig"),
        ("bert", "torch"),
        ("gpt2", "BertModel"),
    ],
)
def test_no_other_class_is_taken(kind: str, name: str) -> None:
    with pytest.raises(DataError, match=f"architecture '{name}' is no model of type '{kind}' in transformers"):
        class_of(Path("config.json"), {"model_type": kind, "architectures": [name]})


def test_code_and_kernels_that_a_config_names_are_left_aside(tmp_path: Path) -> None:
    model = BERT.save(tmp_path)
    (tmp_path / "code.py").write_text("raise SystemExit")
    _edit(tmp_path, auto_map={"AutoModel": "code.Net"}, attn_implementation="somebody/kernel", fusion_config={"a": 1})
    loaded, notes = huggingface.build(tmp_path, _stored(tmp_path))
    assert notes == ("the config names code of its own, which is never run: this is BertForMaskedLM of transformers",)
    assert all(torch.equal(loaded.state_dict()[key], x) for key, x in model.state_dict().items())
    assert loaded.config._attn_implementation in ("sdpa", "eager")


def test_quantised_weights_are_refused_by_name(tmp_path: Path) -> None:
    BERT.save(tmp_path)
    _edit(tmp_path, quantization_config={"quant_method": "gptq", "bits": 4})
    assert _refusal(tmp_path) == (
        "FOLDER/config.json: its weights are quantised ('quantization_config'): dequantise the model, and save it again"
    )


def test_nothing_is_asked_of_the_network_while_a_model_is_built() -> None:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    with huggingface.offline():
        assert constants.is_offline_mode()
    assert before == constants.HF_HUB_OFFLINE


def test_numbers_and_structure_are_read_without_converting(tmp_path: Path) -> None:
    model = BERT.save(tmp_path)
    _store(tmp_path, _stored(tmp_path) | {"surplus": torch.zeros(2)})
    found = huggingface.read_folder(tmp_path)
    assert sorted(found.state) == sorted(model.state_dict())


# Random numbers.


class Noisy(nn.Module):
    """Adds random numbers to hidden neurons, or to the rows of a batch."""

    def __init__(self, each: bool) -> None:
        super().__init__()
        self.a, self.b, self.each = nn.Linear(3, 6), nn.Linear(6, 2), each

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        drawn = torch.rand(6) if self.each else torch.rand(len(x), 1)
        return self.b(h * drawn)  # type: ignore[no-any-return]


@pytest.mark.parametrize("each", [True, False])
def test_neurons_with_random_numbers_of_their_own_do_not_move(each: bool) -> None:
    module = Noisy(each)
    fix_draws(module)
    held = torch.get_rng_state(), random.getstate()
    found = convert_module(module, torch.zeros(4, 3), generator=torch.Generator().manual_seed(0))
    assert torch.equal(held[0], torch.get_rng_state())
    assert held[1] == random.getstate()
    order = math.exp(found.graph.log10_order() * math.log(10))
    assert round(order) == (1 if each else math.factorial(6))
    assert found.verified is not each


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 0])
def test_a_model_that_draws_is_a_function_of_one_seed(tmp_path: Path, seed: int | None) -> None:
    sizes = {
        "is_decoder": True, "vocab_size": 38, "hidden_size": 16, "attention_head_size": 4, "num_attention_heads": 2,
        "feed_forward_size": 20, "attn_layers": ["local", "lsh"], "axial_pos_shape": [4, 8],
        "axial_pos_embds_dim": [8, 8], "max_position_embeddings": 32, "lsh_attn_chunk_length": 4,
        "local_attn_chunk_length": 4, "num_buckets": 2, "num_hashes": 1, "hash_seed": seed, "eos_token_id": 2,
    }  # fmt: skip
    Family("ReformerModelWithLMHead", "ReformerConfig", sizes).save(tmp_path)
    found = convert(tmp_path)
    assert found.notes[0] == NOTE
    assert found.verified or found.reason.startswith("one path seen"), found.verdict


def test_inputs_that_are_given_are_used(tmp_path: Path) -> None:
    Family("ViTForImageClassification", "ViTConfig", VISION).save(tmp_path)
    given = {"pixel_values": torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))}
    found = huggingface.convert_folder(tmp_path, Hints(given))
    assert found.inputs[1]["pixel_values"].shape == (3, 3, 16, 16)


# Checks.


class Says(nn.Module):
    """Writes a number of its hidden neurons into a text, and may ask what it says."""

    def __init__(self, asks: bool) -> None:
        super().__init__()
        self.a, self.b, self.asks = nn.Linear(3, 6), nn.Linear(6, 2), asks

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        text = f"{h[0, 0]:.2f}" if not self.asks else repr(h[0, 0])
        return self.b(h + len(text) * 1e-9)  # type: ignore[no-any-return]


@pytest.mark.parametrize("asks", [False, True])
def test_a_text_for_a_message_holds_no_number_and_every_other_is_seen(asks: bool) -> None:
    module = Says(asks)
    leave_checks_out(module)
    found = convert_module(module, torch.zeros(4, 3), generator=torch.Generator().manual_seed(0))
    assert found.verified is not asks
    assert f"{torch.tensor(0.5)}" == "0.5", "formatted as before where no model runs"
