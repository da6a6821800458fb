"""Rearrangements: runs of views that, as a whole, only put the elements of single axes in another sequence.

``view``, ``transpose``, ``reshape`` one by one take an axis apart into factors, and slices that ``cat`` exchanges take
it apart into terms, though nothing looks at the parts.  Read as one step, a channel shuffle is a permutation of its
channels.  What such a run does is found by running it on the places of its source.

Where constants pick elements of an axis (a fused projection of many queries, one key and one value), all that is made
of it is read so, and may be viewed as several axes: queries, keys and values then get axes of their own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from graphws.kinds.declare import aten
from graphws_converters.algebra.orders import Order
from graphws_converters.analysis.fixed import Fixed
from graphws_converters.analysis.ir import Node, Program, Value

MOST_MOVED = 1 << 21
"""Numbers of a tensor whose places are followed."""

_MOVING = frozenset(
    [
        "view",
        "reshape",
        "_unsafe_view",
        "view_copy",
        "_reshape_copy",
        "flatten",
        "unflatten",
        "permute",
        "transpose",
        "swapaxes",
        "t",
        "movedim",
        "unsqueeze",
        "squeeze",
        "slice",
        "select",
        "narrow",
        "split",
        "split_with_sizes",
        "chunk",
        "tensor_split",
        "unbind",
        "cat",
        "stack",
        "flip",
        "roll",
        "rot90",
        "unfold",
        "pixel_shuffle",
        "pixel_unshuffle",
        "channel_shuffle",
        "native_channel_shuffle",
        "index",
        "index_select",
        "contiguous",
        "clone",
        "alias",
        "detach",
    ]
)


_PICKING = frozenset({"index", "index_select"})


@dataclass(frozen=True, eq=False)
class Rearrangement:
    """A tensor that holds the entries of another.

    Attributes:
        source: The other.
        orders: For each axis of the source the places that are read.
        axes: For each axis of the source the axes of the tensor, longer than 1, that those are laid out in, row-major.
    """

    source: Value
    orders: tuple[Order, ...]
    axes: tuple[tuple[int, ...], ...]


@dataclass(eq=False)
class _Run:
    """Views of one source."""

    source: Value
    nodes: int


@dataclass(eq=False)
class _Reading:
    fixed: Fixed
    runs: dict[Value, _Run] = field(default_factory=dict)
    writers: dict[Value, Node] = field(default_factory=dict)
    places: dict[Value, Tensor] = field(default_factory=dict)


def rearrangements(program: Program, nodes: Sequence[Node], fixed: Fixed) -> dict[Value, Rearrangement]:
    """The tensors that several views together made of another tensor by moving whole slices of it.

    Args:
        program: What is read.
        nodes: Those of its operations that count.
        fixed: Its constants.
    """
    reading = _Reading(fixed)
    inside: set[Value] = set()
    for node in nodes:
        run = _run(reading, node)
        if run is None:
            continue
        inside.update(_data(reading, node))
        for value in node.outputs:
            if value is not None:
                reading.runs[value], reading.writers[value] = run, node
    indexed = {run.source for value, run in reading.runs.items() if reading.writers[value].op in _PICKING}
    last = {*program.outputs, *program.numbers_read()}
    for node in nodes:
        if not any(value in reading.runs for value in node.outputs):
            last.update(node.values())
    found = {}
    for value, run in reading.runs.items():
        picked = run.source in indexed
        if value in last and run.nodes > 1 and (picked or _alike(value.shape, run.source.shape)):
            whole = run.source in program.parameters.values()
            made = _read_as(_places(reading, value), run.source, whole)
            if made is not None and (picked or all(len(axes) <= 1 for axes in made.axes)):
                found[value] = made
    return found


def reads(node: Node, moved: Mapping[Value, Rearrangement]) -> Iterable[Value]:
    """The tensors that a node needs, where those that are read as rearrangements need their source only."""
    written = [value for value in node.outputs if value is not None]
    if written and all(value in moved for value in written):
        return [moved[value].source for value in written]
    return itertools.chain(node.values(), (moved[value].source for value in written if value in moved))


def _run(reading: _Reading, node: Node) -> _Run | None:
    """The run of views that a node continues; None where it is none, or joins several tensors."""
    if node.op not in _MOVING:
        return None
    data, given = (
        _data(reading, node),
        [node.arguments["self"]] if node.op in _PICKING else list(dict.fromkeys(node.values())),
    )
    first = next((value for value in node.outputs if value is not None), None)
    if not data or data != given or first is None or first.dtype != data[0].dtype:
        return None
    runs = [reading.runs.get(value, _Run(value, 0)) for value in data]
    source = runs[0].source
    if any(run.source is not source for run in runs) or math.prod(source.shape) > MOST_MOVED:
        return None
    return _Run(source, 1 + max(run.nodes for run in runs))


def _data(reading: _Reading, node: Node) -> list[Value]:
    """The tensors that a node reads, constant indices left out."""
    return [value for value in dict.fromkeys(node.values()) if reading.fixed(value) is None]


def _alike(shape: Sequence[int], other: Sequence[int]) -> bool:
    """Whether each axis may hold elements of one axis of the other shape."""
    taken, given = (sorted(n for n in sizes if n != 1) for sizes in (shape, other))
    return len(taken) == len(given) and all(a <= b for a, b in zip(taken, given, strict=True))


def _places(reading: _Reading, value: Value) -> Tensor | None:
    """For each entry its place in the source; None where a step cannot be run on places."""
    if value in reading.places:
        return reading.places[value]
    if value not in reading.runs:
        reading.places[value] = torch.arange(math.prod(value.shape)).reshape(value.shape)
        return reading.places[value]
    node = reading.writers[value]
    given: dict[Value, Tensor] = {}
    for read in node.values():
        known = reading.fixed(read)
        places = _places(reading, read) if known is None else known
        if places is None:
            return None
        given[read] = places
    arguments = pytree.tree_map_only(Value, lambda v: given[v], dict(node.arguments))
    try:
        result = aten(node.op, {k: v for k, v in arguments.items() if k != "memory_format"})
    except Exception:  # an operation of the front end's own: it is read by its rule, as all others
        return None
    made = [x for x in (result if isinstance(result, tuple | list) else [result]) if isinstance(x, Tensor)]
    for output, places in zip([v for v in node.outputs if v is not None], made, strict=False):
        reading.places[output] = places.contiguous()
    found = reading.places.get(value)
    return found if found is not None and tuple(found.shape) == value.shape else None


def _read_as(places: Tensor | None, source: Value, whole: bool) -> Rearrangement | None:
    """How a tensor reads the axes of its source; None where two are mixed, or an element is read twice.

    Args:
        places: For each entry its place in the source.
        source: The source.
        whole: Whether every element has to be read.
    """
    shape = source.shape
    if places is None or not places.numel() or (whole and places.numel() != math.prod(shape)):
        return None
    left = {k for k in range(places.ndim) if places.shape[k] > 1}
    orders, axes = [], []
    for axis, size in enumerate(shape):
        along = places // math.prod(shape[axis + 1 :]) % size
        chosen = [k for k in range(places.ndim) if bool((along != along.narrow(k, 0, 1)).any())]
        if not left.issuperset(chosen):
            return None
        left -= set(chosen)
        line = along[tuple(slice(None) if k in chosen else 0 for k in range(places.ndim))].flatten().tolist()
        if len(set(line)) != len(line):
            return None
        orders.append(tuple(line))
        axes.append(tuple(chosen))
    return None if left else Rearrangement(source, tuple(orders), tuple(axes))
