"""The same numbers in another arrangement: reshape, transpose, cut, join, repeat, pad."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graphws.errors import DataError
from graphws_converters.onnx.rules import Call, Known, Rules, Value

rules = Rules()


def _target(call: Call, x: Tensor | Known, lengths: Value) -> list[int]:
    """The shape asked for, in which 0 stands for the length of x's own axis."""
    wanted = call.ints(lengths, "shape") or []
    if call.get("allowzero"):
        return wanted
    if any(length == 0 and k >= x.ndim for k, length in enumerate(wanted)):
        raise DataError(f"ONNX node {call.node}: keeps an axis that its input does not have")
    return [x.shape[k] if length == 0 else length for k, length in enumerate(wanted)]


@rules("Reshape", known=lambda call, x, lengths=None: np.reshape(x, _target(call, x, lengths)))
def reshape(call: Call, x: Value, lengths: Value = None) -> Tensor:
    """The same numbers in another shape."""
    value = call.tensor(x)
    return value.reshape(_target(call, value, lengths))


@rules("Flatten")
def flatten(call: Call, x: Value) -> Tensor:
    """Two axes: those before `axis`, and the others."""
    value = call.tensor(x)
    axis = call.get("axis", 1)
    if axis == 1 and value.ndim > 1:
        return value.flatten(1)
    axis = axis if axis == value.ndim else call.axis(axis, value.ndim)
    return value.reshape(value.shape[:axis].numel(), value.shape[axis:].numel())


@rules("Transpose", known=lambda call, x: np.transpose(x, call.get("perm")))
def transpose(call: Call, x: Value) -> Tensor:
    """The axes in another order, reversed where none is given."""
    value = call.tensor(x)
    return value.permute(call.get("perm", list(range(value.ndim))[::-1]))


def _squeezed(call: Call, x: Tensor | Known, axes: Value) -> list[int]:
    found = call.axes(axes, x.ndim)
    return [k for k, length in enumerate(x.shape) if length == 1] if found is None else found


@rules("Squeeze", known=lambda call, x, axes=None: np.squeeze(x, tuple(_squeezed(call, x, axes))))
def squeeze(call: Call, x: Value, axes: Value = None) -> Tensor:
    """Without axes of length 1."""
    value = call.tensor(x)
    for axis in sorted(_squeezed(call, value, axes), reverse=True):
        value = value.squeeze(axis)
    return value


def _unsqueezed(call: Call, x: Tensor | Known, axes: Value) -> list[int]:
    count = len(call.ints(axes, "axes") or [])
    return sorted(call.axes(axes, x.ndim + count) or [])


@rules("Unsqueeze", known=lambda call, x, axes=None: np.expand_dims(x, tuple(_unsqueezed(call, x, axes))))
def unsqueeze(call: Call, x: Value, axes: Value = None) -> Tensor:
    """With axes of length 1."""
    value = call.tensor(x)
    for axis in _unsqueezed(call, value, axes):
        value = value.unsqueeze(axis)
    return value


def _joined(call: Call) -> int:
    axis: int = call.get("axis", 1 if call.opset < 4 else 0)
    return axis


@rules("Concat", known=lambda call, *values: np.concatenate(values, _joined(call)))
def concat(call: Call, *values: Value) -> Tensor:
    """End to end along an axis."""
    return torch.cat(call.tensors(*values), _joined(call))


def _pieces(call: Call, x: Tensor | Known, split: Value) -> tuple[list[int], int]:
    axis = call.axis(call.get("axis", 0), x.ndim)
    if call.opset < 2 and "axis" not in call.node.attributes:
        raise call.refuse("a split without an axis in opset 1")
    lengths = call.ints(split, "split")
    if lengths is None:
        parts = call.get("num_outputs", len(call.node.outputs))
        most = -(-x.shape[axis] // parts)
        lengths = [most] * (parts - 1) + [x.shape[axis] - most * (parts - 1)]
    return lengths, axis


def _split_known(call: Call, x: Known, split: Value = None) -> list[Known]:
    lengths, axis = _pieces(call, x, split)
    return list(np.split(x, list(itertools.accumulate(lengths))[:-1], axis))


@rules("Split", known=_split_known)
def split_(call: Call, x: Value, split: Value = None) -> list[Tensor]:
    """In pieces along an axis: of given lengths, or equally long."""
    value = call.tensor(x)
    lengths, axis = _pieces(call, value, split)
    return list(torch.split(value, lengths, axis))


def _cuts(call: Call, x: Tensor | Known, *given: Value) -> list[tuple[int, slice]]:
    starts, stops, axes, steps = (given[k] if k < len(given) else None for k in range(4))
    first, last = call.ints(starts, "starts") or [], call.ints(stops, "ends") or []
    along = call.axes(axes, x.ndim)
    strides = call.ints(steps) or [1] * len(first)
    cuts = []
    for axis, start, stop, step in zip(
        along if along is not None else range(len(first)), first, last, strides, strict=True
    ):
        # the counterpart of slice.indices for ends far outside, which ONNX cuts to the axis
        low, high, stride = slice(start, stop, step).indices(x.shape[axis])
        cuts.append((axis, slice(low, None if stride < 0 and high < 0 else high, stride)))
    return cuts


def _slice_known(call: Call, x: Known, *given: Value) -> Known:
    for axis, cut in _cuts(call, x, *given):
        x = x[(slice(None),) * axis + (cut,)]
    return x


@rules("Slice", known=_slice_known)
def slice_(call: Call, x: Value, *given: Value) -> Tensor:
    """From start to stop by step along some axes; steps may run backwards."""
    value = call.tensor(x)
    for axis, cut in _cuts(call, value, *given):
        if cut.step > 0:
            value = value[(slice(None),) * axis + (cut,)]
        else:
            stop = -1 if cut.stop is None else cut.stop
            picked = torch.arange(cut.start, stop, cut.step, device=value.device)
            whole = len(picked) == value.shape[axis]
            value = value.flip(axis) if whole else value.index_select(axis, picked)
    return value


def _expanded(call: Call, x: Tensor | Known, lengths: Value) -> tuple[int, ...]:
    return call.allow(*np.broadcast_shapes(tuple(x.shape), tuple(call.ints(lengths) or ())))


@rules("Expand", known=lambda call, x, lengths: np.broadcast_to(x, _expanded(call, x, lengths)))
def expand(call: Call, x: Value, lengths: Value) -> Tensor:
    """Broadcast to a shape."""
    value = call.tensor(x)
    return value.expand(_expanded(call, value, lengths))


def _repeats(call: Call, x: Tensor | Known, repeats: Value, axis: Value) -> list[int]:
    counts = call.ints(repeats) or []
    if axis is not None:
        along = (call.axes(axis, x.ndim) or [0])[0]
        counts = [counts[0] if k == along else 1 for k in range(x.ndim)]
    call.allow(*(a * b for a, b in zip(x.shape, counts, strict=True)))
    return counts


@rules("Tile", known=lambda call, x, repeats, axis=None: np.tile(x, _repeats(call, x, repeats, axis)))
def tile(call: Call, x: Value, repeats: Value, axis: Value = None) -> Tensor:
    """Repeated along each axis; before opset 6 along one."""
    value = call.tensor(x)
    return value.repeat(_repeats(call, value, repeats, axis))


_MODES = ("edge", "reflect", "wrap")


@rules("Pad")
def pad(call: Call, x: Value, pads: Value = None, fill: Value = None, axes: Value = None) -> Tensor:
    """More numbers at the ends of axes: constant, the edge's, mirrored or wrapped around."""
    value = call.tensor(x)
    amounts = call.ints(pads, "pads") or call.ints(None, "paddings") or []
    given = call.axes(axes, value.ndim)
    along = list(range(value.ndim)) if given is None else given
    before = dict(zip(along, amounts, strict=False))
    after = dict(zip(along, amounts[len(along) :], strict=True))
    call.allow(*(n + max(before.get(k, 0), 0) + max(after.get(k, 0), 0) for k, n in enumerate(value.shape)))
    mode = call.get("mode", "constant")
    if mode == "constant":
        number = call.get("value", 0.0) if fill is None else call.tensor(fill).item()
        pairs = [n for k in reversed(range(value.ndim)) for n in (before.get(k, 0), after.get(k, 0))]
        return F.pad(value, pairs, value=number)
    if mode not in _MODES:
        raise call.refuse(f"padding of mode {mode!r}")
    for axis in along:  # torch pads the last axes of values with few axes only: one axis at a time, brought to the end
        if before[axis] or after[axis]:
            if value.shape[axis] == 0:
                raise call.refuse("padding an empty axis from itself")
            ends = max(before[axis], 0), max(after[axis], 0)
            index = np.pad(np.arange(value.shape[axis]), ends, mode=mode)
            index = index[max(-before[axis], 0) : len(index) - max(-after[axis], 0)]
            value = value.index_select(axis, torch.as_tensor(index))
    return value


@rules("DepthToSpace")
def depth_to_space(call: Call, x: Value) -> Tensor:
    """Channels become pixels of blocks."""
    value, side = call.tensor(x), call.get("blocksize")
    if call.get("mode", "DCR") == "CRD":
        return F.pixel_shuffle(value, side)
    n, c, h, w = value.shape
    blocks = value.reshape(n, side, side, c // (side * side), h, w)
    return blocks.permute(0, 3, 4, 1, 5, 2).reshape(n, c // (side * side), h * side, w * side)


@rules("SpaceToDepth")
def space_to_depth(call: Call, x: Value) -> Tensor:
    """Pixels of blocks become channels."""
    value, side = call.tensor(x), call.get("blocksize")
    n, c, h, w = value.shape
    blocks = value.reshape(n, c, h // side, side, w // side, side)
    order = (0, 1, 3, 5, 2, 4) if call.get("mode", "DCR") == "CRD" else (0, 3, 5, 1, 2, 4)
    return blocks.permute(order).reshape(n, c * side * side, h // side, w // side)
