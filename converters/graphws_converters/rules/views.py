"""Views: the same entries in another arrangement, so powers pass as they are."""

from __future__ import annotations

import math

from graphws_converters.algebra.dims import Dim, is_free, terms, total
from graphws_converters.algebra.tensors import Abstract, Leg, Stacked
from graphws_converters.algebra.unify import unify
from graphws_converters.analysis.engine import Engine
from graphws_converters.primitives.arranging import groups
from graphws_converters.rules.creation import pin_cast
from graphws_converters.rules.registry import Call, Result, rule

MOST_STACKED = 16
"""The longest axis that is kept as a stack of tensors."""


@rule("clone", "contiguous", "detach", "alias", "lift_fresh_copy", "lift_fresh", "lift", "_to_copy", "to", powers=True)
def identity(e: Engine, call: Call) -> Result:
    """The same tensor, perhaps in another type."""
    x = call.get("self", call.get("input"))
    for part in x.parts if isinstance(x, Stacked) else [x]:
        pin_cast(e, part, next(call.node.values()), call.node)
    return x if isinstance(x, Stacked) else e.tensor(x.legs, x)


@rule("dropout", "feature_dropout", "alpha_dropout", "type_as", "requires_grad", "view_copy_", powers=True)
def silent(e: Engine, call: Call) -> Result:
    """Nothing in eval mode."""
    call.shape_of("other")
    return identity(e, call)


@rule("native_dropout")
def native_dropout(e: Engine, call: Call) -> Result:
    """Nothing in eval mode, with a mask."""
    x = e.plain(call["input"])
    return [e.tensor(x.legs, x), e.tensor(x.legs)]


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "_reshape_alias", "reshape_as", "view_as", powers=True)
@rule("view_copy", "_reshape_copy", "squeeze_copy", powers=True)
def view(e: Engine, call: Call) -> Result:
    """A reshape; an axis is kept apart where it is only taken apart later, or counts what was put side by side.

    Such are the 3 of ``view(..., 3, h, d)``, and the directions of a recurrent layer's output.
    """
    x = call["self"]
    call.shape_of("other")
    kept = _regrouped(e, x, call.shape) if isinstance(x, Stacked) else _split(e, x, call)
    return e.reshape(x, call.shape) if kept is None else kept


def _regrouped(e: Engine, x: Stacked, shape: tuple[int, ...]) -> Abstract | Stacked | None:
    """Stacked tensors whose own axis stays, or is merged with what runs faster: then they stand side by side."""
    whole = list(x.parts[0].shape)
    whole.insert(x.axis, len(x.parts))
    for before, after in groups(whole, shape):
        if x.axis not in before:
            continue
        if before == [x.axis] and len(after) == 1:
            inner = [*shape[: after[0]], *shape[after[0] + 1 :]]
            return Stacked(after[0], [e.reshape(part, inner) for part in x.parts])
        if before[0] == x.axis and len(after) == 1:
            axis = after[0]
            inner = [*shape[:axis], shape[axis] // len(x.parts), *shape[axis + 1 :]]
            return e.concat([e.reshape(part, inner) for part in x.parts], axis)
    return None


def _split(e: Engine, x: Abstract, call: Call) -> Stacked | None:
    if not math.prod(call.shape):
        return None
    taken = call.taken_apart() | _side_by_side(x, call.shape)
    for axis in sorted(taken):
        if not 1 < call.shape[axis] <= MOST_STACKED:
            continue
        for before, after in groups(x.shape, call.shape):
            splits = len(before) == 1 and len(after) > 1 and axis in after[:-1]
            others_stay = len(call.shape) - len(after) == len(x.legs) - 1
            if splits and others_stay and not is_free(x.legs[before[0]].dim):
                return e.split_stacked(x, before[0], [call.shape[k] for k in after], after.index(axis))
    return None


def _side_by_side(x: Abstract, shape: tuple[int, ...]) -> set[int]:
    """Axes of a reshape that count the terms of a sum."""
    return {
        after[0]
        for before, after in groups(x.shape, shape)
        if len(before) == 1 < len(after) and len(terms(x.legs[before[0]].dim)) > 1
    }


@rule("permute", powers=True)
def permute(e: Engine, call: Call) -> Result:
    """Axes in another order."""
    return e.permute(call["self"], [k % len(call.shape) for k in call["dims"]])  # type: ignore[no-any-return]


@rule("transpose", "swapaxes", "swapdims", powers=True)
def transpose(e: Engine, call: Call) -> Result:
    """Two axes exchanged."""
    order = list(range(len(call.shape)))
    a, b = (
        call.axis("dim0" if "dim0" in call.arguments else "axis0"),
        call.axis("dim1" if "dim1" in call.arguments else "axis1"),
    )
    order[a], order[b] = order[b], order[a]
    return e.permute(call["self"], order)  # type: ignore[no-any-return]


@rule("t", "numpy_T", "mT", "matrix_H", "adjoint", powers=True)
def t(e: Engine, call: Call) -> Result:
    """The last two axes exchanged."""
    order = list(range(len(call.shape)))
    order[-2:] = order[-2:][::-1]
    return e.permute(call["self"], order)  # type: ignore[no-any-return]


@rule("movedim", "moveaxis", powers=True)
def movedim(e: Engine, call: Call) -> Result:
    """Some axes moved elsewhere."""
    rank = len(call.shape)
    sources, targets = ([value] if isinstance(value, int) else list(value) for value in
                        (call["source"], call["destination"]))  # fmt: skip
    places = {target % rank: source % rank for source, target in zip(sources, targets, strict=True)}
    rest = iter(k for k in range(rank) if k not in places.values())
    return e.permute(call["self"], [places[k] if k in places else next(rest) for k in range(rank)])  # type: ignore[no-any-return]


@rule("unsqueeze", powers=True)
def unsqueeze(e: Engine, call: Call) -> Result:
    """A new axis of length 1."""
    x = call["self"]
    if isinstance(x, Stacked):
        axis = int(call["dim"]) % (len(x.parts[0].legs) + 2)
        inner = axis - (axis > x.axis)
        parts = [e.tensor([*p.legs[:inner], Leg(Dim(1)), *p.legs[inner:]], p) for p in x.parts]
        return Stacked(x.axis + (axis <= x.axis), parts)
    axis = call.axis()
    return e.tensor([*x.legs[:axis], Leg(Dim(1)), *x.legs[axis:]], x)


@rule("squeeze", powers=True)
def squeeze(e: Engine, call: Call) -> Result:
    """Axes of length 1 dropped."""
    x = call["self"]
    rank = len(x.parts[0].legs) + 1 if isinstance(x, Stacked) else len(x.legs)
    dims = call.get("dim")
    axes = {k % max(rank, 1) for k in (range(rank) if dims is None else [dims] if isinstance(dims, int) else dims)}
    if not isinstance(x, Stacked):
        return e.tensor([leg for k, leg in enumerate(x.legs) if k not in axes or leg.size != 1], x)
    inner = {k - (k > x.axis) for k in axes if k != x.axis}
    if len(x.parts) == 1 and x.axis in axes:
        (part,) = x.parts
        return e.tensor([leg for k, leg in enumerate(part.legs) if k not in inner or leg.size != 1], part)
    gone = {k for k in inner if x.parts[0].shape[k] == 1}
    parts = [e.tensor([leg for k, leg in enumerate(p.legs) if k not in gone], p) for p in x.parts]
    return Stacked(x.axis - sum(k < x.axis for k in gone), parts)


@rule("slice", powers=True)
def slice_(e: Engine, call: Call) -> Result:
    """Part of an axis."""
    x, step = call["self"], call.get("step", 1)
    if isinstance(x, Stacked):
        if call.get("dim", 0) % (len(x.parts[0].legs) + 1) == x.axis:
            return Stacked(x.axis, x.parts[call.get("start") : call.get("end") : step])
        x = e.plain(x)
    axis = call.get("dim", 0) % len(x.legs)
    start, stop, _ = slice(call.get("start"), call.get("end")).indices(x.shape[axis])
    return e.slice(x, axis, start, max(start, stop), step)


@rule("narrow", powers=True)
def narrow(e: Engine, call: Call) -> Result:
    """Part of an axis, by its length."""
    x = e.plain(call["self"])
    axis = call.axis()
    start = call["start"] % max(x.shape[axis], 1)
    return e.slice(x, axis, start, start + call["length"])


@rule("select", powers=True)
def select(e: Engine, call: Call) -> Result:
    """One element of an axis."""
    return e.select(call["self"], call["dim"], call["index"])


@rule("unbind", powers=True)
def unbind(e: Engine, call: Call) -> Result:
    """Every element of an axis."""
    x, axis = call["self"], call.get("dim", 0)
    if isinstance(x, Stacked) and axis % (len(x.parts[0].legs) + 1) == x.axis:
        return list(x.parts)
    x = e.plain(x)
    return [e.select(x, axis, at) for at in range(x.shape[axis % len(x.legs)])]


@rule("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk", powers=True)
@rule("split_copy", "split_with_sizes_copy", "unsafe_split_with_sizes", powers=True)
def split(e: Engine, call: Call) -> Result:
    """An axis in consecutive pieces."""
    x, axis = call["self"], call.get("dim", 0)
    if isinstance(x, Stacked) and axis % (len(x.parts[0].legs) + 1) == x.axis:
        found, at = [], 0
        for shape in call.shapes:
            found.append(Stacked(x.axis, x.parts[at : at + shape[x.axis]]))
            at += shape[x.axis]
        return found
    x = e.plain(x)
    return list(e.cut(x, axis, [shape[axis] for shape in call.shapes]))


@rule("flip", powers=True)
def flip(e: Engine, call: Call) -> Result:
    """Axes read backwards."""
    x = e.plain(call["self"])
    for axis in call["dims"]:
        x = e.picked(x, axis, range(x.shape[axis])[::-1])
    return x  # type: ignore[no-any-return]


@rule("roll", powers=True)
def roll(e: Engine, call: Call) -> Result:
    """Entries shifted along axes; along all of them, row-major, where none is named."""
    x, shifts, axes = e.plain(call["self"]), call["shifts"], list(call.get("dims") or [])
    if not axes:
        flat = e.reshape(x, [math.prod(x.shape)])
        return e.reshape(_rolled(e, flat, 0, shifts[0]), call.shape)
    for axis, shift in zip(axes, shifts, strict=True):
        x = _rolled(e, x, axis, shift)
    return x  # type: ignore[no-any-return]


def _rolled(e: Engine, x: Abstract, axis: int, shift: int) -> Abstract:
    size = x.shape[axis]
    return e.picked(x, axis, [(k - shift) % size for k in range(size)])


@rule("cat", "concat", "concatenate", powers=True)
def cat(e: Engine, call: Call) -> Result:
    """One after the other."""
    return e.concat(list(call["tensors"]), call.get("dim", 0))


@rule("stack", powers=True)
def stack(e: Engine, call: Call) -> Result:
    """Side by side along a new axis."""
    return Stacked(call.axis(default=0), [e.plain(x) for x in call["tensors"]])


@rule("constant_pad_nd", "pad", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", powers=True)
@rule("replication_pad1d", "replication_pad2d", "replication_pad3d", powers=True)
def pad(e: Engine, call: Call) -> Result:
    """More entries at the ends of axes: with zeros they are atoms of their own, that may meet others."""
    x = e.plain(call["self"])
    widths = list(call.get("pad", call.get("padding")))
    constant = call.node.op == "constant_pad_nd" or (
        call.node.op == "pad" and call.get("mode", "constant") == "constant"
    )
    legs, ordered = list(x.legs), []
    for k in range(len(widths) // 2):
        low, high, axis = widths[2 * k], widths[2 * k + 1], len(legs) - 1 - k
        if low == high == 0:
            continue
        if constant and low >= 0 and high >= 0:
            ends = [Leg(Dim(n)) for n in (low, high)]
            if call.get("value", 0):
                e.pin([*ends, *x.legs])
            legs[axis] = _joined(e, [ends[0], legs[axis], ends[1]])
        else:
            ordered.append(axis)
    return e.ordered(e.tensor(legs), ordered, call.shape, "padding") if ordered else e.tensor(legs)


def _joined(e: Engine, parts: list[Leg]) -> Leg:
    filled = [part for part in parts if part.size]
    made = Leg(total([part.dim for part in filled]))
    e.regrouped(filled, [made])
    return made


@rule("pixel_shuffle", powers=True)
def pixel_shuffle(e: Engine, call: Call) -> Result:
    """Channels to pixels: (c r r) h w to c (h r) (w r)."""
    x, r = e.plain(call["self"]), call["upscale_factor"]
    *batch, channels, height, width = x.shape
    n = len(batch)
    y = e.reshape(x, [*batch, channels // r**2, r, r, height, width])
    y = e.permute(y, [*range(n), n, n + 3, n + 1, n + 4, n + 2])
    e.release(y.legs[n + 1 :], "pixels")
    return e.reshape(y, call.shape)


@rule("pixel_unshuffle", powers=True)
def pixel_unshuffle(e: Engine, call: Call) -> Result:
    """The inverse of `pixel_shuffle`."""
    x, r = e.plain(call["self"]), call["downscale_factor"]
    *batch, channels, height, width = x.shape
    n = len(batch)
    e.release(x.legs[n + 1 :], "pixels")
    y = e.reshape(x, [*batch, channels, height // r, r, width // r, r])
    y = e.permute(y, [*range(n), n, n + 2, n + 4, n + 1, n + 3])
    return e.reshape(y, call.shape)


@rule("channel_shuffle", "native_channel_shuffle", powers=True)
def channel_shuffle(e: Engine, call: Call) -> Result:
    """(g c) to (c g)."""
    x, g = e.plain(call["self"]), call["groups"]
    batch, channels, *rest = x.shape
    y = e.reshape(x, [batch, g, channels // g, *rest])
    y = e.permute(y, [0, 2, 1, *range(3, 3 + len(rest))])
    return e.reshape(y, call.shape)


@rule("_weight_norm", "_weight_norm_interface", powers=True)
def weight_norm(e: Engine, call: Call) -> Result:
    """v g / |v|: the direction follows signs only, the length everything."""
    v, g = e.plain(call["v"]), e.plain(call["g"])
    legs = []
    for direction, length in zip(v.legs, g.legs, strict=True):
        if length.size != direction.size:
            e.pin([direction], "scale")
            legs.append(direction)
            continue
        out = Leg(direction.dim)
        unify(direction.dim, length.dim, "a weight norm")
        e.pin([direction], "scale")
        e.relate((-1, out), (1, direction), (1, length))
        legs.append(out)
    e.written += [leg for leg in g.legs if g.weight]
    made = e.tensor(legs)
    made.weight = v.weight
    outputs: list[Abstract] = [made, *(e.tensor(g.legs) for _ in call.shapes[1:])]
    return list(outputs)
