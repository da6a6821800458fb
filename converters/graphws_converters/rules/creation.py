"""Tensors from nothing: their entries are equal, or count upwards, or are constants."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from graphws_converters.algebra.dims import Dim, product
from graphws_converters.algebra.tensors import Abstract, Leg, Stacked
from graphws_converters.analysis.engine import Engine
from graphws_converters.analysis.ir import Node, Value, values_in
from graphws_converters.rules.registry import Call, Result, is_tensor, rule


@rule("zeros", "new_zeros", "zeros_like", "zero", powers=True)
def zeros(e: Engine, call: Call) -> Result:
    """Zeros follow any scale."""
    call.shape_of("self")
    made = e.fresh(call.shape, uniform=True)
    made.zero = True
    return made


@rule("ones", "full", "empty", "new_ones", "new_full", "new_empty", "ones_like", "full_like", "empty_like")
def uniform(e: Engine, call: Call) -> Result:
    """All entries equal."""
    call.shape_of("self")
    return e.fresh(call.shape, uniform=True)


@rule("scalar_tensor", "empty_strided", "empty_permuted")
def unordered(e: Engine, call: Call) -> Result:
    """Entries whose order cannot matter."""
    call.shape_of("self")
    return e.fresh(call.shape, uniform=True)


@rule("rand", "randn", "rand_like", "randn_like")
def drawn(e: Engine, call: Call) -> Result:
    """Random numbers: a run that begins with the same seed has the same ones, each in its place."""
    call.shape_of("self")
    made = e.fresh(call.shape)
    e.release(made.legs, "random numbers, each in its place")
    return made


@rule("arange")
def arange(e: Engine, call: Call) -> Result:
    """0, 1, 2, … are indices of their own axis; other sequences know its order."""
    made = e.fresh(call.shape)
    if call.get("start", 0) == 0 and call.get("step", 1) == 1:
        made.index = made.legs[0].dim
    else:
        e.release(made.legs, "a sequence of numbers")
    return made


@rule("linspace", "tril", "triu", "eye", "diag", "diagonal", "diag_embed", "inverse", "linalg_inv", "alias_write")
def order_aware(e: Engine, call: Call) -> Result:
    """Everything that they touch has an order."""
    return list(e.unknown([e.plain(x) for x in call.tensors()], call.shapes, f"{call.node.op} knows the order"))


@rule("expand", "expand_as", "broadcast_to", powers=True)
def expand(e: Engine, call: Call) -> Result:
    """New entries along an axis are copies."""
    call.shape_of("other")
    x = call["self"]
    if isinstance(x, Stacked):
        axis = x.axis + len(call.shape) - len(x.parts[0].legs) - 1
        if call.shape[axis] == len(x.parts):
            inner = [*call.shape[:axis], *call.shape[axis + 1 :]]
            return Stacked(axis, [_expanded(e, part, inner) for part in x.parts])
        x = e.plain(x)
    return _expanded(e, x, call.shape)


def _expanded(e: Engine, x: Abstract, shape: Sequence[int]) -> Abstract:
    padded = [None] * (len(shape) - len(x.legs)) + list(x.legs)
    legs, copied = [], []
    for leg, size in zip(padded, shape, strict=True):
        if leg is not None and leg.size == size:
            legs.append(leg)
        else:
            legs.append(Leg(Dim(size)))
            copied += legs[-1:]
            if not x.zero:
                e.pin(legs[-1:])
    made = e.tensor(legs, x)
    made.copies = tuple(copied)
    return made


@rule("copy", "fill", powers=True)
def overwrite(e: Engine, call: Call) -> Result:
    """Every entry overwritten, by those of another tensor or by one number."""
    call.shape_of("self")
    source = call.get("src", call.get("value"))
    if not is_tensor(source):
        made = e.fresh(call.shape, uniform=True)
        made.zero = source == 0
        e.pin(made.legs if source != 0 else [])
        return made
    x = _expanded(e, e.plain(source), call.shape)
    pin_cast(e, x, next(values_in(call.node.arguments.get("src", call.node.arguments.get("value")))), call.node)
    return x


@rule("repeat", "tile", powers=True)
def repeat(e: Engine, call: Call) -> Result:
    """Copies of the whole axis: a product whose slow factor counts the copies."""
    x = call["self"]
    times = list(call.get("repeats", call.get("dims")))
    times = [1] * (len(call.shape) - len(times)) + times
    if isinstance(x, Stacked):
        axis = x.axis + len(call.shape) - len(x.parts[0].legs) - 1
        if times[axis] == 1:
            return Stacked(axis, [_repeated(e, part, [*times[:axis], *times[axis + 1 :]]) for part in x.parts])
        x = e.plain(x)
    return _repeated(e, x, times)


def _repeated(e: Engine, x: Abstract, times: Sequence[int]) -> Abstract:
    legs: list[Leg] = [*(Leg(Dim(1)) for _ in times[len(x.legs) :]), *x.legs]
    return e.tensor([copies(e, leg, k, slow=True) for leg, k in zip(legs, times, strict=True)], x)


@rule("repeat_interleave", powers=True)
def repeat_interleave(e: Engine, call: Call) -> Result:
    """Copies of each element: a product whose fast factor counts the copies."""
    times = call.get("repeats")
    if not isinstance(times, int) or call.get("dim") is None:
        given = [e.plain(x) for x in call.tensors()]
        return e.unknown(given, call.shapes, "a number of copies that depends on data")[0]
    x = e.plain(call["self"])
    axis = call.axis()
    return e.tensor([copies(e, leg, times if k == axis else 1, slow=False) for k, leg in enumerate(x.legs)], x)


def copies(e: Engine, leg: Leg, times: int, slow: bool) -> Leg:
    """An axis repeated."""
    if times == 1:
        return leg
    counter = Leg(Dim(times))
    e.pin([counter])
    pair = [counter, leg] if slow else [leg, counter]
    made = Leg(product([part.dim for part in pair]))
    e.regrouped(pair, [made])
    return made


def pin_cast(e: Engine, x: Abstract, source: Value, node: Node) -> None:
    """What a cast leaves of powers: half precision ends at 65,504, and whole numbers round."""
    before, after = source.dtype, next(value.dtype for value in node.outputs if value is not None)
    if before.is_floating_point and before != after:
        whole = not (after.is_floating_point or after.is_complex)
        narrow = after.is_floating_point and torch.finfo(after).max < torch.finfo(torch.bfloat16).max
        if whole or narrow:
            e.pin(x.legs, "both" if whole else "scale")
