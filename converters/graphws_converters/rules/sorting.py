"""Operations along an ordered axis, and those that choose by size."""

from __future__ import annotations

from graphws_converters.algebra.dims import Dim
from graphws_converters.algebra.tensors import Leg
from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.registry import Call, Result, rule


@rule("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin", "diff")
def cumulative(e: Engine, call: Call) -> Result:
    """Every entry depends on those before it."""
    x = e.plain(call["self"])
    e.release_index(x, "an index used as a number")
    out = e.ordered(x, [call.axis()], call.shape, call.node.op)
    return [out, *(e.tensor(out.legs) for _ in call.shapes[1:])]


@rule("fft_fft", "fft_ifft", "fft_rfft", "fft_irfft", "fft_fft2", "fft_ifft2", "fft_rfft2", "fft_irfft2")
def fourier(e: Engine, call: Call) -> Result:
    """Frequencies along the last axis or two."""
    axes = call.get("dim", -1)
    return e.ordered(call["self"], [axes] if isinstance(axes, int) else list(axes), call.shape, "frequencies")


@rule("topk", "sort", "kthvalue")
def topk(e: Engine, call: Call) -> Result:
    """Entries by rank, and the indices where they were: the axis itself keeps its freedom."""
    x, axis = e.plain(call["self"]), call.axis()
    e.release_index(x, "indices sorted as numbers")
    e.barrier(x, [axis])
    rank = call.shape[axis] if call.shape else 1
    legs = [Leg(Dim(rank, "ranks")) if k == axis else leg for k, leg in enumerate(x.legs)]
    if len(call.shape) < len(legs):
        legs.pop(axis)
    return [e.tensor(legs), e.tensor(legs, index=x.dims[axis])]


@rule("argsort")
def argsort(e: Engine, call: Call) -> Result:
    """The indices only."""
    both = topk(e, call)
    assert isinstance(both, list)
    return both[1]  # type: ignore[no-any-return]
