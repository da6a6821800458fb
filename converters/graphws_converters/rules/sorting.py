"""Operations along an ordered axis, and those that choose by size."""

from __future__ import annotations

from collections.abc import Sequence

from graphws_converters.algebra.dims import Dim
from graphws_converters.algebra.tensors import Abstract, Leg
from graphws_converters.algebra.unify import unify
from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.registry import Call, NotCovered, Result, is_tensor, rule


@rule("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin", "diff")
def cumulative(e: Engine, call: Call) -> Result:
    """Every entry depends on those before it."""
    x = e.plain(call["self"])
    e.release_index(x, "an index used as a number")
    out = e.ordered(x, [call.axis()], call.shape, call.node.op)
    return [out, *(e.tensor(out.legs) for _ in call.shapes[1:])]


@rule("topk", "sort", "msort", "kthvalue", "median", "nanmedian", "mode", powers=True)
def ranked(e: Engine, call: Call) -> Result:
    """Entries by rank, and the indices where they were: the axis itself keeps its freedom, positive scales pass."""
    x = e.plain(call["self"])
    e.release_index(x, "indices sorted as numbers")
    e.pin(x.legs, "sign")
    axis = _ranked_axis(call)
    if axis is None or not x.legs:
        return [e.reduce(x, None, False), *(e.fresh(shape) for shape in call.shapes[1:])]
    axis %= len(x.legs)
    e.barrier(x, [axis])
    e.pin([x.legs[axis]])
    kept = len(call.shape) == len(x.legs)
    between = [Leg(Dim(call.shape[axis], "ranks"))] if kept else []
    values = e.tensor([*x.legs[:axis], *between, *x.legs[axis + 1 :]])
    return [values, *(e.tensor(_unscaled(e, values.legs), index=x.dims[axis]) for _ in call.shapes[1:])]


def _ranked_axis(call: Call) -> int | None:
    """The axis whose entries are ranked; None where all entries are."""
    if call.node.op == "msort":
        return 0
    axis = call.get("dim")
    return None if axis is None else int(axis)


def _unscaled(e: Engine, legs: Sequence[Leg]) -> list[Leg]:
    """The same axes of a tensor whose entries follow no scale."""
    made = [Leg(leg.dim) for leg in legs]
    e.pin(made)
    return made


@rule("argsort")
def argsort(e: Engine, call: Call) -> Result:
    """The indices only."""
    x, axis = e.plain(call["self"]), call.axis()
    e.release_index(x, "indices sorted as numbers")
    e.barrier(x, [axis])
    legs = [Leg(Dim(leg.size, "ranks")) if k == axis else leg for k, leg in enumerate(x.legs)]
    return e.tensor(legs, index=x.dims[axis])


@rule("quantile", "nanquantile")
def quantile(e: Engine, call: Call) -> Result:
    """Entries by their share of the ranks; several shares stand along a new first axis."""
    x, shares, axis = e.plain(call["self"]), call["q"], call.get("dim")
    found = e.reduce(x, None if axis is None else [axis], call.get("keepdim", False))
    if not is_tensor(shares):
        return found
    e.release(e.plain(shares).legs, "ranks")
    return e.tensor([*(Leg(Dim(leg.size, "ranks")) for leg in e.plain(shares).legs), *found.legs])


@rule("bucketize", "searchsorted")
def between(e: Engine, call: Call) -> Result:
    """Between which of an ordered sequence an entry lies: each entry on its own, in the sequence of its row."""
    entries, bounds, order = e.plain(call["self"]), e.plain(_sequence(call)), call.get("sorter")
    if not is_tensor(entries):
        raise NotCovered("a number")
    for x in (entries, bounds):
        e.release_index(x, "an index used as a number")
    if is_tensor(order):
        e.unknown([e.plain(order)], [], "an order that is given")
    e.release(bounds.legs[-1:], "an ordered sequence")
    if len(bounds.legs) > 1:
        for a, b in zip(entries.legs[:-1], bounds.legs[:-1], strict=True):
            unify(a.dim, b.dim, "rows and their sequences")
        e.barriers.append(bounds.dims[:-1])
    return e.tensor(entries.legs)


def _sequence(call: Call) -> Abstract:
    return call["boundaries"] if call.node.op == "bucketize" else call["sorted_sequence"]  # type: ignore[no-any-return]
