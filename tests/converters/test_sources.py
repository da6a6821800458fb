"""``graphws convert SOURCE -o OUT`` on every kind of source: OUT loads back, with the same verdict."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from graphws.checkpoints.conversion import Conversion
from graphws.checkpoints.example_inputs import example_outputs
from graphws.checkpoints.network_file import load_network
from graphws.cli import app
from graphws.converting import convert
from graphws.errors import UsageError, VerificationError
from graphws.operations import mlp_graph
from tests.converters.networks import seeded
from tests.fuzz.contents import configs, onnx_models

MLP = seeded(lambda: nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))).eval()


def _convert(source: Path, folder: Path, *options: str) -> tuple[str, Conversion]:
    out = folder / "out.safetensors"
    result = CliRunner().invoke(app, ["convert", str(source), "-o", str(out), "--overwrite", *options])
    assert result.exit_code == 0, result.output
    assert f"written: {out}" in result.stdout
    back = load_network(out, effort=math.inf)
    assert load_network(out).verdict.replace("by its writer: ", "") in result.stdout
    return result.stdout, back


def _pairs(folder: Path, module: nn.Module = MLP) -> list[str]:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        np.save(folder / "x.npy", x.numpy())
        np.save(folder / "y.npy", module(x).numpy())
    return ["--inputs", str(folder / "x.npy"), "--expected", str(folder / "y.npy")]


def _training(folder: Path) -> Path:
    torch.save({"epoch": 3, "model_state_dict": MLP.state_dict()}, folder / "net.pth")
    return folder / "net.pth"


def _shards(folder: Path) -> Path:
    state, places = MLP.state_dict(), {}
    for k, (key, tensor) in enumerate(state.items()):
        places[key] = f"model-{k + 1:05}-of-00004.safetensors"
        save_file({key: tensor}, folder / places[key])
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder / "model.safetensors.index.json"


@pytest.mark.parametrize("source", [_training, _shards])
def test_state_dicts_are_unverified_until_inputs_and_outputs_agree(tmp_path: Path, source: object) -> None:
    path = source(tmp_path)  # type: ignore[operator]
    _, guess = _convert(path, tmp_path, "--activation", "tanh")
    assert guess.verdict == (
        f"UNVERIFIED ({path.name} holds no code: taken as the chain 0 -> 2 with tanh in between; "
        "the module would show it)"
    )
    text, known = _convert(path, tmp_path, "--activation", "tanh", *_pairs(tmp_path))
    assert known.verified
    assert known.graph == guess.graph == mlp_graph([3, 6, 2], "tanh")
    assert f"note: {path.name} holds no code: taken as the chain 0 -> 2 with tanh in between" in text
    assert "; it computes the given outputs to " in text


def test_a_hypothesis_that_computes_something_else_is_an_error(tmp_path: Path) -> None:
    path, x = _training(tmp_path), torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = MLP(x)
    message = (
        r"^net\.pth holds no code: taken as the chain 0 -> 2 with relu in between; the module would show it: but its "
        r"outputs differ from the given ones by \d\.\de[+-]\d\d \(allowed 0\.001\)$"
    )
    with pytest.raises(VerificationError, match=message):
        convert(path, x, example_outputs=y, activation="relu")
    with pytest.raises(VerificationError, match=r": but that gives 10 outputs, and 5 were given$"):
        convert(path, x, example_outputs=y[:, 0], activation="tanh")
    assert convert(path, {"x": x}, example_outputs=y, activation="tanh").verified, "the one input may have a name"


def test_outputs_need_inputs_that_are_known(tmp_path: Path) -> None:
    message = r"^outputs belong to inputs that are known: give --inputs a file too \(\.safetensors, \.npz, \.npy\)$"
    for inputs in (None, "5x3"):
        with pytest.raises(UsageError, match=message):
            example_outputs("y.npy", inputs)
    with pytest.raises(UsageError, match=r"^outputs '5x2': name a file of arrays \(\.safetensors, \.npz, \.npy\)$"):
        example_outputs("5x2", "x.npy")
    np.savez(tmp_path / "y.npz", a=np.zeros(2), b=np.zeros(2))
    with pytest.raises(UsageError, match=r"y\.npz': one array is expected, the file holds 2$"):
        example_outputs(str(tmp_path / "y.npz"), "x.npy")


def test_what_is_no_chain_is_free_with_advice(tmp_path: Path) -> None:
    torch.save(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)).state_dict(), tmp_path / "net.pt")
    _, found = _convert(tmp_path / "net.pt", tmp_path)
    assert found.verdict == (
        "UNVERIFIED (net.pt: nothing in the file shows what it computes, so every axis is free; for its symmetry give "
        "the module with example inputs, the Hugging Face folder with its config.json, or an ONNX file)"
    )
    assert not any(space.moves for space in found.graph.spaces)


@pytest.mark.slow
def test_a_folder_of_hugging_face_with_and_without_weights(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    import transformers

    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text(json.dumps(configs()["BertModel"]))
    _, empty = _convert(tmp_path / "empty", tmp_path)
    assert empty.verdict == "UNVERIFIED (the weights are on the meta device: there are no numbers)"
    assert empty.weights is None
    model = transformers.BertModel(transformers.BertConfig(**configs()["BertModel"]))
    model.save_pretrained(tmp_path / "full")
    _, full = _convert(tmp_path / "full", tmp_path)
    assert full.verified, full.verdict
    moving = [[space for space in found.graph.spaces if space.moves] for found in (full, empty)]
    assert moving[0] == moving[1], "without numbers the group is the same; what is free may have another reason"
    assert moving[0]
    assert full.weights is not None
    state = full.weights.to_state_dict()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items() if key in state)


def test_an_onnx_file_with_its_numbers_beside_it(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx_models()["conv"]
    onnx.save(model, tmp_path / "inside.onnx")
    _, inside = _convert(tmp_path / "inside.onnx", tmp_path)
    onnx.save(model, tmp_path / "beside.onnx", save_as_external_data=True, location="data.bin", size_threshold=0)
    assert (tmp_path / "data.bin").is_file()
    _, beside = _convert(tmp_path / "beside.onnx", tmp_path)
    assert inside.verified
    assert (beside.graph, beside.verification) == (inside.graph, inside.verification)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_program_where_its_code_may_run(tmp_path: Path) -> None:
    torch.jit.trace(MLP, torch.zeros(1, 3)).save(str(tmp_path / "net.pt"))
    refused = CliRunner().invoke(app, ["convert", str(tmp_path / "net.pt")])
    assert refused.exit_code == 2
    assert "is a TorchScript program, not a state dict" in refused.stderr
    _, found = _convert(tmp_path / "net.pt", tmp_path, "--allow-code", "--inputs", "5x3")
    assert found.verified, found.verdict
    assert [space.size for space in found.graph.spaces if space.moves] == [6]
