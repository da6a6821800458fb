"""Canonical JSON of a graph, and its bounded, checked reading.

Equal graphs give equal text: keys in a fixed order, fields that hold their default left out.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from graphws.errors import GraphError, nearest
from graphws.graph.constant import LARGEST as LARGEST_CONSTANT
from graphws.graph.constant import Constant
from graphws.graph.format_1 import operation_of_format_1
from graphws.graph.operation import Operation
from graphws.graph.parameter import Axis, Parameter, Storage
from graphws.graph.space import Space
from graphws.graph.value import Value
from graphws.kinds.attributes import DTYPES, WEIGHTS, written

FORMAT = 2
OLDEST = 1
"""Formats that are written and read.  Format 1 had no constants, and named operations without all their arguments."""
LONGEST = 64 << 20
"""Largest text that is read, in characters."""
LARGEST = 2**40
"""Largest size of a space, and largest length of a stored axis, that is believed."""


class Described(Protocol):
    """What of a graph is written: the fields of `graphws.graph.NetworkGraph`, which stands above this module."""

    @property
    def spaces(self) -> Sequence[Space]:
        """Every space once."""
        ...

    @property
    def parameters(self) -> Sequence[Parameter]:
        """Every parameter once."""
        ...

    @property
    def operations(self) -> Sequence[Operation]:
        """The computation, in order."""
        ...

    @property
    def inputs(self) -> Sequence[str]:
        """Values that the caller gives."""
        ...

    @property
    def outputs(self) -> Sequence[str]:
        """Values that the caller gets."""
        ...

    @property
    def constants(self) -> Sequence[Constant]:
        """Bounded tensors that the computation needs."""
        ...

    @property
    def values(self) -> Sequence[Value]:
        """What is known of values."""
        ...


def _space(space: Space) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": space.name, "size": space.size, "kind": space.kind}
    if space.parent is not None:
        entry["parent"] = space.parent
    if space.action != "permutation":
        entry["action"] = str(space.action)
    return entry | {key: getattr(space, key) for key in ("role", "reason") if getattr(space, key)}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": parameter.name,
        "axes": " ".join(map(str, parameter.axes)),
        "kind": parameter.kind,
    }
    if parameter.role:
        entry["role"] = parameter.role
    storage = parameter.storage
    if storage is not None:
        place: dict[str, Any] = {"key": storage.key, "shape": list(storage.shape)}
        if storage.block is not None:
            place["block"] = [list(bounds) for bounds in storage.block]
        if storage.aliases:
            place["aliases"] = list(storage.aliases)
        if storage.view is not None:
            place["view"] = list(storage.view)
        if storage.orders:
            place["orders"] = [list(order) for order in storage.orders]
        entry["storage"] = place
    return entry


def _operation(operation: Operation) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "kind": operation.kind,
        "inputs": list(operation.inputs),
        "outputs": list(operation.outputs),
    }
    attributes = {name: written(value) for name, value in operation.attributes}
    return entry | ({"attributes": attributes} if attributes else {})


def _constant(constant: Constant, inline: bool) -> dict[str, Any]:
    kind = str(constant.tensor.dtype).removeprefix("torch.")
    entry: dict[str, Any] = {"name": constant.name, "dtype": kind, "shape": list(constant.tensor.shape)}
    if constant.follows:
        entry["follows"] = True
    if inline:
        entry["data"] = base64.b64encode(constant.bits).decode("ascii")
    return entry


def _value(value: Value) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": value.name, "shape": list(value.shape)}
    if any(axis is not None for axis in value.axes):
        entry["axes"] = ["" if axis is None else str(axis) for axis in value.axes]
    if value.dtype != WEIGHTS:
        entry["dtype"] = value.dtype
    return entry | ({"highest": value.highest} if value.highest is not None else {})


def to_json(graph: Described, *, inline: bool = True) -> str:
    """Canonical JSON of a graph.

    Args:
        graph: The graph.
        inline: Whether the numbers of its constants stand in the text too, in base 64.
    """
    document = {
        "graphws_graph": FORMAT,
        "spaces": [_space(space) for space in graph.spaces],
        "parameters": [_parameter(parameter) for parameter in graph.parameters],
        "operations": [_operation(operation) for operation in graph.operations],
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
    }
    if graph.constants:
        document["constants"] = [_constant(constant, inline) for constant in graph.constants]
    if graph.values:
        document["values"] = [_value(value) for value in graph.values]
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _shown(value: object) -> str:
    """A value in a message, shortened."""
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."


class _Reader:
    """Typed access to a parsed document: every surprise becomes a `GraphError` that names the place."""

    def __init__(self, entry: object, place: str, allowed: tuple[str, ...]) -> None:
        if not isinstance(entry, dict):
            raise GraphError(f"graph file, {place}: a mapping expected, got {type(entry).__name__}")
        left = set(entry) - set(allowed)
        if left:
            raise GraphError(f"graph file, {place}: unknown field {_shown(sorted(map(str, left))[0])}")
        self.entry, self.place = entry, place

    def text(self, key: str, default: str | None = None) -> str:
        value = self.entry.get(key, default)
        if not isinstance(value, str):
            raise GraphError(f"graph file, {self.place}: {key!r} must be text, got {_shown(value)}")
        return self._encodable(value, key)

    def _encodable(self, value: str, key: str) -> str:
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise GraphError(
                f"graph file, {self.place}: {key!r} holds half a character (a lone surrogate): {_shown(value)}"
            )
        return value

    def whole(self, key: str) -> int:
        return self._size(self.entry.get(key), key)

    def _size(self, value: object, key: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST:
            raise GraphError(
                f"graph file, {self.place}: {key!r} must be a whole number up to 2^40, got {_shown(value)}"
            )
        return value

    def items(self, key: str) -> list[Any]:
        value = self.entry.get(key, [])
        if not isinstance(value, list):
            raise GraphError(f"graph file, {self.place}: {key!r} must be a list, got {_shown(value)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        items = self.items(key)
        if not all(isinstance(item, str) for item in items):
            raise GraphError(f"graph file, {self.place}: {key!r} must be a list of texts, got {_shown(items)}")
        return tuple(self._encodable(item, key) for item in items)

    def sizes(self, key: str) -> tuple[int, ...]:
        return tuple(self._size(item, key) for item in self.items(key))


def _read_storage(entry: object, place: str) -> Storage:
    reader = _Reader(entry, place, ("key", "shape", "block", "aliases", "view", "orders"))
    block = None
    if "block" in reader.entry:
        pairs = reader.items("block")
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise GraphError(f"graph file, {place}: 'block' must be a list of [start, stop], got {_shown(pairs)}")
        block = tuple((reader._size(a, "block"), reader._size(b, "block")) for a, b in pairs)
    view = reader.sizes("view") if "view" in reader.entry else None
    rows = reader.items("orders")
    if not all(isinstance(row, list) for row in rows):
        raise GraphError(f"graph file, {place}: 'orders' must be a list of lists of places, got {_shown(rows)}")
    orders = tuple(tuple(reader._size(item, "orders") for item in row) for row in rows)
    return Storage(reader.text("key"), reader.sizes("shape"), block, reader.texts("aliases"), view, orders)


def _read_parameter(entry: object, place: str) -> Parameter:
    reader = _Reader(entry, place, ("name", "axes", "kind", "role", "storage"))
    axes = tuple(Axis.parse(text) for text in reader.text("axes").split())
    storage = _read_storage(reader.entry["storage"], f"{place}, storage") if "storage" in reader.entry else None
    return Parameter(reader.text("name"), axes, reader.text("kind"), reader.text("role", ""), storage)


def _read_space(entry: object, place: str) -> Space:
    reader = _Reader(entry, place, ("name", "size", "kind", "parent", "action", "role", "reason"))
    parent = reader.text("parent") if "parent" in reader.entry else None
    try:
        return Space(
            reader.text("name"),
            reader.whole("size"),
            reader.text("kind"),  # type: ignore[arg-type]
            parent,
            reader.text("action", "permutation"),  # type: ignore[arg-type]
            reader.text("role", ""),
            reader.text("reason", ""),
        )
    except ValueError as error:
        raise GraphError(f"graph file, {place}: {error}") from None


def _read_operation(entry: object, place: str, version: int) -> Operation:
    reader = _Reader(entry, place, ("kind", "inputs", "outputs", "attributes"))
    attributes = reader.entry.get("attributes", {})
    if not isinstance(attributes, dict) or not all(
        isinstance(v, bool | int | float | str)
        or (isinstance(v, list) and all(isinstance(part, bool | int | float | str) for part in v))
        for v in attributes.values()
    ):
        raise GraphError(f"graph file, {place}: 'attributes' must map names to numbers, texts or lists of them")
    texts = [part for value in attributes.values() for part in (value if isinstance(value, list) else [value])]
    for text in [*attributes, *(part for part in texts if isinstance(part, str))]:
        reader._encodable(text, "attributes")
    kind, inputs, outputs = reader.text("kind"), reader.texts("inputs"), reader.texts("outputs")
    if version == 1:
        return operation_of_format_1(kind, inputs, outputs, attributes)
    try:
        return Operation(kind, inputs, outputs, tuple(attributes.items()))
    except GraphError as error:
        raise GraphError(f"graph file, {place}: {error}") from None


def _read_constant(entry: object, place: str, given: Mapping[str, Tensor]) -> Constant:
    reader = _Reader(entry, place, ("name", "dtype", "shape", "follows", "data"))
    name, follows, kind = reader.text("name"), reader.entry.get("follows", False), reader.text("dtype")
    if not isinstance(follows, bool):
        raise GraphError(f"graph file, {place}: 'follows' must be true or false, got {_shown(follows)}")
    if kind not in DTYPES:
        raise GraphError(f"graph file, {place}: unknown type {_shown(kind)}" + nearest(kind[:100], DTYPES))
    dtype, shape = DTYPES[kind], reader.sizes("shape")
    if "data" in reader.entry:
        tensor = _inline(reader, dtype, shape)
    elif name in given:
        tensor = torch.view_as_complex(given[name]) if _is_pairs(given[name], dtype) else given[name]
    else:
        raise GraphError(f"graph file, {place}: the numbers of constant {_shown(name)} are missing")
    if tensor.dtype != dtype or tuple(tensor.shape) != shape:
        stated, held = _type_and_shape(dtype, shape), _type_and_shape(tensor.dtype, tuple(tensor.shape))
        raise GraphError(f"graph file, {place}: constant {_shown(name)} should be {stated}, its numbers are {held}")
    return Constant(name, tensor, follows)


def _inline(reader: _Reader, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """The numbers that stand in the text; as many as type and shape ask for."""
    text, wanted = reader.text("data"), math.prod(shape) * dtype.itemsize
    if wanted > LARGEST_CONSTANT:
        raise GraphError(
            f"graph file, {reader.place}: {_type_and_shape(dtype, shape)} has more than {LARGEST_CONSTANT} bytes"
        )
    try:
        bits = base64.b64decode(text, validate=True)
    except ValueError:
        raise GraphError(f"graph file, {reader.place}: 'data' is not base 64") from None
    if len(bits) != wanted:
        raise GraphError(
            f"graph file, {reader.place}: 'data' holds {len(bits)} bytes, {_type_and_shape(dtype, shape)} has {wanted}"
        )
    flat = torch.frombuffer(bytearray(bits), dtype=torch.uint8) if bits else torch.empty(0, dtype=torch.uint8)
    return flat.view(dtype).reshape(shape)


def _is_pairs(tensor: Tensor, dtype: torch.dtype) -> bool:
    """Whether a tensor holds complex numbers of that type as pairs."""
    return dtype.is_complex and tensor.dtype == dtype.to_real() and tensor.ndim > 0 and tensor.shape[-1] == 2


def _type_and_shape(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    """As in ``float32 of shape (2, 3)``."""
    return f"{str(dtype).removeprefix('torch.')} of shape {shape}"


def _read_value(entry: object, place: str) -> Value:
    reader = _Reader(entry, place, ("name", "shape", "axes", "dtype", "highest"))
    shape = reader.items("shape")
    if not all(isinstance(size, str) or (isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= LARGEST)
               for size in shape):  # fmt: skip
        raise GraphError(f"graph file, {place}: 'shape' must be a list of sizes, got {_shown(shape)}")
    highest = reader.whole("highest") if "highest" in reader.entry else None
    axes = tuple(Axis.parse(text) if text else None for text in reader.texts("axes"))
    return Value(reader.text("name"), tuple(shape), axes, reader.text("dtype", WEIGHTS), highest)


def parts_of(text: str, constants: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """The arguments of the graph that a JSON text describes.

    Args:
        text: The text.
        constants: Numbers of constants whose numbers do not stand in the text; of complex ones as pairs.

    Raises:
        GraphError: On text that is too long, is not JSON, or does not describe a graph; the place is named.
    """
    if len(text) > LONGEST:
        raise GraphError(f"graph file: {len(text)} characters, at most {LONGEST} are read")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GraphError(f"graph file is not JSON: {error}") from None
    fields = ("graphws_graph", "spaces", "parameters", "operations", "inputs", "outputs", "constants", "values")
    reader = _Reader(document, "top", fields)
    version = reader.whole("graphws_graph")
    if not OLDEST <= version <= FORMAT:
        raise GraphError(f"graph file of format {version}; this version reads formats {OLDEST} to {FORMAT}")
    return {
        "spaces": tuple(_read_space(e, f"space {k}") for k, e in enumerate(reader.items("spaces"))),
        "parameters": tuple(_read_parameter(e, f"parameter {k}") for k, e in enumerate(reader.items("parameters"))),
        "operations": tuple(
            _read_operation(e, f"operation {k}", version) for k, e in enumerate(reader.items("operations"))
        ),
        "inputs": reader.texts("inputs"),
        "outputs": reader.texts("outputs"),
        "constants": tuple(
            _read_constant(e, f"constant {k}", constants or {}) for k, e in enumerate(reader.items("constants"))
        ),
        "values": tuple(_read_value(e, f"value {k}") for k, e in enumerate(reader.items("values"))),
    }
