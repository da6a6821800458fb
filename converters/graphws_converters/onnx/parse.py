"""From ONNX protobuf messages to plain nodes, and which of a file's constants are parameters.

ONNX knows only constants.  Which of them are weights is decided by form: a floating array of more than one number,
stored as an initialiser, in a Constant node or as one number with a stored shape (ConstantOfShape), is a *parameter*,
unless all that reads it takes it as a setting (the scales of a Resize).  Single numbers are too where all that reads
them takes them as weights (the bias of a layer with one output); others, and whole numbers, are *known* values.
Parameters keep their names.

Whole numbers behind a DequantizeLinear stand for floating ones: those are the parameter, by the name of what the node
writes.  Small whole numbers that reach the computation in another way stay known, and a note says so.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, numpy_helper
from torch import Tensor

from graphws.checkpoints.scan import MOST_AXES
from graphws.errors import DataError

DEEPEST = 16
"""How deep graphs may be nested in graphs."""
MOST_NODES = 200_000
MOST_FILLED = 1 << 28
"""Most numbers that all arrays stored as one number with a shape may have."""
SETTINGS: dict[str, tuple[int, ...]] = {
    "Resize": (1, 2, 3), "Upsample": (1,), "Pad": (1, 2, 3), "Range": (0, 1, 2), "Clip": (1, 2), "OneHot": (2,),
    "QuantizeLinear": (1, 2), "DequantizeLinear": (1, 2),
}  # fmt: skip
"""Inputs of operators that set something and are no weights."""
WEIGHTS: dict[str, tuple[int, ...]] = {
    "Gemm": (1, 2), "MatMul": (1,), "Conv": (1, 2), "ConvTranspose": (1, 2), "BatchNormalization": (1, 2, 3, 4),
}  # fmt: skip
"""Inputs of operators that are weights, also where they are one number: the bias of a layer with one output."""
_SMALL = {"int8", "uint8", "int4", "uint4", "int2", "uint2"} | {
    "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float4_e2m1fn",
}  # fmt: skip
"""Types that weights are quantised to, by NumPy's names, and that no index has."""


@dataclass(frozen=True)
class Node:
    """One operation: its operator, the names that it reads and writes, its attributes as plain values."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {(self.name or next(iter(self.outputs), ''))[:80]!r}"


@dataclass
class Graph:
    """A graph, of the model or of an attribute.

    Attributes:
        inputs: Names that the caller gives values for.
        outputs: Names whose values the caller gets.
        nodes: In order.
        known: Constants that are no parameters.
        parameters: Arrays that are, until the module takes them; then empty.
        keys: For each parameter its name in the module.
        notes: What people should know of its constants.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: list[Node]
    known: dict[str, NDArray[Any]]
    parameters: dict[str, Tensor]
    keys: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def texts(self) -> Iterator[bytes]:
        """Everything but the numbers of parameters, in an order of its own: what two graphs share that differ in these.

        Each part ends where the next begins, since lengths stand before what may be of any length.
        """
        yield repr((self.inputs, self.outputs, sorted(self.keys.items()), len(self.nodes), len(self.known))).encode()
        for name, array in sorted(self.known.items()):
            yield from _array_texts(name, array)
        for node in self.nodes:
            yield repr((node.kind, node.inputs, node.outputs, len(node.attributes))).encode()
            for name, value in sorted(node.attributes.items()):
                if isinstance(value, Graph):
                    yield from value.texts()
                elif isinstance(value, np.ndarray):
                    yield from _array_texts(name, value)
                else:
                    yield repr((name, value)).encode()

    def subgraphs(self) -> Iterator[Graph]:
        """This graph and all inside it."""
        yield self
        for node in self.nodes:
            for value in node.attributes.values():
                if isinstance(value, Graph):
                    yield from value.subgraphs()


def _array_texts(name: str, array: NDArray[Any]) -> Iterator[bytes]:
    yield repr((name, str(array.dtype), array.shape)).encode()
    yield np.ascontiguousarray(array).tobytes()


def parse(model: ModelProto) -> Graph:
    """The plain graph of a model whose local functions are inlined.

    Raises:
        DataError: On a constant that cannot be read, on too many or too deep graphs.
    """
    graph = _graph(model.graph, 0)
    count = sum(len(inner.nodes) for inner in graph.subgraphs())
    if count > MOST_NODES:
        raise DataError(f"ONNX model: {count} nodes, at most {MOST_NODES} are read")
    _fill(graph)
    meant = [pair for inner in graph.subgraphs() for pair in _dequantise(inner)]
    _divide(graph)
    graph.notes = tuple(_notes(graph, meant))
    return graph


def _graph(proto: GraphProto, depth: int) -> Graph:
    if depth > DEEPEST:
        raise DataError(f"ONNX model: graphs are nested more than {DEEPEST} deep")
    if proto.sparse_initializer:
        raise DataError(f"ONNX model: sparse tensors are not supported ({proto.sparse_initializer[0].values.name!r})")
    known = {_text(tensor.name): array_of(tensor) for tensor in proto.initializer}
    nodes = []
    for entry in proto.node:
        attributes = {_text(attribute.name): _attribute(attribute, depth) for attribute in entry.attribute}
        domain = "" if entry.domain in ("", "ai.onnx") else f"{_text(entry.domain)}."
        outputs = tuple(map(_text, entry.output))
        if entry.op_type == "Constant" and not domain and outputs:
            known[outputs[0]] = _constant(attributes)
            continue
        inputs = tuple(map(_text, entry.input))
        nodes.append(Node(domain + _text(entry.op_type), inputs, outputs, attributes, _text(entry.name)))
    given = tuple(_text(value.name) for value in proto.input if value.name not in known)
    return Graph(given, tuple(_text(value.name) for value in proto.output), nodes, known, {})


def _text(name: str | bytes) -> str:
    """A name; protobuf gives those that are no text as bytes.

    Raises:
        DataError: Where it is no text.
    """
    if isinstance(name, bytes):
        raise DataError(f"ONNX model: the name {name[:40]!r} is not in UTF-8")
    return name


def _attribute(attribute: AttributeProto, depth: int) -> Any:
    if attribute.type == AttributeProto.GRAPH:
        return _graph(attribute.g, depth + 1)
    if attribute.type == AttributeProto.TENSOR:
        return array_of(attribute.t)
    if attribute.ref_attr_name:
        raise DataError(f"ONNX model: attribute {attribute.name[:80]!r} refers to a function's that is not there")
    try:
        value = onnx.helper.get_attribute_value(attribute)
    except (ValueError, TypeError):
        raise DataError(f"ONNX model: attribute {attribute.name[:80]!r} cannot be read") from None
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, int | float | str):
        return value
    if isinstance(value, list) and all(isinstance(item, int | float) for item in value):
        return list(value)
    if isinstance(value, list) and all(isinstance(item, bytes) for item in value):
        return [item.decode(errors="replace") for item in value]
    raise DataError(f"ONNX model: attribute {attribute.name[:80]!r} of type {attribute.type} is not supported")


def array_of(tensor: TensorProto) -> NDArray[Any]:
    """The numbers of a constant.

    Raises:
        DataError: Where its numbers do not fit its shape, or are no numbers.
    """
    if tensor.data_type in (TensorProto.STRING, TensorProto.UNDEFINED):
        raise DataError(f"ONNX model: constant {tensor.name[:80]!r} holds no numbers")
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        text = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise DataError(f"ONNX model: constant {tensor.name[:80]!r} cannot be read: {text}") from None


def _constant(attributes: dict[str, Any]) -> NDArray[Any]:
    for name in ("value_float", "value_floats", "value_int", "value_ints"):
        if name in attributes:
            return np.asarray(attributes[name], dtype=np.float32 if "float" in name else np.int64)
    value = attributes.get("value")
    if not isinstance(value, np.ndarray):
        raise DataError("ONNX model: a Constant without numbers")
    return value


def _fill(graph: Graph) -> None:
    """Writes out the floating arrays that are stored as one number and a shape."""
    made = 0
    for inner in graph.subgraphs():
        left = []
        for node in inner.nodes:
            shape = inner.known.get(node.inputs[0]) if node.inputs else None
            value = np.asarray(node.attributes.get("value", np.float32(0)))
            stored = shape is not None and shape.dtype.kind == "i" and min(shape.ravel().tolist(), default=0) > 0
            if node.kind != "ConstantOfShape" or not node.outputs or not stored or value.dtype.kind != "f":
                left.append(node)
                continue
            lengths = [int(length) for length in shape.ravel()]  # type: ignore[union-attr]
            made += math.prod(lengths)
            if made > MOST_FILLED or value.size != 1 or len(lengths) > MOST_AXES:
                text = "x".join(map(str, lengths[:8]))
                raise DataError(f"ONNX node {node}: a value of shape {text} is larger than 2^28 numbers, or impossible")
            inner.known[node.outputs[0]] = np.full(lengths, value.reshape(-1)[0])
        inner.nodes[:] = left


def _dequantise(graph: Graph) -> list[tuple[str, str]]:
    """Writes out the floating arrays that are stored as whole numbers and a scale; names of both, for each."""
    left, meant = [], []
    for node in graph.nodes:
        stored = [graph.known.get(name) for name in node.inputs]
        if node.kind == "DequantizeLinear" and node.outputs and len(stored) in (2, 3) and stored[0] is not None:
            numbers = dequantised(node, stored)
            if numbers is not None:
                graph.known[node.outputs[0]] = numbers
                meant.append((node.inputs[0], node.outputs[0]))
                continue
        left.append(node)
    graph.nodes[:] = left
    read = {name for node in left for name in node.inputs} | set(graph.outputs)
    for name, _ in meant:
        if name not in read:
            graph.known.pop(name, None)
    return meant


def dequantised(node: Node, stored: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """(x - zero) scale, of the type of the scale; None where it is not all known, or in blocks."""
    x, scale = stored[0], stored[1]
    zero = stored[2] if len(stored) > 2 and node.inputs[2] else None
    if x is None or scale is None or scale.dtype.kind != "f" or node.attributes.get("block_size"):
        return None
    if x.size <= 1 or (len(stored) > 2 and node.inputs[2] and zero is None):
        return None
    axis = node.attributes.get("axis", 1)
    shape = [1] * x.ndim
    if scale.size != 1:
        if not -x.ndim <= axis < x.ndim or scale.ndim != 1 or scale.size != x.shape[axis]:
            return None
        shape[axis] = scale.size
    if zero is not None and zero.size != scale.size:
        return None
    wide = x.astype(np.float64) - (0 if zero is None else zero.astype(np.float64).reshape(shape))
    return (wide * scale.astype(np.float64).reshape(shape)).astype(scale.dtype)


def _notes(graph: Graph, meant: list[tuple[str, str]]) -> Iterator[str]:
    """What became of whole numbers that are weights."""
    if meant:
        pairs = ", ".join(f"{stored[:40]!r} as {name[:40]!r}" for stored, name in meant[:3])
        more = f" and {len(meant) - 3} more" if len(meant) > 3 else ""
        yield f"quantised weights are read as the floating numbers that they stand for: {pairs}{more}"
    kept = [
        f"{name[:40]!r} ({array.dtype.name})"
        for inner in graph.subgraphs()
        for name, array in inner.known.items()
        if array.size > 1 and array.dtype.name in _SMALL
    ]
    if kept:
        more = f" and {len(kept) - 3} more" if len(kept) > 3 else ""
        names = ", ".join(kept[:3])
        yield f"quantised constants are kept as they are, and no symmetry is sought on them: {names}{more}"


def _divide(graph: Graph) -> None:
    """Moves the weights among the known values of all graphs to their parameters."""
    settings, readers, weights = Counter[str](), Counter[str](), Counter[str]()
    for inner in graph.subgraphs():
        for node in inner.nodes:
            for place, name in enumerate(node.inputs):
                readers[name] += 1
                settings[name] += place in SETTINGS.get(node.kind, ())
                weights[name] += place in WEIGHTS.get(node.kind, ())
    for inner in graph.subgraphs():
        for name, array in list(inner.known.items()):
            several = array.size > 1 or (array.ndim > 0 and readers[name] and readers[name] == weights[name])
            if several and not (readers[name] and readers[name] == settings[name]):
                tensor = _floating(array)
                if tensor is not None:
                    inner.parameters[name] = tensor
                    del inner.known[name]


def _floating(array: NDArray[Any]) -> Tensor | None:
    if array.dtype.kind == "f":
        return torch.from_numpy(array.copy())
    if array.dtype.name == "bfloat16":  # no type of numpy's own
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return None
