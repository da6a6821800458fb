"""Local functions are counted before they are inlined, and runs are bounded by counted work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from graphws import convert
from graphws.errors import DataError, UsageError
from graphws_converters.onnx import OnnxModule, read_model
from graphws_converters.onnx import module as running
from tests.converters.onnx import build

OPSETS = [helper.make_opsetid("dom", 1), helper.make_opsetid("", 17)]


def _model(path: Path, bodies: dict[str, list[Any]], call: str, dims: tuple[int, ...] = (2, 4)) -> Path:
    functions = [helper.make_function("dom", name, ["a"], ["b"], body, OPSETS) for name, body in bodies.items()]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node(call, ["x"], ["y"], domain="dom")], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=OPSETS, functions=functions, ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def _twice(name: str) -> list[Any]:
    return [helper.make_node(name, [a], [b], domain="dom") for a, b in (("a", "c"), ("c", "b"))]


def _nested(levels: int) -> dict[str, list[Any]]:
    bodies = {"F0": [helper.make_node("Relu", ["a"], ["b"])]}
    return bodies | {f"F{k}": _twice(f"F{k - 1}") for k in range(1, levels)}


def test_a_few_levels_are_inlined(tmp_path: Path) -> None:
    model = read_model(_model(tmp_path / "net.onnx", _nested(5), "F4"))
    assert len(model.graph.node) == 16


@pytest.mark.parametrize(("levels", "count"), [(20, str(2**19)), (40, str(2**39)), (2000, "more than 10^601")])
def test_levels_that_double_are_refused(tmp_path: Path, levels: int, count: str) -> None:
    path = _model(tmp_path / "net.onnx", _nested(levels), f"F{levels - 1}")
    with pytest.raises(DataError) as caught:
        read_model(path)
    assert str(caught.value) == f"{path}: with its local functions inlined it has {count} nodes, at most 200000"


def test_calls_from_the_graphs_of_attributes_count(tmp_path: Path) -> None:
    inner = helper.make_graph(_twice("F0"), "inner", [], [build.value("b", None)])
    flag = helper.make_node("Constant", [], ["flag"], value=helper.make_tensor("t", TensorProto.BOOL, [], [True]))
    branch = helper.make_node("If", ["flag"], ["b"], then_branch=inner, else_branch=inner)
    bodies = {**_nested(18), "F18": [flag, branch]}
    bodies["F18"] = [flag, helper.make_node("If", ["flag"], ["b"], then_branch=helper.make_graph(
        _twice("F17"), "inner", [], [build.value("b", None)]), else_branch=inner)]  # fmt: skip
    path = _model(tmp_path / "net.onnx", bodies, "F18")
    with pytest.raises(DataError, match=r"inlined it has 262148 nodes, at most 200000$"):
        read_model(path)


def test_constants_are_counted_as_often_as_they_are_inlined(tmp_path: Path) -> None:
    weight = helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(np.ones((100, 4), np.float32)))
    bodies = {**_nested(12), "F0": [weight, helper.make_node("Relu", ["a"], ["b"])]}
    path = _model(tmp_path / "net.onnx", bodies, "F11")
    with pytest.raises(DataError, match=r"net\.onnx: with its local functions inlined its constants have \d+ b"):
        read_model(path, limit=1 << 20)


def test_functions_in_a_circle(tmp_path: Path) -> None:
    path = _model(tmp_path / "net.onnx", {"F0": _twice("F1"), "F1": _twice("F0")}, "F0")
    with pytest.raises(DataError, match=r"net\.onnx: its local function 'F\d' calls itself$"):
        read_model(path)


def test_a_loop_without_end_is_bounded_by_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "MOST_STEPS", 50)
    body = helper.make_graph(
        [helper.make_node("Identity", ["h"], ["n"])], "body",
        [build.value("turn", [], TensorProto.INT64), build.value("go", [], TensorProto.BOOL), build.value("h", None)],
        [build.value("go", [], TensorProto.BOOL), build.value("n", None)],
    )  # fmt: skip
    node = helper.make_node("Loop", ["turns", "", "x"], ["y"], body=body)
    module = OnnxModule(build.model([node], {"x": (2, 4)}, ["y"], {"turns": np.int64(2**40)}))
    with pytest.raises(DataError, match=r"^ONNX model: a run takes more than 54 operations and turns of loops$"):
        module(torch.ones(2, 4))


def test_products_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    module = OnnxModule(build.model([helper.make_node("MatMul", ["x", "x"], ["y"])], {"x": (8, 8)}, ["y"], {}))
    monkeypatch.setattr(running, "MOST_WORK", 8**3 + 2 * 64)
    assert module(torch.ones(8, 8)).shape == (8, 8)
    monkeypatch.setattr(running, "MOST_WORK", 8**3 + 2 * 64 - 1)
    with pytest.raises(DataError, match=r"reads and multiplies more than 2\^40 numbers; try smaller example inputs$"):
        module(torch.ones(8, 8))


def test_inputs_of_many_axes_are_refused(tmp_path: Path) -> None:
    for axes in ((1,) * 70, (2,) * 70):
        path = _model(tmp_path / "net.onnx", _nested(2), "F1", axes)
        with pytest.raises(UsageError, match=r"^net\.onnx: input 'x' has 70 axes, at most 64 are read$"):
            convert(path)
