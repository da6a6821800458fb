"""Resampling of pictures."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from graphws_converters.onnx.rules import Call, Rules, Value

rules = Rules()


@rules("Upsample")
def upsample(call: Call, x: Value, scales: Value = None) -> Tensor:
    """The forerunner of Resize: by factors, which keep the corner of the first pixel."""
    value = call.tensor(x)
    if call.opset < 7:
        factors = [1.0, 1.0, call.get("height_scale"), call.get("width_scale")]
    else:
        factors = _floats(call, scales) or list(call.get("scales", []))
    lengths = [int(n * f) for n, f in zip(value.shape, factors, strict=True)]
    mode = "linear" if call.get("mode") == "bilinear" else call.get("mode", "nearest")
    return _interpolate(call, value, lengths, factors, "asymmetric", mode, "simple")


@rules("Resize")
def resize(call: Call, x: Value, roi: Value = None, scales: Value = None, sizes: Value = None) -> Tensor:
    """To given lengths, or by factors; nearest pixels, linear or cubic."""
    if scales is None and sizes is None and roi is not None:  # opset 10 had no region
        scales = roi
    value = call.tensor(x)
    axes = call.axes(None, value.ndim) or list(range(value.ndim))
    if call.get("keep_aspect_ratio_policy", "stretch") != "stretch" or call.get("antialias"):
        raise call.refuse("a resize with antialiasing or a kept aspect ratio")
    if sizes is not None and np.size(sizes):
        given = dict(zip(axes, call.ints(sizes) or [], strict=True))
        lengths = [given.get(k, n) for k, n in enumerate(value.shape)]
        factors = [m / n for m, n in zip(lengths, value.shape, strict=True)]
    else:
        named = dict(zip(axes, _floats(call, scales), strict=True))
        factors = [named.get(k, 1.0) for k in range(value.ndim)]
        lengths = [int(n * f) for n, f in zip(value.shape, factors, strict=True)]
    place = call.get("coordinate_transformation_mode", "half_pixel" if call.opset > 10 else "asymmetric")
    rounding = call.get("nearest_mode", "round_prefer_floor" if call.opset > 10 else "simple")
    return _interpolate(call, value, lengths, factors, place, call.get("mode", "nearest"), rounding)


def _floats(call: Call, value: Value) -> list[float]:
    return [] if value is None else [float(number) for number in value.reshape(-1).tolist()]


def _interpolate(
    call: Call, x: Tensor, lengths: list[int], factors: list[float], place: str, mode: str, rounding: str
) -> Tensor:
    """One axis after another: each is a small matrix of its own, so any order and number of axes will do."""
    call.allow(*lengths)
    for axis, (length, factor) in enumerate(zip(lengths, factors, strict=True)):
        if length == x.shape[axis] and factor == 1.0:
            continue
        at = _positions(call, x.shape[axis], length, factor, place)
        if mode == "nearest":
            rounded = rounding if rounding != "simple" else "ceil" if factor < 1 else "floor"
            x = x.index_select(axis, _nearest(call, at, rounded).clamp(0, x.shape[axis] - 1))
        else:
            taps = _inside(call, _taps(call, at, mode), x.shape[axis])
            x = _mixed(x, axis, taps)
    return x


def _mixed(x: Tensor, axis: int, taps: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The weighted sum of neighbours; those beyond the edge are the edge."""
    last, shape = x.shape[axis] - 1, [-1 if k == axis else 1 for k in range(x.ndim)]
    parts = [x.index_select(axis, at.clamp(0, last)) * weights.to(x.dtype).reshape(shape) for at, weights in taps]
    return functools.reduce(torch.add, parts)


def _positions(call: Call, old: int, new: int, factor: float, place: str) -> Tensor:
    """Where the new pixels lie among the old ones."""
    k = torch.arange(new, dtype=torch.float64)
    if place == "asymmetric":
        return k / factor
    if place == "align_corners":
        last = factor * old - 1
        return k * (old - 1) / last if last else torch.zeros(1, dtype=torch.float64)
    if place == "pytorch_half_pixel" and new == 1:
        return torch.zeros(1, dtype=torch.float64)
    if place in ("half_pixel", "pytorch_half_pixel"):
        return (k + 0.5) / factor - 0.5
    if place == "half_pixel_symmetric":
        adjust = new / (factor * old)
        return old / 2 * (1 - adjust) + (k + 0.5) / factor - 0.5
    raise call.refuse(f"a resize with coordinates of mode {place!r}")


def _nearest(call: Call, at: Tensor, rounding: str) -> Tensor:
    if rounding == "floor":
        return at.floor().long()
    if rounding == "ceil":
        return at.ceil().long()
    if rounding == "round_prefer_ceil":
        return (at + 0.5).floor().long()
    if rounding == "round_prefer_floor":
        return (at - 0.5).ceil().long()
    raise call.refuse(f"a resize that rounds by {rounding!r}")


def _taps(call: Call, at: Tensor, mode: str) -> list[tuple[Tensor, Tensor]]:
    """For each neighbour its place and its weight."""
    low = at.floor()
    t = at - low
    first = low.long()
    if mode == "linear":
        return [(first, 1 - t), (first + 1, t)]
    if mode != "cubic":
        raise call.refuse(f"a resize of mode {mode!r}")
    a: float = call.get("cubic_coeff_a", -0.75)

    def inner(d: Tensor) -> Tensor:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def outer(d: Tensor) -> Tensor:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [(first - 1, outer(1 + t)), (first, inner(t)), (first + 1, inner(1 - t)), (first + 2, outer(2 - t))]


def _inside(call: Call, taps: list[tuple[Tensor, Tensor]], length: int) -> list[tuple[Tensor, Tensor]]:
    """The taps; with `exclude_outside`, those beyond the edge count nothing and the others more."""
    if not call.get("exclude_outside"):
        return taps
    kept = [(k, torch.where((k >= 0) & (k < length), w, torch.zeros_like(w))) for k, w in taps]
    total = sum((w for _, w in kept), torch.zeros(()))
    return [(k, w / total) for k, w in kept]
