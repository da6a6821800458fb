"""Functions of several values that broadcast: arithmetic, comparisons, logic, choice."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphws_converters.onnx.rules import Call, Known, Rules, Value

rules = Rules()

_BINARY: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[..., Any]]] = {
    "Add": (torch.add, np.add), "Sub": (torch.sub, np.subtract), "Mul": (torch.mul, np.multiply),
    "Equal": (torch.eq, np.equal), "Less": (torch.lt, np.less), "LessOrEqual": (torch.le, np.less_equal),
    "Greater": (torch.gt, np.greater), "GreaterOrEqual": (torch.ge, np.greater_equal),
    "And": (torch.logical_and, np.logical_and), "Or": (torch.logical_or, np.logical_or),
    "Xor": (torch.logical_xor, np.logical_xor), "BitwiseAnd": (torch.bitwise_and, np.bitwise_and),
    "BitwiseOr": (torch.bitwise_or, np.bitwise_or), "BitwiseXor": (torch.bitwise_xor, np.bitwise_xor),
}  # fmt: skip


def spread(call: Call, *values: Tensor) -> list[Tensor]:
    """Tensors whose common shape is small enough; before opset 7 the second is aligned at the attribute `axis`."""
    first, *others = values
    found = [first, *(other.reshape(_aligned(call, first, other)) for other in others)]
    call.allow(*torch.broadcast_shapes(*(value.shape for value in found)))
    return found


def _aligned(call: Call, first: Tensor | Known, second: Tensor | Known) -> list[int]:
    """The shape in which the second of two broadcasts to the first: before opset 7 from the attribute `axis` on."""
    shape = list(second.shape)
    if call.opset >= 7 or not call.get("broadcast") or "axis" not in call.node.attributes:
        return shape
    behind = first.ndim - call.axis(call.get("axis"), first.ndim) - second.ndim
    return [*shape, *[1] * max(behind, 0)]


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Call, Value, Value], Tensor]:
    return lambda call, x, y: function(*spread(call, *call.tensors(x, y)))


def _known(function: Callable[..., Any]) -> Callable[..., Known]:
    def fold(call: Call, first: Known, *others: Known) -> Known:
        found = [first, *(other.reshape(_aligned(call, first, other)) for other in others)]
        call.allow(*np.broadcast_shapes(*(value.shape for value in found)))
        return np.asarray(function(*found))

    return fold


for _name, (_torch, _numpy) in _BINARY.items():
    rules(_name, known=_known(_numpy))(_binary(_torch))


def _truncated(x: Known, y: Known) -> Known:
    return np.trunc(x / y).astype(x.dtype) if x.dtype.kind in "iu" else np.asarray(x / y)


@rules("Div", known=_known(_truncated))
def divide(call: Call, x: Value, y: Value) -> Tensor:
    """x / y; whole numbers are cut towards 0."""
    first, second = spread(call, *call.tensors(x, y))
    return first / second if first.is_floating_point() else torch.div(first, second, rounding_mode="trunc")


@rules("Pow", known=_known(lambda x, y: np.power(x, y).astype(x.dtype)))
def power(call: Call, x: Value, y: Value) -> Tensor:
    """x^y, of the type of x."""
    first, second = spread(call, *call.tensors(x, y))
    return torch.pow(first, second).to(first.dtype)


@rules("Mod", known=lambda call, x, y: np.fmod(x, y) if call.get("fmod") else np.mod(x, y))
def modulo(call: Call, x: Value, y: Value) -> Tensor:
    """The rest of x / y, with the sign of y, or of x where `fmod` says so."""
    function = torch.fmod if call.get("fmod") else torch.remainder
    return function(*spread(call, *call.tensors(x, y)))


@rules("BitShift")
def bit_shift(call: Call, x: Value, y: Value) -> Tensor:
    """Bits moved left or right."""
    first, second = (value.long() for value in spread(call, *call.tensors(x, y)))
    moved = first << second if call.get("direction") == "LEFT" else first >> second
    return moved.to(call.tensor(x).dtype)


def _variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda call, *values: functools.reduce(function, spread(call, *call.tensors(*values)))


rules("Max", known=_known(lambda *values: functools.reduce(np.maximum, values)))(_variadic(torch.maximum))
rules("Min", known=_known(lambda *values: functools.reduce(np.minimum, values)))(_variadic(torch.minimum))
rules("Sum", known=_known(lambda *values: functools.reduce(np.add, values)))(_variadic(torch.add))


@rules("Mean")
def mean(call: Call, *values: Value) -> Tensor:
    """The mean of the inputs."""
    return functools.reduce(torch.add, spread(call, *call.tensors(*values))) / len(values)


@rules("Where", known=_known(np.where))
def where(call: Call, condition: Value, x: Value, y: Value) -> Tensor:
    """x where the condition holds, else y."""
    chosen, first, second = spread(call, *call.tensors(condition, x, y))
    return torch.where(chosen, first, second)
