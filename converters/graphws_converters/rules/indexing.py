"""Looking entries up: by indices whose axis is known, or by data, which gives an axis an order.

Entries that are indices themselves (a table of positions) stay indices wherever they are looked up.
"""

from __future__ import annotations

import torch

from graphws_converters.algebra.dims import Dim
from graphws_converters.algebra.tensors import Abstract, Leg
from graphws_converters.algebra.unify import unify
from graphws_converters.analysis.engine import Engine
from graphws_converters.analysis.ir import values_in
from graphws_converters.rules.registry import Call, NotCovered, Result, is_tensor, rule


@rule("embedding", powers=True)
def embedding(e: Engine, call: Call) -> Result:
    """A row of a table for each index."""
    table, index = e.plain(call["weight"]), e.plain(call["indices"])
    found = _taken(e, call, table, 0, "indices")
    if found is not None:
        return found
    e.index_into(index, table.legs[0], "tokens")
    e.written += [leg for leg in table.legs[1:] if table.weight]
    n, rank = len(index.legs), len(index.legs) + len(table.legs) - 1
    legs = [*index.legs, *table.legs[1:]]
    found = e.looked_up(table, legs, _axes(rank, n, 1), [(0, index, _axes(rank, 0, 0, n))])
    found.weight = False
    return found


@rule("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(e: Engine, call: Call) -> Result:
    """Sums of rows of a table; where a bag ends is told by position."""
    table = e.plain(call["weight"])
    given = [e.plain(x) for x in (call.get(name) for name in ("indices", "offsets", "per_sample_weights"))]
    e.unknown([x for x in given if is_tensor(x)], [], "bags")
    e.release(table.legs[:1], "tokens")
    e.written += table.legs[1:]
    bag = e.tensor([Leg(Dim(call.shape[0], "bags")), *table.legs[1:]])
    return [bag, *(e.fresh(shape, "bags") for shape in call.shapes[1:])]


@rule("index_select", powers=True)
def index_select(e: Engine, call: Call) -> Result:
    """Some elements of an axis."""
    x, index, axis = e.plain(call["self"]), e.plain(call["index"]), call.axis()
    found = _taken(e, call, x, axis, "index")
    if found is not None:
        return found
    e.index_into(index, x.legs[axis], "a selection by data")
    legs = [*x.legs[:axis], *index.legs, *x.legs[axis + 1 :]]
    n = len(index.legs)
    kept = [*range(axis), *[None] * n, *range(axis + 1, len(x.legs))]
    return e.looked_up(x, legs, kept, [(axis, index, _axes(len(legs), axis, 0, n))])


@rule("index", "_unsafe_index", powers=True)
def index(e: Engine, call: Call) -> Result:
    """NumPy's advanced indexing."""
    x = e.plain(call["self"])
    given = [None if i is None else e.plain(i) for i in call["indices"]]
    places = [k for k, i in enumerate(given) if i is not None]
    if len(places) == 1:
        taken = _taken(e, call, x, places[0], "indices", places[0])
        if taken is not None:
            return taken
    given += [None] * (len(x.legs) - len(given))
    if any(value.dtype in (torch.bool, torch.uint8) for value in values_in(call.node.arguments["indices"])):
        return _rows_by_mask(e, call, x, places)
    indices = [i for i in given if i is not None]
    for k, i in zip(places, indices, strict=True):
        e.index_into(i, x.legs[k], "a selection by data")
    found = e.pointwise([Abstract(i.legs) for i in indices], why="indices").legs
    adjacent = places == list(range(places[0], places[-1] + 1))
    rest = [k for k in range(len(x.legs)) if given[k] is None]
    at = places[0] if adjacent else 0
    kept = [*rest[:at], *[None] * len(found), *rest[at:]]
    before = iter(found)
    legs = [next(before) if k is None else x.legs[k] for k in kept]
    along = [
        [None if a is None or i.legs[a].size != legs[n].size else a
         for n, a in enumerate(_axes(len(legs), at + len(found) - len(i.legs), 0, len(i.legs)))]
        for i in indices
    ]  # fmt: skip
    return e.looked_up(x, legs, kept, list(zip(places, indices, along, strict=True)))


def _rows_by_mask(e: Engine, call: Call, x: Abstract, places: list[int]) -> Abstract:
    """The rows where a mask says so, one after another: what the mask runs over has an order, the rest stays."""
    if len(places) != 1:
        raise NotCovered("a selection by several masks")
    at, mask = places[0], e.plain(call["indices"][places[0]])
    behind = at + len(mask.legs)
    _by_order(e, mask, range(len(mask.legs)), "a selection by a mask")
    _by_order(e, x, range(at, behind), "a selection by a mask")
    row = Leg(Dim(call.shape[at], "rows told by a mask"))
    legs = [*x.legs[:at], row, *x.legs[behind:]]
    return e.looked_up(x, legs, [*range(at), None, *range(behind, len(x.legs))], [])


@rule("index_put", "_unsafe_index_put", powers=True)
def index_put(e: Engine, call: Call) -> Result:
    """Rows written where masks or indices say so: these know an order, and what stands in a row stays."""
    x, values = e.plain(call["self"]), e.plain(call["values"])
    given = [None if i is None else e.plain(i) for i in call["indices"]]
    kinds = [value.dtype for value in values_in(call.node.arguments["indices"])]
    indices = [i for i in given if i is not None]
    masked = [kind in (torch.bool, torch.uint8) for kind in kinds]
    first = sum(len(i.legs) if mask else 1 for i, mask in zip(indices, masked, strict=True))
    rank = len(x.legs) - first
    if any(i is None for i in given) or not rank or values.shape[-rank:] != x.shape[first:] or len(values.legs) < rank:
        return by_data(e, call)
    why = "index_put goes by data"
    for i, mask in zip(indices, masked, strict=True):
        if not mask:
            e.release_index(i, why)
        _by_order(e, i, range(len(i.legs)), why)
    _by_order(e, x, range(first), why)
    ahead = len(values.legs) - rank
    _by_order(e, values, range(ahead), why)
    for own, other in zip(x.legs[first:], values.legs[ahead:], strict=True):
        e.same(own, other, "index_put")
    count = len(x.legs)
    rows = [None if k < first else k - first + ahead for k in range(count)]
    return e.tensor(x.legs, told=e.agreed([(x, range(count)), (values, rows)]))


def _by_order(e: Engine, x: Abstract, axes: range, why: str) -> None:
    """Some axes of a tensor are gone through in order."""
    e.release([x.legs[k] for k in axes], why)
    e.pin([x.legs[k] for k in axes])
    if len(axes):
        e.barrier(x, list(axes))


@rule("gather", "take_along_dim", powers=True)
def gather(e: Engine, call: Call) -> Result:
    """For each place one element of an axis."""
    x, chosen, axis = e.plain(call["self"]), e.plain(call.get("index", call.get("indices"))), call.axis()
    found = _gathered(e, call, x, axis)
    if found is not None:
        return found
    e.index_into(chosen, x.legs[axis], "a selection by data")
    e.pin(chosen.legs)
    legs, kept = list(chosen.legs), list[int | None]([None] * len(x.legs))
    for k, (a, b) in enumerate(zip(x.legs, chosen.legs, strict=True)):
        if k != axis:
            _meet(e, a, b, "gather")
        if k != axis and a.size == b.size:
            legs[k], kept[k] = a, k
    return e.looked_up(x, legs, kept, [(axis, chosen, range(len(legs)))])


@rule("scatter", "scatter_add", "scatter_reduce")
def scatter(e: Engine, call: Call) -> Result:
    """For each place one element of an axis is written."""
    x, chosen, source, axis = e.plain(call["self"]), e.plain(call["index"]), call.get("src"), call.axis()
    e.index_into(chosen, x.legs[axis], "writes by data")
    others = [chosen, *([e.plain(source)] if is_tensor(source) and e.plain(source).legs else [])]
    for k, leg in enumerate(x.legs):
        if k != axis:
            for other in others:
                _meet(e, leg, other.legs[k], "scatter")
        elif len(others) == 2:
            _meet(e, others[0].legs[k], others[1].legs[k], "scatter")
            if call.node.op == "scatter" and call.get("reduce") is None:
                e.release([others[1].legs[k]], "of writes to one place the last one counts")
    return e.tensor(x.legs)


@rule("one_hot")
def one_hot(e: Engine, call: Call) -> Result:
    """An index as an axis."""
    index, classes = e.plain(call["self"]), call.shape[-1]
    if index.index is not None and index.index.size == classes:
        e.addressing.append(index)
        return e.tensor([*index.legs, Leg(index.index)])
    e.release_index(index, "an index used as a number")
    return e.tensor([*index.legs, Leg(Dim(classes, "classes told by data"))])


@rule("index_add", "index_copy")
def index_add(e: Engine, call: Call) -> Result:
    """Rows written at places told by data."""
    x, source, axis = e.plain(call["self"]), e.plain(call["source"]), call.axis()
    e.release_index(e.plain(call["index"]), "writes by data")
    e.release([x.legs[axis], source.legs[axis]], "writes by data")
    for k, (a, b) in enumerate(zip(x.legs, source.legs, strict=True)):
        if k != axis:
            _meet(e, a, b, "index_add")
    return e.tensor(x.legs)


def _taken(e: Engine, call: Call, x: Abstract, axis: int, name: str, position: int | None = None) -> Abstract | None:
    """The elements of an axis at constant places; None where the places depend on data.

    Rows of a parameter that this run leaves out, or reads more than once, are told apart: other inputs may read others.
    """
    index = call.node.arguments[name]
    places = call.places(index if position is None else index[position], x.shape[axis])
    if places is None:
        return None
    order = places.flatten().tolist()
    if x.weight and sorted(order) != list(range(x.shape[axis])):
        return None
    read = call[name]
    e.addressing += [e.plain(i) for i in (read if isinstance(read, list | tuple) else [read]) if is_tensor(i)]
    found = e.picked(x, axis, order)
    if places.ndim == 1:
        return found
    return e.reshape(found, [*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])


def _gathered(e: Engine, call: Call, x: Abstract, axis: int) -> Abstract | None:
    """The same constant places of an axis, for all places along the others; None for anything else."""
    name = "index" if "index" in call.arguments else "indices"
    places = call.places(call.node.arguments[name], x.shape[axis])
    if places is None or places.ndim != len(x.legs) or not places.numel():
        return None
    lines = places.movedim(axis, -1).reshape(-1, places.shape[axis])
    spread = (1,) if call.node.op == "take_along_dim" else ()
    others = [k for k, n in enumerate(x.shape) if k != axis and places.shape[k] not in (n, *spread)]
    if others or not bool((lines == lines[:1]).all()):
        return None
    order = lines[0].tolist()
    if x.weight and sorted(order) != list(range(x.shape[axis])):
        return None
    e.addressing.append(e.plain(call[name]))
    return e.picked(x, axis, order)


@rule("masked_scatter", powers=True)
def masked_scatter(e: Engine, call: Call) -> Result:
    """Entries of a source, one after another, where a mask says so: whole rows where the mask is the same along a row.

    So features of pictures are put in the places of tokens.
    """
    x, mask, source = e.plain(call["self"]), e.plain(call["mask"]), e.plain(call["source"])
    rank = 0
    for leg, own, other in zip(reversed(mask.legs), reversed(x.legs), reversed(source.legs), strict=False):
        alike = leg.size == 1 or (leg in mask.copies and leg.size == own.size)
        if not alike or own.size != other.size:
            break
        rank += 1
    if not rank or len(mask.legs) != len(x.legs):
        return by_data(e, call)
    leading = [x.legs[:-rank], mask.legs[:-rank], source.legs[:-rank]]
    e.release([leg for legs in leading for leg in legs], "masked_scatter goes by data")
    for own, other in zip(x.legs[-rank:], source.legs[-rank:], strict=True):
        e.same(own, other, "masked_scatter")
    count, first = len(x.legs), len(source.legs) - rank
    rows = [None if k < count - rank else k - (count - rank) + first for k in range(count)]
    return e.tensor(x.legs, told=e.agreed([(x, range(count)), (source, rows)]))


@rule("nonzero", "unique2", "masked_select")
def by_data(e: Engine, call: Call) -> Result:
    """Places told by data: all that they touch has an order."""
    why = f"{call.node.op} goes by data"
    return list(e.unknown([e.plain(x) for x in call.tensors()], call.shapes, why))


def _axes(rank: int, at: int, first: int, count: int | None = None) -> list[int | None]:
    """For each of `rank` axes the one that it was: from place `at` on, `count` axes (or all) counted from `first`."""
    return [n - at + first if at <= n < (rank if count is None else at + count) else None for n in range(rank)]


def _meet(e: Engine, a: Leg, b: Leg, why: str) -> None:
    """Two axes that run in step; of different lengths, both have an order."""
    if a.size == b.size:
        unify(a.dim, b.dim, why)
    else:
        e.release([a, b], f"{why} along part of an axis")
