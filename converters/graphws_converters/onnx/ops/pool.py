"""Poolings over windows and over all positions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from graphws_converters.onnx.ops.window import Window, pad_with
from graphws_converters.onnx.rules import Call, Rules, Value

rules = Rules()

_MAX = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_MEAN = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)


def _window(call: Call, x: Value) -> tuple[Tensor, Window, list[int]]:
    """x, the window, and how much has to follow each axis so that the last window lies inside."""
    value = call.tensor(x)
    window = Window.of(call, value, call.ints(None, "kernel_shape") or [])
    if window.rank > 3:
        raise call.refuse(f"pooling over {window.rank} axes")
    ceil = bool(call.get("ceil_mode")) and not call.get("auto_pad", "NOTSET").startswith("SAME")
    counts = window.lengths(value.shape[2:], ceil)
    call.allow(*value.shape[:2], *counts)
    more = [
        max(0, (n - 1) * s + (k - 1) * d + 1 - (length + b + a))
        for n, s, k, d, length, b, a in zip(
            counts, window.strides, window.sides, window.dilations, value.shape[2:], window.before, window.after,
            strict=True,
        )
    ]  # fmt: skip
    return value, window, more


@rules("MaxPool")
def max_pool(call: Call, x: Value) -> Tensor:
    """The largest number in each window."""
    if len(call.node.outputs) > 1:
        raise call.refuse("the positions of the largest numbers")
    value, window, more = _window(call, x)
    if not value.is_floating_point():
        raise call.refuse("pooling of whole numbers")
    padded = pad_with(value, window, -torch.inf, more)
    return _MAX[window.rank - 1](padded, window.sides, window.strides, 0, window.dilations)


@rules("AveragePool")
def average_pool(call: Call, x: Value) -> Tensor:
    """The mean of each window, of the numbers inside the input unless `count_include_pad` says otherwise."""
    value, window, more = _window(call, x)
    if max(window.dilations) > 1:
        return _dilated_mean(call, value, window, more)
    function = _MEAN[window.rank - 1]
    if not any([*window.before, *window.after, *more]):
        return function(value, window.sides, window.strides)
    counted = torch.ones_like(value[:1, :1])
    if call.get("count_include_pad"):
        counted = pad_with(counted, window, 1.0)
        counted = F.pad(counted, [n for k in reversed(range(window.rank)) for n in (0, more[k])])
    else:
        counted = pad_with(counted, window, 0.0, more)
    sums = function(pad_with(value, window, 0.0, more), window.sides, window.strides)
    return sums / function(counted, window.sides, window.strides)


def _dilated_mean(call: Call, value: Tensor, window: Window, more: list[int]) -> Tensor:
    """By a convolution with ones, channel by channel."""
    kernel = torch.ones(1, 1, *window.sides, dtype=value.dtype)
    function = (F.conv1d, F.conv2d, F.conv3d)[window.rank - 1]

    def sums(numbers: Tensor, fill: float = 0.0) -> Tensor:
        inside = pad_with(numbers, window, fill)
        flat = F.pad(inside, [n for k in reversed(range(window.rank)) for n in (0, more[k])]).flatten(0, 1).unsqueeze(1)
        found = function(flat, kernel, None, window.strides, 0, window.dilations)
        return found.reshape(*numbers.shape[:2], *found.shape[2:])

    return sums(value) / sums(torch.ones_like(value[:1, :1]), 1.0 if call.get("count_include_pad") else 0.0)


@rules("LpPool")
def lp_pool(call: Call, x: Value) -> Tensor:
    """The p-norm of each window."""
    value, window, more = _window(call, x)
    if max(window.dilations) > 1:
        raise call.refuse("a dilated p-norm")
    p = float(call.get("p", 2))
    powers = pad_with(value.abs() ** p, window, 0.0, more)
    mean = _MEAN[window.rank - 1](powers, window.sides, window.strides)
    return (mean * torch.Size(window.sides).numel()) ** (1.0 / p)


@rules("GlobalAveragePool")
def global_average_pool(call: Call, x: Value) -> Tensor:
    """The mean over all positions."""
    value = call.tensor(x)
    return value.mean(list(range(2, value.ndim)), keepdim=True)


@rules("GlobalMaxPool")
def global_max_pool(call: Call, x: Value) -> Tensor:
    """The maximum over all positions."""
    value = call.tensor(x)
    return value.amax(list(range(2, value.ndim)), keepdim=True)


@rules("GlobalLpPool")
def global_lp_pool(call: Call, x: Value) -> Tensor:
    """The p-norm over all positions."""
    value, p = call.tensor(x), float(call.get("p", 2))
    return (value.abs() ** p).sum(list(range(2, value.ndim)), keepdim=True) ** (1.0 / p)
