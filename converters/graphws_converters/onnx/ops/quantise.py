"""Whole numbers that stand for floating ones: y = (x - zero) scale, for a tensor or along an axis."""

from __future__ import annotations

import torch
from torch import Tensor

from graphws_converters.onnx.rules import Call, Rules, Value

rules = Rules()

_RANGES = {torch.uint8: (0, 255), torch.int8: (-128, 127), torch.int16: (-32768, 32767)}


def _aligned(call: Call, x: Tensor, setting: Value) -> Tensor:
    """A setting for the whole tensor, or one for each index along the axis."""
    value = call.tensor(setting)
    if value.ndim == 0 or value.numel() == 1:
        return value.reshape(())
    if value.ndim > 1 or call.get("block_size"):
        raise call.refuse("quantisation in blocks")
    axis = call.axis(call.get("axis", 1), x.ndim)
    return value.reshape([-1 if k == axis else 1 for k in range(x.ndim)])


@rules("DequantizeLinear")
def dequantise(call: Call, x: Value, scale: Value, zero: Value = None) -> Tensor:
    """(x - zero) scale."""
    value, factor = call.tensor(x), _aligned(call, call.tensor(x), scale)
    moved = value.to(factor.dtype)
    return (moved if zero is None else moved - _aligned(call, value, zero).to(factor.dtype)) * factor


@rules("QuantizeLinear")
def quantise(call: Call, x: Value, scale: Value, zero: Value = None) -> Tensor:
    """x / scale + zero, rounded and cut to the range of the type."""
    value = call.tensor(x)
    dtype = torch.uint8 if zero is None else call.tensor(zero).dtype
    if dtype not in _RANGES:
        raise call.refuse(f"quantisation to {dtype}")
    rounded = torch.round(value / _aligned(call, value, scale))
    moved = rounded if zero is None else rounded + _aligned(call, value, zero)
    return moved.clamp(*_RANGES[dtype]).to(dtype)
