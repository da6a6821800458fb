"""Pooling, resizing, patches: pixels are ordered, everything else passes."""

from __future__ import annotations

import math

from graphws_converters.algebra.dims import Dim, product
from graphws_converters.algebra.tensors import Leg
from graphws_converters.analysis.engine import Engine
from graphws_converters.rules.registry import Call, Result, rule

_LINEAR = ("avg_pool{}d", "adaptive_avg_pool{}d", "_adaptive_avg_pool{}d", "upsample_nearest{}d",
           "_upsample_nearest_exact{}d")  # fmt: skip
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


@rule("im2col")
def im2col(e: Engine, call: Call) -> Result:
    """Patches as columns: (channels x taps) x places."""
    x = e.plain(call["self"])
    e.release(x.legs[-2:], "pixels")
    taps = Dim(math.prod(call["kernel_size"]), "kernel")
    return e.tensor([*x.legs[:-3], Leg(product([x.dims[-3], taps])), Leg(Dim(call.shape[-1], "pixels"))])


@rule("unfold", powers=True)
def unfold(e: Engine, call: Call) -> Result:
    """Windows along one axis: some elements several times, those of a window side by side in a new last axis."""
    x, step = e.plain(call["self"]), call["step"]
    axis = call["dimension"] % len(x.legs)
    count, size = call.shape[axis], call.shape[-1]
    y = e.picked(x, axis, [k * step + j for k in range(count) for j in range(size)])
    y = e.reshape(y, [*x.shape[:axis], count, size, *x.shape[axis + 1 :]])
    return e.permute(y, [k for k in range(len(call.shape)) if k != axis + 1] + [axis + 1])  # type: ignore[no-any-return]
