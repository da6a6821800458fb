"""Pooling, resizing, patches: pixels are ordered, everything else passes."""

from __future__ import annotations

import math

import torch

from graphws_converters.algebra.dims import Dim, is_free, product
from graphws_converters.algebra.tensors import Leg
from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.creation import copies
from graphws_converters.rules.registry import Call, Result, rule

_LINEAR = ("avg_pool{}d", "adaptive_avg_pool{}d", "_adaptive_avg_pool{}d")
_NEAREST = ("upsample_nearest{}d", "_upsample_nearest_exact{}d")
_LARGEST = ("max_pool{}d", "adaptive_max_pool{}d", "max_pool{}d_with_indices")
_RESIZING = ("upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "_upsample_bilinear2d_aa",
             "_upsample_bicubic2d_aa", "upsample_trilinear3d")  # fmt: skip


def _pixels(e: Engine, call: Call) -> Result:
    x = e.plain(call.get("self", call.get("input")))
    axes = int(next(c for c in call.node.op if c in "123"))
    y = e.ordered(x, range(-axes, 0), call.shape, "pixels")
    return [y, *(e.tensor(y.legs) for _ in call.shapes[1:])]


@rule(*(name.format(n) for name in _LINEAR for n in (1, 2, 3)), *_RESIZING, powers=True)
def linear_pool(e: Engine, call: Call) -> Result:
    """Weighted means of pixels."""
    return _pixels(e, call)


@rule(*(name.format(n) for name in _NEAREST for n in (1, 2, 3)), powers=True)
def nearest(e: Engine, call: Call) -> Result:
    """Entries looked up: along an axis of which each is repeated as often, or every so many is taken, nothing more."""
    x = e.plain(call.get("self", call.get("input")))
    count = int(next(c for c in call.node.op if c in "123"))
    y, ordered = x, []
    for axis in range(len(x.legs) - count, len(x.legs)):
        before, after = x.shape[axis], call.shape[axis]
        if is_free(x.dims[axis]) or before == after:
            ordered.append(axis)
            continue
        found = _looked_up(call, axis - len(x.legs), count, before, after)
        times, step = max(1, after // before), max(1, before // after)
        if found == [k // times for k in range(before * times)]:
            legs = [copies(e, leg, times, slow=False) if k == axis else leg for k, leg in enumerate(y.legs)]
            y = e.tensor(legs)
        elif found == list(range(found[0], before, step)):
            y = e.slice(y, axis, found[0], before, step)
        else:
            ordered.append(axis)
    return e.ordered(y, ordered, call.shape, "pixels")


def _looked_up(call: Call, axis: int, count: int, before: int, after: int) -> list[int]:
    """Which entry of an axis each place of the result shows, asked of the operation itself on one axis of numbers."""
    scale = call.get("scale_factors")
    scale = scale[axis] if scale else call.get("scales") if count == 1 else call.get(f"scales_{'dhw'[axis]}")
    function = getattr(torch.ops.aten, call.node.op.replace(f"{count}d", "1d")).default
    dtype = next(call.node.values()).dtype
    places = torch.arange(before, dtype=dtype if before < 1 << 8 else torch.float32)  # bfloat16 counts to 256
    return [int(place) for place in function(places.reshape(1, 1, -1), [after], scale).flatten()]


@rule(*(name.format(n) for name in _LARGEST for n in (1, 2, 3)), powers=True)
def max_pool(e: Engine, call: Call) -> Result:
    """Positive scales pass, signs do not."""
    x = e.plain(call.get("self", call.get("input")))
    e.pin(x.legs, "sign")
    return _pixels(e, call)


@rule("lp_pool1d", "lp_pool2d", "fractional_max_pool2d", "fractional_max_pool3d")
def other_pool(e: Engine, call: Call) -> Result:
    """Other pools."""
    return _pixels(e, call)


@rule("grid_sampler", "grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(e: Engine, call: Call) -> Result:
    """Pixels looked up at given places."""
    grid = e.plain(call["grid"])
    e.release(grid.legs, "coordinates")
    return e.ordered(call["input"], range(2, len(call.shape)), call.shape, "pixels")


@rule("im2col", powers=True)
def im2col(e: Engine, call: Call) -> Result:
    """Patches as columns: (channels x taps) x places."""
    x = e.plain(call["self"])
    e.release(x.legs[-2:], "pixels")
    pair = [x.legs[-3], Leg(Dim(math.prod(call["kernel_size"]), "kernel"))]
    rows = Leg(product([leg.dim for leg in pair]))
    e.regrouped(pair, [rows])
    return e.tensor([*x.legs[:-3], rows, Leg(Dim(call.shape[-1], "pixels"))])


@rule("col2im", powers=True)
def col2im(e: Engine, call: Call) -> Result:
    """The way back, which adds where patches overlap: (channels x taps) x places to pixels."""
    x = e.plain(call["self"])
    taps = math.prod(call["kernel_size"])
    y = e.reshape(x, [*x.shape[:-2], x.shape[-2] // taps, taps, x.shape[-1]])
    e.release(y.legs[-2:], "pixels")
    e.barrier(y, [-2, -1])
    return e.tensor([*y.legs[:-2], *(Leg(Dim(size, "pixels")) for size in call.shape[-2:])])


@rule("unfold", powers=True)
def unfold(e: Engine, call: Call) -> Result:
    """Windows along one axis: some elements several times, those of a window side by side in a new last axis."""
    x, step = e.plain(call["self"]), call["step"]
    axis = call["dimension"] % len(x.legs)
    count, size = call.shape[axis], call.shape[-1]
    y = e.picked(x, axis, [k * step + j for k in range(count) for j in range(size)])
    y = e.reshape(y, [*x.shape[:axis], count, size, *x.shape[axis + 1 :]])
    return e.permute(y, [k for k in range(len(call.shape)) if k != axis + 1] + [axis + 1])  # type: ignore[no-any-return]
