"""Example inputs of another shape than a source takes are refused with a sentence that says what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphws import convert
from graphws.checkpoints.input_shapes import Sizes, check_inputs
from graphws.checkpoints.network_file import save_network
from graphws.converting import load_graph_file
from graphws.errors import UsageError

X = torch.zeros(3, 16)
ONE: dict[str, Sizes | None] = {"x": ("n", 16)}
TWO: dict[str, Sizes | None] = {"ids": ("n", "t"), "mask": ("n", "?")}


@pytest.mark.parametrize(
    ("given", "takes"),
    [
        (X, ONE),
        ((X,), ONE),
        ([X], ONE),
        ({"whatever": X}, ONE),
        (X, {"x": (2, 16)}),
        (X, {"x": None}),
        (X, {}),
        ((X, X), TWO),
        ({"mask": X, "ids": X}, TWO),
        ((X, 3), TWO),
        (torch.zeros(5), {"x": (2,)}),
    ],
)
def test_inputs_that_fit_are_let_be(given: Any, takes: Mapping[str, Sizes | None]) -> None:
    check_inputs(given, takes, "net.pt")


@pytest.mark.parametrize(
    ("given", "takes", "text"),
    [
        (torch.zeros(3, 17), ONE, "net.pt takes x of shape (n, 16); got example inputs of shape (3, 17)"),
        ({"y": torch.zeros(17)}, ONE, "net.pt takes x of shape (n, 16); got example inputs of shape (17,)"),
        (torch.zeros(3, 2, 16), ONE, "net.pt takes x of shape (n, 16); got example inputs of shape (3, 2, 16)"),
        ((X, X), ONE, "net.pt takes x of shape (n, 16); got example inputs of shape (3, 16), (3, 16)"),
        ((), ONE, "net.pt takes x of shape (n, 16); got example inputs of shape "),
        ({"ids": X, "mark": X}, TWO, "net.pt has the inputs ids, mask; got ids, mark"),
        (
            (X, torch.zeros(3)),
            TWO,
            "net.pt takes ids of shape (n, t), mask of shape (n, ?); got example inputs of shape (3, 16), (3,)",
        ),
        ((X, 2), {"x": None}, "net.pt takes x of shape ?; got example inputs of shape (3, 16), int"),
    ],
)
def test_others_are_refused(given: Any, takes: Mapping[str, Sizes | None], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_inputs(given, takes, "net.pt")
    assert str(caught.value) == text


def _state() -> dict[str, Tensor]:
    return nn.Sequential(nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 4)).state_dict()


def test_a_state_dict_whose_width_is_known_takes_no_other() -> None:
    assert convert(_state(), X, activation="tanh").graph.inputs == ("x0",)
    with pytest.raises(UsageError) as caught:
        convert(_state(), torch.zeros(3, 17), activation="tanh")
    assert str(caught.value) == "a state dict takes x0 of shape (n, 16); got example inputs of shape (3, 17)"


def test_a_converted_network_and_its_graph_take_no_other(tmp_path: Path) -> None:
    made = convert(_state(), activation="tanh")
    save_network(made, tmp_path / "net.safetensors")
    (tmp_path / "net.json").write_text(made.graph.to_json())
    for name in ("net.safetensors", "net.json"):
        assert load_graph_file(tmp_path / name, X).graph == made.graph
        with pytest.raises(UsageError) as caught:
            load_graph_file(tmp_path / name, torch.zeros(3, 17))
        assert str(caught.value) == f"{name} takes x0 of shape (n, 16); got example inputs of shape (3, 17)"
    with pytest.raises(UsageError):
        convert(tmp_path / "net.safetensors", torch.zeros(3, 17))


def test_inputs_of_which_nothing_can_be_said_are_not_passed_over_in_silence() -> None:
    made = convert({"a": torch.zeros(3, 4, 5)}, torch.zeros(3, 17))
    assert made.notes == ("the example inputs were not used: nothing shows what would run on them",)


def test_an_onnx_file_takes_what_it_declares(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(torch.ones(16, 4).numpy(), "w")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    ends = [helper.make_tensor_value_info("x", kind, ["n", 16])], [helper.make_tensor_value_info("y", kind, ["n", 4])]
    graph = helper.make_graph([node], "g", *ends, [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    convert(tmp_path / "net.onnx", X)
    with pytest.raises(UsageError) as caught:
        convert(tmp_path / "net.onnx", torch.zeros(3, 17))
    assert str(caught.value) == "net.onnx takes x of shape (n, 16); got example inputs of shape (3, 17)"
