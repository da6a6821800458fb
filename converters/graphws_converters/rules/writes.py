"""Writes into part of an axis: what was there is gone, so the result puts what stays and what is new side by side."""

from __future__ import annotations

from graphws_converters.algebra.dims import Dim
from graphws_converters.algebra.tensors import Abstract, Leg
from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.registry import Call, Result, rule


@rule("slice_scatter", powers=True)
def slice_scatter(e: Engine, call: Call) -> Result:
    """Part of an axis overwritten."""
    x, source, axis = e.plain(call["self"]), e.plain(call["src"]), call.axis(default=0)
    places = range(x.shape[axis])[call.get("start") : call.get("end") : call.get("step", 1)]
    if not places:
        return x  # type: ignore[no-any-return]
    if places.step == 1 or len(places) == 1:
        return _spliced(e, x, source, axis, places[0], places[-1] + 1)
    return _interleaved(e, x, source, axis, places)


@rule("select_scatter", powers=True)
def select_scatter(e: Engine, call: Call) -> Result:
    """One element of an axis overwritten."""
    x, source, axis = e.plain(call["self"]), e.plain(call["src"]), call.axis(default=0)
    at = call["index"] % x.shape[axis]
    return _spliced(e, x, e.tensor([*source.legs[:axis], Leg(Dim(1)), *source.legs[axis:]], source), axis, at, at + 1)


def _spliced(e: Engine, x: Abstract, source: Abstract, axis: int, start: int, stop: int) -> Abstract:
    """What lies before, what is written, what lies behind."""
    size = x.shape[axis]
    if (start, stop) == (0, size):
        return e.tensor(source.legs)
    before = [e.slice(x, axis, 0, start)] if start else []
    behind = [e.slice(x, axis, stop, size)] if stop < size else []
    return e.concat([*before, source, *behind], axis)


def _interleaved(e: Engine, x: Abstract, source: Abstract, axis: int, places: range) -> Abstract:
    """Every so many elements overwritten: rows of `step`, of which one column is new; else the axis has an order."""
    size, step = x.shape[axis], places.step
    stacked = (
        e.split_stacked(x, axis, [size // step, step], 1) if size % step == 0 == size // step - len(places) else None
    )
    if stacked is None:
        why = "a write into a strided slice"
        e.release([x.legs[axis], source.legs[axis]], why)
        for k, (a, b) in enumerate(zip(x.legs, source.legs, strict=True)):
            if k != axis:
                e.same(a, b, why)
        return e.tensor(x.legs)
    stacked.parts[places.start] = source
    return e.reshape(stacked, x.shape)
