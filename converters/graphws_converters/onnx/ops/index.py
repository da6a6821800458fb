"""Picking and placing numbers by index: gather, scatter, one-hot, top k, arg max."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graphws_converters.onnx.rules import Call, Known, Rules, Value, is_known

rules = Rules()


def _gather_known(call: Call, x: Known, index: Known) -> Known:
    axis = call.axis(call.get("axis", 0), x.ndim)
    call.allow(*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    return np.take(x, index, axis)


@rules("Gather", known=_gather_known)
def gather(call: Call, x: Value, index: Value) -> Tensor:
    """Whole slices along an axis; a table of two axes is an embedding."""
    value = call.tensor(x)
    axis = call.axis(call.get("axis", 0), value.ndim)
    if is_known(index) and np.ndim(index) == 0:  # type: ignore[arg-type]
        return value.select(axis, int(np.asarray(index)))
    picked = call.tensor(index).long()
    call.allow(*value.shape[:axis], *picked.shape, *value.shape[axis + 1 :])
    picked = torch.where(picked < 0, picked + value.shape[axis], picked)
    if axis == 0 and value.ndim == 2:
        return F.embedding(picked, value)
    chosen = value.index_select(axis, picked.reshape(-1))
    return chosen.reshape(*value.shape[:axis], *picked.shape, *value.shape[axis + 1 :])


def _positive(call: Call, index: Value, length: int) -> Tensor:
    """Indices counted from the front."""
    picked = call.tensor(index).long()
    return torch.where(picked < 0, picked + length, picked)


@rules("GatherElements")
def gather_elements(call: Call, x: Value, index: Value) -> Tensor:
    """Single numbers along an axis."""
    value = call.tensor(x)
    axis = call.axis(call.get("axis", 0), value.ndim)
    return torch.gather(value, axis, _positive(call, index, value.shape[axis]))


def _coordinates(call: Call, index: Value, shape: torch.Size) -> tuple[Tensor, ...]:
    """The last axis of an index tensor as coordinates along the first axes."""
    picked = call.tensor(index).long()
    parts = picked.unbind(-1)
    return tuple(torch.where(part < 0, part + shape[k], part) for k, part in enumerate(parts))


@rules("GatherND")
def gather_nd(call: Call, x: Value, index: Value) -> Tensor:
    """Slices at coordinates, with batch axes in front."""
    value, batch = call.tensor(x), call.get("batch_dims", 0)
    picked = call.tensor(index)
    call.allow(*picked.shape[:-1], *value.shape[batch + picked.shape[-1] :])
    if batch == 0:
        return value[_coordinates(call, picked, value.shape)]
    flat, places = value.flatten(0, batch - 1), picked.flatten(0, batch - 1)
    rows = [part[_coordinates(call, place, part.shape)] for part, place in zip(flat, places, strict=True)]
    return torch.stack(rows).reshape(*value.shape[:batch], *rows[0].shape)


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@rules("ScatterElements", "Scatter")
def scatter_elements(call: Call, x: Value, index: Value, updates: Value) -> Tensor:
    """x with single numbers exchanged, or combined, along an axis."""
    value, new = call.tensors(x, updates)
    axis = call.axis(call.get("axis", 0), value.ndim)
    places = _positive(call, index, value.shape[axis])
    how = call.get("reduction", "none")
    if how == "none":
        return value.scatter(axis, places, new)
    return value.scatter_reduce(axis, places, new, _REDUCTIONS[how])


@rules("ScatterND")
def scatter_nd(call: Call, x: Value, index: Value, updates: Value) -> Tensor:
    """x with slices at coordinates exchanged, or combined."""
    value, new = call.tensors(x, updates)
    depth = call.tensor(index).shape[-1]
    places = _coordinates(call, index, value.shape)
    how = call.get("reduction", "none")
    if how in ("none", "add"):
        return value.index_put(places, new, accumulate=how == "add")
    rest = value.shape[depth:].numel()
    flat = value.reshape(-1, rest)
    rows = torch.zeros_like(places[0])
    for k, part in enumerate(places):
        rows = rows * value.shape[k] + part
    wide = rows.reshape(-1, 1).expand(-1, rest)
    return flat.scatter_reduce(0, wide, new.reshape(-1, rest), _REDUCTIONS[how]).reshape(value.shape)


@rules("OneHot")
def one_hot(call: Call, index: Value, depth: Value, values: Value) -> Tensor:
    """`on` at the index, `off` elsewhere, along a new axis; indices count from the back since opset 11."""
    count = (call.ints(depth) or [0])[0]
    off, on = call.tensor(values)
    picked = call.tensor(index).long()
    call.allow(*picked.shape, count)
    axis = call.axis(call.get("axis", -1), picked.ndim + 1)
    inside = (picked >= (0 if call.opset < 11 else -count)) & (picked < count)
    chosen = F.one_hot(torch.where(inside, picked % count, 0), count).bool() & inside.unsqueeze(-1)
    return torch.where(chosen.movedim(-1, axis), on, off)


@rules("TopK")
def top_k(call: Call, x: Value, k: Value = None) -> list[Tensor]:
    """The largest (or smallest) numbers along an axis, and where they stand; of equal ones, the first."""
    value = call.tensor(x)
    count = (call.ints(k, "k") or [1])[0]
    axis = call.axis(call.get("axis", -1), value.ndim)
    if not 0 <= count <= value.shape[axis]:
        raise call.refuse(f"the top {count} of {value.shape[axis]} numbers")
    found = torch.sort(value, dim=axis, descending=bool(call.get("largest", 1)), stable=True)
    return [found.values.narrow(axis, 0, count), found.indices.narrow(axis, 0, count)]


@rules("ArgMax", "ArgMin")
def arg_max(call: Call, x: Value) -> Tensor:
    """Where the largest (or smallest) number along an axis stands."""
    value = call.tensor(x)
    axis, keep = call.axis(call.get("axis", 0), value.ndim), bool(call.get("keepdims", 1))
    function = torch.argmax if call.node.kind == "ArgMax" else torch.argmin
    if call.get("select_last_index"):
        return value.shape[axis] - 1 - function(value.flip(axis), axis, keep)
    return function(value, axis, keep)


@rules("NonZero", known=lambda call, x: np.stack(np.nonzero(x)))
def non_zero(call: Call, x: Value) -> Tensor:
    """The coordinates of numbers that are not 0, an axis a row."""
    return call.tensor(x).nonzero().t()


@rules("Compress")
def compress(call: Call, x: Value, condition: Value) -> Tensor:
    """The slices along an axis for which a condition holds."""
    value, chosen = call.tensors(x, condition)
    kept = chosen.nonzero().squeeze(1)
    if "axis" not in call.node.attributes:
        return value.reshape(-1).index_select(0, kept)
    return value.index_select(call.axis(call.get("axis"), value.ndim), kept)
