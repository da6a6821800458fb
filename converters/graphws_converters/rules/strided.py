"""``as_strided``: a view that is told how to walk through memory, as sliding windows over a sequence are.

Numbers of strides mean something only beside the layout of what is viewed.  Where that is dense, every place in memory
is one element, and the law is: an axis f of stride s and length n is an axis of the result as it stands, if one axis of
the result has that stride and length, and all others either move in steps that no smaller axis fills, whole multiples
of every stride above f, or stay, all together, below s.  Then the place's digit at f is that axis' index, and nothing
else touches it.  Axes of which this cannot be said have an order, as those that the windows run over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphws_converters.algebra.dims import Dim
from graphws_converters.algebra.tensors import Leg
from graphws_converters.analysis.engine import Engine
from graphws_converters.analysis.ir import Node, Value
from graphws_converters.rules.registry import Call, NotCovered, Result, rule


@rule("as_strided", "as_strided_copy", powers=True)
def as_strided(e: Engine, call: Call) -> Result:
    """Windows: the axes that they leave alone stay what they are."""
    if not stays_inside(call.node):
        raise NotCovered("a view of what lies beside its argument in memory")
    x = e.plain(call["self"])
    kept = _kept(call.node)
    e.release([leg for k, leg in enumerate(x.legs) if k not in kept.values()], "windows")
    legs = [x.legs[kept[j]] if j in kept else Leg(Dim(size, "windows")) for j, size in enumerate(call.shape)]
    return e.tensor(legs, x)


def stays_inside(node: Node) -> bool:
    """Whether a strided view shows nothing but elements of its argument, of a dense layout."""
    value, sizes, strides, start = _geometry(node)
    if value.layout is None or not _dense(value) or 0 in value.shape or 0 in sizes or min(strides, default=0) < 0:
        return False
    last = start + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    return start >= 0 and last < math.prod(value.shape)


def _geometry(node: Node) -> tuple[Value, Sequence[int], Sequence[int], int]:
    """The argument, the sizes and strides of the result, and where it begins, counted from the argument's first."""
    value = node.arguments["self"]
    first = value.layout.offset if value.layout is not None else 0
    given = node.arguments.get("storage_offset")
    sizes, strides = (list(node.arguments[name]) for name in ("size", "stride"))
    if not all(isinstance(number, int) for number in (*sizes, *strides)):
        return value, sizes, [-1] * len(sizes), 0
    return value, sizes, strides, 0 if given is None else given - first


def _dense(value: Value) -> bool:
    """Whether the elements fill a piece of memory, each place once."""
    assert value.layout is not None
    filled = 1
    for stride, size in sorted(zip(value.layout.strides, value.shape, strict=True)):
        if size > 1 and stride != filled:
            return False
        filled *= size
    return True


def _kept(node: Node) -> dict[int, int]:
    """For each axis of the result that is an axis of the argument, which."""
    value, sizes, strides, start = _geometry(node)
    assert value.layout is not None
    found: dict[int, int] = {}
    for axis, (size, stride) in enumerate(zip(value.shape, value.layout.strides, strict=True)):
        same = [j for j, pair in enumerate(zip(sizes, strides, strict=True)) if pair == (size, stride)]
        if size > 1 and len(same) == 1 and _untouched(size, stride, same[0], sizes, strides, start):
            found[same[0]] = axis
    return found


def _untouched(size: int, stride: int, own: int, sizes: Sequence[int], strides: Sequence[int], start: int) -> bool:
    """Whether the steps of all other axes leave a digit alone.

    In a dense layout every stride above is a multiple of `size` x `stride`, and every place below `stride` is one of
    the smaller axes'.
    """
    row = size * stride
    others = [(n, step) for j, (n, step) in enumerate(zip(sizes, strides, strict=True)) if j != own and n > 1]
    below = start % row + sum((n - 1) * step for n, step in others if step % row)
    return below < stride
