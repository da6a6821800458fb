"""Weights that a file stores as whole numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")

import graphws  # noqa: E402
from graphws.checkpoints.conversion import Conversion  # noqa: E402
from graphws.errors import DataError  # noqa: E402
from graphws_converters.onnx import OnnxModule  # noqa: E402
from tests.converters.onnx import build  # noqa: E402

RNG = np.random.default_rng(0)
FIRST, SECOND = (RNG.integers(-100, 100, shape).astype(np.int8) for shape in ((6, 4), (3, 6)))
BIAS = RNG.standard_normal(6).astype(np.float32)
X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))


def _network(scale: Any, zero: Any, rounded: bool = False, **axis: int) -> Any:
    """4 -> 6 -> 3 with ReLU, int8 weights, and where asked the hidden values rounded to int8, too."""
    node = onnx.helper.make_node
    nodes = [
        node("DequantizeLinear", ["w1", "s1", "z1"], ["d1"], **axis),
        node("Gemm", ["x", "d1", "b1"], ["g"], transB=1),
        node("Relu", ["g"], ["r"]),
        node("QuantizeLinear", ["r", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["h"]),
        node("DequantizeLinear", ["w2", "s", "z"], ["d2"]),
        node("Gemm", ["h" if rounded else "r", "d2"], ["y"], transB=1),
    ]
    nodes = nodes if rounded else [one for one in nodes if one.output[0] not in ("q", "h")]
    constants = {"w1": FIRST, "w2": SECOND, "s1": scale, "z1": zero, "s": np.float32(0.02), "z": np.int8(0), "b1": BIAS}
    return build.model(nodes, {"x": (2, 4)}, ["y"], constants)


def _convert(model: Any, folder: Path) -> Conversion:
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return graphws.convert(folder / "net.onnx", X, generator=torch.Generator().manual_seed(0))


SCALES = np.linspace(0.01, 0.06, 6).astype(np.float32)
ZEROS = np.arange(6).astype(np.int8)


@pytest.mark.parametrize(
    ("scale", "zero", "axis"),
    [(np.float32(0.03), np.int8(3), {}), (SCALES, ZEROS, {"axis": 0}), (SCALES[:4], ZEROS[:4], {"axis": 1})],
)
def test_quantised_weights_are_the_floats_that_they_stand_for(
    tmp_path: Path, scale: Any, zero: Any, axis: dict[str, int]
) -> None:
    found = _convert(_network(scale, zero, **axis), tmp_path)
    assert found.verified
    assert [(space.size, str(space.action)) for space in found.graph.spaces if space.moves] == [(6, "scaling")]
    assert found.notes[0] == (
        "quantised weights are read as the floating numbers that they stand for: 'w1' as 'd1', 'w2' as 'd2'"
    )
    assert found.weights is not None
    shape = (6, 1) if axis.get("axis") == 0 else (-1,)
    expected = (FIRST.astype(np.float64) - zero.astype(np.float64).reshape(shape)) * scale.reshape(shape)
    np.testing.assert_allclose(found.weights.to_state_dict()["d1"].numpy(), expected, rtol=1e-6)


def test_what_rounds_between_layers_is_not_scaled(tmp_path: Path) -> None:
    found = _convert(_network(np.float32(0.03), np.int8(0), rounded=True), tmp_path)
    assert [str(space.action) for space in found.graph.spaces if space.moves] == ["permutation"]


def test_whole_numbers_that_stay_are_told(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("Cast", ["w1"], ["d1"], to=1),
        onnx.helper.make_node("Gemm", ["x", "d1"], ["g"], transB=1),
        onnx.helper.make_node("Relu", ["g"], ["r"]),
        onnx.helper.make_node("Gemm", ["r", "w2"], ["y"], transB=1),
    ]
    found = _convert(build.model(nodes, {"x": (2, 4)}, ["y"], {"w1": FIRST, "w2": SECOND.astype(np.float32)}), tmp_path)
    assert not any(space.moves for space in found.graph.spaces)
    assert found.notes[0] == "quantised constants are kept as they are, and no symmetry is sought on them: 'w1' (int8)"


@pytest.mark.parametrize("kind", ["MatMulInteger", "QLinearConv", "com.microsoft.MatMulNBits"])
def test_operators_of_whole_numbers_are_named_with_a_way(kind: str) -> None:
    domain, _, name = kind.rpartition(".")
    node = onnx.helper.make_node(name, ["x", "w1"], ["y"], domain=domain)
    with pytest.raises(DataError) as caught:
        OnnxModule(build.model([node], {"x": (2, 4)}, ["y"], {"w1": FIRST}))
    assert str(caught.value) == (
        f"ONNX model: it computes in whole numbers ({kind}), which has no rule: give the model before it was "
        "quantised, or one quantised by QuantizeLinear and DequantizeLinear (QDQ)"
    )
