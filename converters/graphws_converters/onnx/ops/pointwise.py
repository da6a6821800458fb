"""Functions of one value: activations and elementary functions, and softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graphws_converters.onnx.rules import Call, Known, Rules, Value

rules = Rules()

_PLAIN: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Any], Any] | None]] = {
    "Abs": (torch.abs, np.abs), "Neg": (torch.neg, np.negative), "Sign": (torch.sign, np.sign),
    "Floor": (torch.floor, np.floor), "Ceil": (torch.ceil, np.ceil), "Round": (torch.round, np.round),
    "Sqrt": (torch.sqrt, np.sqrt), "Exp": (torch.exp, np.exp), "Log": (torch.log, np.log),
    "Reciprocal": (torch.reciprocal, np.reciprocal), "Not": (torch.logical_not, np.logical_not),
    "BitwiseNot": (torch.bitwise_not, np.bitwise_not), "IsNaN": (torch.isnan, np.isnan),
    "Sin": (torch.sin, None), "Cos": (torch.cos, None), "Tan": (torch.tan, None),
    "Asin": (torch.asin, None), "Acos": (torch.acos, None), "Atan": (torch.atan, None),
    "Sinh": (torch.sinh, None), "Cosh": (torch.cosh, None), "Tanh": (torch.tanh, None),
    "Asinh": (torch.asinh, None), "Acosh": (torch.acosh, None), "Atanh": (torch.atanh, None),
    "Erf": (torch.erf, None), "Relu": (F.relu, None), "Sigmoid": (torch.sigmoid, None),
    "Softplus": (lambda x: F.softplus(x, threshold=1e6), None), "Softsign": (F.softsign, None),
    "HardSwish": (F.hardswish, None), "Mish": (F.mish, None),
}  # fmt: skip


def _plain(function: Callable[[Tensor], Tensor]) -> Callable[[Call, Value], Tensor]:
    return lambda call, x: function(call.tensor(x))


def _known(function: Callable[[Any], Any] | None) -> Callable[[Call, Known], Known] | None:
    return None if function is None else lambda call, x: function(x)


for _name, (_torch, _numpy) in _PLAIN.items():
    rules(_name, known=_known(_numpy))(_plain(_torch))


@rules("Identity", known=lambda call, x: x)
def identity(call: Call, x: Value) -> Value:
    """x."""
    return x


@rules("Dropout")
def dropout(call: Call, x: Value, ratio: Value = None, training: Value = None) -> list[Value]:
    """x; a network that drops numbers at random has no function to convert.

    What says that it does is an input, and before opset 7 an attribute whose default it is.
    """
    early = call.opset < 7 and not call.get("is_test") and call.get("ratio", 0.5)
    if early or (training is not None and bool(call.tensor(training).any())):
        raise call.refuse("dropout while training")
    if len(call.node.outputs) == 1:
        return [x]
    value = call.tensor(x)
    return [x, torch.ones_like(value, dtype=torch.bool if call.opset >= 10 else value.dtype)]


@rules("LeakyRelu")
def leaky_relu(call: Call, x: Value) -> Tensor:
    """x above 0, alpha x below."""
    return F.leaky_relu(call.tensor(x), call.get("alpha", 0.01))


@rules("PRelu")
def prelu(call: Call, x: Value, slope: Value) -> Tensor:
    """x above 0, slope x below; the slope broadcasts to x, and before opset 7 one of several goes by channel."""
    value, factor = call.tensors(x, slope)
    if call.opset < 7 and factor.ndim == 1 and factor.numel() > 1 and value.ndim > 1:
        factor = factor.reshape(-1, *[1] * (value.ndim - 2))
    call.allow(*torch.broadcast_shapes(value.shape, factor.shape))
    return torch.where(value > 0, value, value * factor)


@rules("Elu")
def elu(call: Call, x: Value) -> Tensor:
    """x above 0, alpha (e^x - 1) below."""
    return F.elu(call.tensor(x), call.get("alpha", 1.0))


@rules("Celu")
def celu(call: Call, x: Value) -> Tensor:
    """x above 0, alpha (e^(x/alpha) - 1) below."""
    return F.celu(call.tensor(x), call.get("alpha", 1.0))


@rules("Selu")
def selu(call: Call, x: Value) -> Tensor:
    """gamma times the ELU; the constants are attributes, of fewer digits before opset 6."""
    short = call.opset < 6
    gamma: float = call.get("gamma", 1.0507 if short else 1.0507009873554805)
    alpha: float = call.get("alpha", 1.6732 if short else 1.6732632423543772)
    return gamma * F.elu(call.tensor(x), alpha)


@rules("Gelu")
def gelu(call: Call, x: Value) -> Tensor:
    """x Phi(x), or its approximation by tanh."""
    return F.gelu(call.tensor(x), approximate=call.get("approximate", "none"))


@rules("Swish")
def swish(call: Call, x: Value) -> Tensor:
    """x sigmoid(alpha x)."""
    value = call.tensor(x)
    return value * torch.sigmoid(call.get("alpha", 1.0) * value)


@rules("HardSigmoid")
def hard_sigmoid(call: Call, x: Value) -> Tensor:
    """alpha x + beta, cut to [0, 1]."""
    return torch.clamp(call.tensor(x) * call.get("alpha", 0.2) + call.get("beta", 0.5), 0.0, 1.0)


@rules("ThresholdedRelu")
def thresholded_relu(call: Call, x: Value) -> Tensor:
    """x above alpha, 0 below."""
    value = call.tensor(x)
    return torch.where(value > call.get("alpha", 1.0), value, torch.zeros_like(value))


@rules("Shrink")
def shrink(call: Call, x: Value) -> Tensor:
    """0 within lambd of 0, else moved towards 0 by bias."""
    value, limit, bias = call.tensor(x), call.get("lambd", 0.5), call.get("bias", 0.0)
    outer = torch.where(value < -limit, value + bias, value - bias)
    return torch.where(value.abs() > limit, outer, torch.zeros_like(value))


def _clip_known(call: Call, x: Known, low: Known | None = None, high: Known | None = None) -> Known:
    least, most = call.get("min") if low is None else low, call.get("max") if high is None else high
    found = x if least is None else np.maximum(x, np.asarray(least, x.dtype))
    return found if most is None else np.minimum(found, np.asarray(most, x.dtype))


@rules("Clip", known=_clip_known)
def clip(call: Call, x: Value, low: Value = None, high: Value = None) -> Tensor:
    """x between two bounds, which are inputs, or attributes before opset 11."""
    lowest = call.get("min") if low is None else call.tensor(low).item()
    highest = call.get("max") if high is None else call.tensor(high).item()
    value = call.tensor(x)
    return value if lowest is None and highest is None else torch.clamp(value, lowest, highest)


@rules("IsInf")
def is_inf(call: Call, x: Value) -> Tensor:
    """Whether x is infinite; attributes may leave out one sign."""
    value = call.tensor(x)
    up = torch.isposinf(value) if call.get("detect_positive", 1) else torch.zeros_like(value, dtype=torch.bool)
    down = torch.isneginf(value) if call.get("detect_negative", 1) else torch.zeros_like(value, dtype=torch.bool)
    return up | down


@rules("Softmax", "LogSoftmax", "Hardmax")
def softmax(call: Call, x: Value) -> Tensor:
    """Along an axis; before opset 13 over all axes from there on, as one."""
    value = call.tensor(x)
    if call.opset >= 13:
        return _soft(call, value, call.axis(call.get("axis", -1), value.ndim))
    axis = call.axis(call.get("axis", 1), value.ndim)
    return _soft(call, value.flatten(axis), axis).reshape(value.shape)


def _soft(call: Call, value: Tensor, axis: int) -> Tensor:
    if call.node.kind == "Hardmax":
        return F.one_hot(value.argmax(axis), value.shape[axis]).movedim(-1, axis).to(value.dtype)
    return F.softmax(value, axis) if call.node.kind == "Softmax" else F.log_softmax(value, axis)
