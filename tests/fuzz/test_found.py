"""What long runs of `scripts.trust fuzz` found, one case each, with what is right."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from graphws.checkpoints.conversion import Conversion
from graphws.checkpoints.state_dict import read_checkpoint
from graphws.converting import convert
from graphws.errors import DataError, GraphwsError, VerificationError
from graphws.graph import NetworkGraph
from graphws.operations import mlp_graph
from tests.fuzz import contents

pytest.importorskip("onnx")
pytest.importorskip("transformers")


def opened(file: Path, content: bytes) -> Callable[[], Conversion]:
    """Converts what is written; a folder where the file is a config."""
    file.write_bytes(content)
    return lambda: convert(file.parent if file.name == "config.json" else file)


def _onnx_error(tmp_path: Path, model: object) -> str:
    with pytest.raises(GraphwsError) as caught:
        opened(tmp_path / "net.onnx", model.SerializePartialToString())()  # type: ignore[attr-defined]
    return str(caught.value)


def test_found_an_attribute_without_a_type(tmp_path: Path) -> None:
    model = contents.onnx_models()["conv"]
    model.graph.node[0].attribute[0].ClearField("type")
    assert _onnx_error(tmp_path, model) == "ONNX model: attribute 'pads' of type 0 is not supported"


def test_found_names_that_are_no_text(tmp_path: Path) -> None:
    content = contents.onnx_models()["conv"].SerializeToString()
    assert content.count(b"BatchNormalization") == 1
    with pytest.raises(DataError, match=r"^ONNX model: the name b'BatchNormali\\xfaation' is not in UTF-8$"):
        opened(tmp_path / "net.onnx", content.replace(b"BatchNormalization", b"BatchNormali\xfaation"))()


def test_found_an_operator_whose_name_breaks_the_line(tmp_path: Path) -> None:
    model = contents.onnx_models()["conv"]
    model.graph.node[2].op_type = "a\nb"
    assert _onnx_error(tmp_path, model) == "ONNX model: no rule for operator a_b"


def test_found_a_loop_that_does_nothing_for_ages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("graphws_converters.onnx.ops.control"), "MOST_TURNS", 30)
    model = contents.onnx_models()["loop"]
    turns = next(tensor for tensor in model.graph.initializer if tensor.name == "turns")
    turns.raw_data = (2**40).to_bytes(8, "little")
    assert _onnx_error(tmp_path, model) == "ONNX node Loop 'last': a loop of more than 30 turns is not supported"


def test_found_a_network_that_gives_whole_numbers() -> None:
    class Class(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(torch.tanh(self.first(x))).argmax(-1)

    generator = torch.Generator().manual_seed(0)
    found = convert(Class(), torch.randn(200, 3, generator=generator), generator=generator)
    assert found.verification is not None, found.verdict
    assert found.verification.error == 0
    assert [space.size for space in found.graph.spaces if space.moves] == [8]


def test_found_a_network_that_is_no_function() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.only = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.only(x) + torch.rand(2)

    message = (
        r"^two runs on the same weights and inputs differ by \d\.\de[+-]\d\d: the network is not a function of them$"
    )
    with pytest.raises(VerificationError, match=message):
        convert(Noisy(), torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))


def test_found_a_sequence_without_end(tmp_path: Path) -> None:
    model = contents.onnx_models()["lstm"]
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 24
    message = "net.onnx: input 'x' of 67108864 numbers is large: give example inputs (--inputs)"
    assert _onnx_error(tmp_path, model) == message
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1 << 18
    message = "ONNX node LSTM 'h': a sequence of more than 10000 steps is not supported"
    assert _onnx_error(tmp_path, model) == message


def test_found_a_config_that_names_its_class_by_a_mapping(tmp_path: Path) -> None:
    config = {**contents.configs()["BertModel"], "architectures": [{"a": 1}]}
    with pytest.raises(DataError, match=r"config\.json: architecture \"\{'a': 1\}\" is no model of type 'bert' in tr"):
        opened(tmp_path / "config.json", json.dumps(config).encode())()


def test_found_pickles_of_an_old_protocol_and_odd_escapes(tmp_path: Path) -> None:
    state = dict(nn.Linear(2, 2).state_dict())
    torch.save(state, tmp_path / "net.pt", pickle_protocol=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(read_checkpoint(tmp_path / "net.pt").state) == ["weight", "bias"]


def test_found_a_graph_with_a_name_that_fills_the_screen(tmp_path: Path) -> None:
    document = json.loads(mlp_graph([2, 3, 1]).to_json())
    document["spaces"][1]["x" * 3000] = 1
    with pytest.raises(GraphwsError) as caught:
        NetworkGraph.from_json(json.dumps(document))
    assert str(caught.value) == f"graph file, space 1: unknown field '{'x' * 96}..."
