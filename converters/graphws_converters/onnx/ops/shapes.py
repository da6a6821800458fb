"""Shapes, types and constants: values that say what others look like."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from graphws_converters.onnx.rules import Call, Known, Rules, Value, is_known

rules = Rules()

_TYPES: dict[int, torch.dtype] = {
    1: torch.float32, 2: torch.uint8, 3: torch.int8, 5: torch.int16, 6: torch.int32, 7: torch.int64, 9: torch.bool,
    10: torch.float16, 11: torch.float64, 16: torch.bfloat16,
}  # fmt: skip
"""Types by their number in `onnx.TensorProto.DataType`."""


@rules("Shape", known=lambda call, x: np.asarray(x.shape[call.get("start", 0) : call.get("end")], dtype=np.int64))
def shape(call: Call, x: Value) -> Known:
    """The shape of x, a known value."""
    lengths = list(call.tensor(x).shape)[call.get("start", 0) : call.get("end")]
    return np.asarray(lengths, dtype=np.int64)


@rules("Size", known=lambda call, x: np.asarray(x.size, dtype=np.int64))
def size(call: Call, x: Value) -> Known:
    """How many numbers x has, a known value."""
    return np.asarray(call.tensor(x).numel(), dtype=np.int64)


def _number(call: Call) -> int:
    """The type that a cast asks for, by its number; before opset 6 it is a name."""
    wanted = call.get("to")
    if not isinstance(wanted, str):
        return int(wanted)
    numbers = dict(onnx.TensorProto.DataType.items())
    if wanted not in numbers:
        raise call.refuse(f"a cast to type {wanted[:40]!r}")
    return int(numbers[wanted])


def _cast_known(call: Call, x: Known, *like: Known) -> Known:
    dtype: Any = like[0].dtype if like else onnx.helper.tensor_dtype_to_np_dtype(_number(call))
    if x.dtype.kind not in "fiub" or np.dtype(dtype).kind not in "fiub":
        raise call.refuse(f"a cast from {x.dtype} to {np.dtype(dtype)}")
    with np.errstate(invalid="ignore"):
        return x.astype(dtype)


@rules("Cast", known=_cast_known)
def cast(call: Call, x: Value) -> Tensor:
    """x as another type; a floating type is that of the module where the module was cast itself."""
    number = _number(call)
    if number not in _TYPES:
        raise call.refuse(f"a cast to type {onnx.TensorProto.DataType.Name(number)}")
    dtype = _TYPES[number]
    return call.tensor(x).to(call.float_dtype(dtype) if dtype.is_floating_point else dtype)


@rules("CastLike", known=_cast_known)
def cast_like(call: Call, x: Value, like: Value) -> Tensor:
    """x as the type of another value."""
    return call.tensor(x).to(call.tensor(like).dtype)


def _constant_of_shape(call: Call, lengths: Known) -> Known:
    shape_ = call.allow(*(call.ints(lengths) or []))
    value = call.get("value")
    return np.full(shape_, np.float32(0) if value is None else np.asarray(value).reshape(-1)[0])


@rules("ConstantOfShape", known=_constant_of_shape)
def constant_of_shape(call: Call, lengths: Value) -> Known:
    """One number, so many times; a known value."""
    return _constant_of_shape(call, np.asarray(call.ints(lengths)))


def _range(call: Call, start: Known, stop: Known, step: Known) -> Known:
    if not step.any():
        raise call.refuse("a step of 0")
    call.allow(max(0, int(np.ceil(float((stop.item() - start.item()) / step.item())))))
    return np.arange(start.item(), stop.item(), step.item(), dtype=start.dtype)


@rules("Range", known=_range)
def arange(call: Call, start: Value, stop: Value, step: Value) -> Known:
    """start, start + step, … below stop; a known value."""
    return _range(call, *(x if is_known(x) else x.numpy() for x in (start, stop, step)))  # type: ignore[union-attr,arg-type,misc]


@rules("EyeLike")
def eye_like(call: Call, x: Value) -> Tensor:
    """Ones on a diagonal, in the shape of x."""
    like = call.tensor(x)
    dtype = _TYPES.get(call.get("dtype", 0), like.dtype)
    diagonal = torch.ones(like.shape, dtype=dtype)
    return torch.triu(torch.tril(diagonal, call.get("k", 0)), call.get("k", 0))


@rules("Trilu")
def trilu(call: Call, x: Value, k: Value = None) -> Tensor:
    """The upper or lower triangle."""
    offset = (call.ints(k) or [0])[0]
    return torch.triu(call.tensor(x), offset) if call.get("upper", 1) else torch.tril(call.tensor(x), offset)
