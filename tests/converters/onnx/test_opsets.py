"""Operators in the opsets in which they meant something else, against the words of their schemas, written in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

onnx = pytest.importorskip("onnx")

import graphws  # noqa: E402
from graphws.errors import DataError  # noqa: E402
from graphws_converters.onnx import OnnxModule  # noqa: E402
from tests.converters.onnx import build  # noqa: E402

Array = np.ndarray[Any, Any]
X = np.random.default_rng(0).standard_normal((2, 3, 4, 4)).astype(np.float32)
CHANNELS = np.array([0.5, -2.0, 3.0], np.float32)
WIDTH = np.array([1.0, 2.0, -1.0, 0.5], np.float32)
ENTRIES = np.abs(np.random.default_rng(1).standard_normal((3, 4, 4)).astype(np.float32)) + 0.5


class Old(NamedTuple):
    """A node of an opset, its constants, and what it gives for `X`."""

    kind: str
    opset: int
    wanted: Array
    constants: Mapping[str, Array] = MappingProxyType({})
    attributes: Mapping[str, Any] = MappingProxyType({})


def _by_channel(x: Array) -> Array:
    return x[:, None, None]


def _prelu(slope: Array) -> Array:
    return np.where(X > 0, X, X * slope)


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _pick(x: Array, rows: list[int], columns: list[int]) -> Array:
    return x[:, :, rows][..., columns]


_BROADCAST = {"broadcast": 1, "axis": 1}
_STATISTICS = {"scale": CHANNELS, "shift": CHANNELS, "mean": CHANNELS, "variance": np.abs(CHANNELS)}
_NORMAL = (X - _by_channel(CHANNELS)) / np.sqrt(_by_channel(np.abs(CHANNELS)) + np.float32(1e-5))
_SPATIAL = dict.fromkeys(("scale", "shift", "mean", "variance"), ENTRIES)

OLD = [
    Old("PRelu", 6, _prelu(_by_channel(CHANNELS)), {"slope": CHANNELS}),
    Old("PRelu", 1, _prelu(np.float32(0.3)), {"slope": np.array([0.3], np.float32)}),
    Old("PRelu", 7, _prelu(WIDTH), {"slope": WIDTH}),
    Old("Add", 6, X + _by_channel(CHANNELS), {"b": CHANNELS}, _BROADCAST),
    Old("Add", 6, X + WIDTH, {"b": WIDTH}, {"broadcast": 1}),
    Old("Add", 7, X + WIDTH, {"b": WIDTH}),
    Old("Mul", 1, X * _by_channel(CHANNELS), {"b": CHANNELS}, _BROADCAST),
    Old("Sub", 6, X - CHANNELS[:, None, None], {"b": CHANNELS}, {"broadcast": 1, "axis": -3}),
    Old("Div", 6, X / _by_channel(CHANNELS), {"b": CHANNELS}, _BROADCAST),
    Old("Pow", 1, X**2.0, {"b": np.array([2.0], np.float32)}, {"broadcast": 1}),
    Old("Less", 1, np.less(X, _by_channel(CHANNELS)), {"b": CHANNELS}, _BROADCAST),
    Old("BatchNormalization", 6, _NORMAL * _by_channel(CHANNELS) + _by_channel(CHANNELS), _STATISTICS, {"is_test": 1}),
    Old("BatchNormalization", 9, _NORMAL * _by_channel(CHANNELS) + _by_channel(CHANNELS), _STATISTICS),
    Old("BatchNormalization", 7, (X - ENTRIES) / np.sqrt(ENTRIES + 1e-5) * ENTRIES + ENTRIES, _SPATIAL, {"spatial": 0}),
    Old("Dropout", 6, X, {}, {"is_test": 1}),
    Old("Dropout", 7, X, {}, {"ratio": 0.5}),
    Old("Clip", 6, np.clip(X, -0.5, 0.7), {}, {"min": -0.5, "max": 0.7}),
    Old("Clip", 11, np.clip(X, -0.5, 0.7), {"low": np.array(-0.5, np.float32), "high": np.array(0.7, np.float32)}),
    Old("Softmax", 11, _softmax(X.reshape(2, 48)).reshape(X.shape)),
    Old("Softmax", 12, _softmax(X.reshape(6, 16)).reshape(X.shape), {}, {"axis": 2}),
    Old("Softmax", 13, _softmax(X)),
    Old("LogSoftmax", 1, np.log(_softmax(X.reshape(2, 48))).reshape(X.shape)),
    Old("Selu", 1, np.float32(1.0507) * np.where(X > 0, X, np.float32(1.6732) * (np.exp(X) - 1))),
    Old("Concat", 3, np.concatenate([X, X], 1)),
    Old("Pad", 1, np.pad(X, ((0, 0), (0, 0), (1, 0), (2, 1))), {}, {"paddings": [0, 0, 1, 2, 0, 0, 0, 1]}),
    Old("Pad", 2, np.pad(X, ((0, 0), (0, 0), (1, 0), (2, 1))), {}, {"pads": [0, 0, 1, 2, 0, 0, 0, 1]}),
    Old("Slice", 1, X[:, 1:, :, :2], {}, {"axes": [1, 3], "starts": [1, 0], "ends": [9, 2]}),
    Old("Slice", 10, X[:, 1:], {"starts": np.array([1]), "ends": np.array([9]), "axes": np.array([1])}),
    Old("Squeeze", 11, X[:1, :1, :1, :1].reshape(()), {}, {}),
    Old("Unsqueeze", 11, X[:, None], {}, {"axes": [1]}),
    Old("Unsqueeze", 13, X[:, None], {"axes": np.array([1])}),
    Old("ReduceSum", 11, X.sum((1, 3), keepdims=True), {}, {"axes": [1, 3]}),
    Old("ReduceSum", 13, X.sum((1, 3), keepdims=True), {"axes": np.array([1, 3])}),
    Old("ReduceMean", 1, X.mean(axis=(2, 3)), {}, {"axes": [2, 3], "keepdims": 0}),
    Old("ReduceMean", 18, X.mean(axis=(2, 3), keepdims=True), {"axes": np.array([2, 3])}),
    Old("Reshape", 1, X.reshape(2, 48), {}, {"shape": [0, -1]}),
    Old("Reshape", 5, X.reshape(2, 48), {"shape": np.array([0, -1])}),
    Old("Tile", 1, np.concatenate([X, X, X], 1), {"tiles": np.array(3), "axis": np.array(1)}),
    Old("Tile", 6, np.tile(X, (1, 2, 1, 1)), {"repeats": np.array([1, 2, 1, 1])}),
    Old("TopK", 1, -np.sort(-X, 1)[:, :2], {}, {"k": 2, "axis": 1}),
    Old("TopK", 10, -np.sort(-X, -1)[..., :2], {"k": np.array([2])}),
    Old("TopK", 11, np.sort(X, -1)[..., :2], {"k": np.array([2])}, {"largest": 0}),
    Old("Cast", 1, X.astype(np.float64), {}, {"to": "DOUBLE"}),
    Old("Cast", 6, X.astype(np.float64), {}, {"to": 11}),
    Old("Upsample", 1, X.repeat(2, 2).repeat(3, 3), {}, {"height_scale": 2.0, "width_scale": 3.0}),
    Old("Upsample", 7, X.repeat(2, 2).repeat(3, 3), {}, {"scales": [1.0, 1.0, 2.0, 3.0]}),
    Old("Upsample", 9, X.repeat(2, 2).repeat(3, 3), {"scales": np.array([1, 1, 2, 3], np.float32)}),
    Old("Resize", 10, _pick(X, [0, 0, 1, 2, 2, 3], [0, 2]), {"s": np.array([1, 1, 1.5, 0.5], np.float32)}),
    Old("Resize", 10, _pick(X, [0, 2], [0, 2]), {"s": np.array([1, 1, 0.6, 0.6], np.float32)}),
    Old("Resize", 10, _pick(X, [0, 0, 1, 2, 3], [0, 2]), {"s": np.array([1, 1, 1.3, 0.6], np.float32)}),
    Old("Resize", 13, _pick(X, [0, 1, 1, 2, 3], [0, 2]), {"": X, "s": np.array([1, 1, 1.3, 0.6], np.float32)}),
]  # fmt: skip


def _model(old: Old, outputs: tuple[str, ...] = ("y",)) -> Any:
    names = ["x", "x"] if (old.kind, old.opset) == ("Concat", 3) else ["x", *old.constants]
    node = onnx.helper.make_node(old.kind, names, list(outputs), **old.attributes)
    held = {name: array for name, array in old.constants.items() if name}
    return build.model([node], {"x": X.shape}, list(outputs), held, old.opset)


@pytest.mark.parametrize("old", OLD, ids=lambda old: f"{old.kind}-{old.opset}")
def test_an_operator_means_what_its_opset_says(old: Old) -> None:
    x = X[:1, :1, :1, :1] if old.kind == "Squeeze" else X
    found = OnnxModule(_model(old))(torch.from_numpy(x.copy()))
    found = found[0] if isinstance(found, tuple) else found
    ours = found.detach().numpy()
    assert ours.shape == old.wanted.shape
    assert ours.dtype == old.wanted.dtype or old.kind in ("BatchNormalization", "Pow")
    np.testing.assert_allclose(ours, old.wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("early", "late"), [(6, 7)])
def test_the_same_slope_means_two_things(early: int, late: int) -> None:
    square = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    runs = [OnnxModule(_model(Old("PRelu", opset, X, {"slope": WIDTH})))(square) for opset in (early, late)]
    assert not torch.allclose(*runs)
    torch.testing.assert_close(runs[0], torch.nn.functional.prelu(square, torch.from_numpy(WIDTH)))


@pytest.mark.parametrize(
    ("kind", "opset", "before", "after"),
    [("Mul", 6, {"broadcast": 1, "axis": 0}, [[2.0, 2.0], [6.0, 6.0]]), ("Add", 7, {}, [[3.0, 4.0], [3.0, 4.0]])],
)
def test_arithmetic_of_constants_is_aligned_in_the_same_way(
    kind: str, opset: int, before: dict[str, Any], after: list[list[float]]
) -> None:
    """Known values of the file do not go through torch."""
    fill = onnx.helper.make_tensor("fill", onnx.TensorProto.FLOAT, [1], [2.0])
    nodes = [
        onnx.helper.make_node("Shape", ["x"], ["n"]),
        onnx.helper.make_node("ConstantOfShape", ["n"], ["twos"], value=fill),
        onnx.helper.make_node("Cast", ["pair"], ["small"], to="FLOAT" if opset < 6 else 1),
        onnx.helper.make_node(kind, ["twos", "small"], ["y"], **before),
    ]
    pair = np.array([1, 3] if kind == "Mul" else [1, 2])
    found = OnnxModule(build.model(nodes, {"x": (2, 2)}, ["y"], {"pair": pair}, opset))(torch.zeros(2, 2))
    assert found.tolist() == after  # type: ignore[union-attr]


def test_one_hot_of_indices_from_behind() -> None:
    constants = {"depth": np.array(3), "values": np.array([0.0, 1.0], np.float32)}
    node = onnx.helper.make_node("OneHot", ["i", "depth", "values"], ["y"])
    picked = torch.tensor([-1, 0, 2])
    runs = [OnnxModule(build.model([node], {"i": (3,)}, ["y"], constants, opset))(picked) for opset in (9, 11)]
    assert runs[0].tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1]]  # type: ignore[union-attr]
    assert runs[1].tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]  # type: ignore[union-attr]


def test_of_equal_numbers_the_first_are_the_largest() -> None:
    node = onnx.helper.make_node("TopK", ["x", "k"], ["y", "where"])
    model = build.model([node], {"x": (40,)}, ["y", "where"], {"k": np.array([20])})
    assert OnnxModule(model)(torch.zeros(40))[1].tolist() == list(range(20))


REFUSED = [
    (Old("Dropout", 6, X), "dropout while training"),
    (Old("BatchNormalization", 6, X, _STATISTICS), "batch normalisation while training"),
    (Old("BatchNormalization", 14, X, _STATISTICS, {"training_mode": 1}), "batch normalisation while training"),
    (Old("Cast", 1, X, {}, {"to": "QUATERNION"}), "a cast to type 'QUATERNION'"),
    (Old("Split", 1, X), "a split without an axis in opset 1"),
    (Old("Resize", 13, X, {"": X, "s": np.array([1, 1, 2, 2], np.float32)}, {"nearest_mode": "up"}),
     "a resize that rounds by 'up'"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "words"), REFUSED, ids=lambda value: value.kind if isinstance(value, Old) else "")
def test_what_has_no_function_is_refused(old: Old, words: str) -> None:
    with pytest.raises(DataError) as caught:
        OnnxModule(_model(old))(torch.from_numpy(X))
    assert str(caught.value) == f"ONNX node {old.kind} 'y': {words} is not supported"


def test_an_output_shape_whose_padding_has_two_readings_is_refused() -> None:
    kernel = np.ones((3, 2, 3, 3), np.float32)
    node = onnx.helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_shape=[8, 8])
    old, new = (build.model([node], {"x": X.shape}, ["y"], {"w": kernel}, opset) for opset in (10, 11))
    with pytest.raises(DataError, match="cannot be halved, before opset 11, is not supported"):
        OnnxModule(old)(torch.from_numpy(X))
    whole = torch.nn.functional.conv_transpose2d(torch.from_numpy(X), torch.from_numpy(kernel), stride=2)
    torch.testing.assert_close(OnnxModule(new)(torch.from_numpy(X)), whole[..., 1:, 1:])


@pytest.mark.parametrize("channels", [4, 5])
def test_a_slope_by_channel_is_of_the_channels_space(channels: int, tmp_path: Path) -> None:
    """Width 4: read as a slope of columns, the channels would still be exchanged and another function computed."""
    rng = np.random.default_rng(0)
    shapes = {"w": (channels, 3, 3, 3), "b": (channels,), "slope": (channels,), "v": (2, channels, 1, 1)}
    constants = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w", "b"], ["h"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("PRelu", ["h", "slope"], ["a"]),
        onnx.helper.make_node("Conv", ["a", "v"], ["y"]),
    ]
    file = tmp_path / "net.onnx"
    file.write_bytes(build.model(nodes, {"x": (1, 3, 4, 4)}, ["y"], constants, 6).SerializeToString())
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = graphws.convert(file, x, generator=torch.Generator().manual_seed(0))
    assert found.verified
    assert [axis.space for axis in found.graph.parameter("slope").axes] == [found.graph.parameter("w").axes[0].space]
    w, b, slope, v = (torch.from_numpy(constants[name]) for name in shapes)
    functional = torch.nn.functional
    true = functional.conv2d(functional.prelu(functional.conv2d(x, w, b, padding=1), slope), v)
    assert found.run is not None
    assert found.weights is not None
    torch.testing.assert_close(found.run(found.weights, x).reshape(-1), true.reshape(-1), rtol=1e-4, atol=1e-5)
