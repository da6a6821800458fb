"""Sums, means, norms and extremes along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphws_converters.onnx.rules import Call, Known, Rules, Value

rules = Rules()

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x


def _extreme(function: Callable[..., Tensor]) -> Reduction:
    def reduce(x: Tensor, axes: list[int], keep: bool) -> Tensor:
        return function(x.to(torch.uint8), axes, keep).bool() if x.dtype == torch.bool else function(x, axes, keep)

    return reduce


_REDUCTIONS: dict[str, tuple[Reduction, Callable[..., Any] | None]] = {
    "ReduceSum": (lambda x, axes, keep: x.sum(axes, keepdim=keep), np.sum),
    "ReduceMean": (lambda x, axes, keep: x.mean(axes, keepdim=keep), np.mean),
    "ReduceMax": (_extreme(torch.amax), np.max),
    "ReduceMin": (_extreme(torch.amin), np.min),
    "ReduceProd": (_product, np.prod),
    "ReduceL1": (lambda x, axes, keep: x.abs().sum(axes, keepdim=keep), None),
    "ReduceL2": (lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt(), None),
    "ReduceSumSquare": (lambda x, axes, keep: x.square().sum(axes, keepdim=keep), None),
    "ReduceLogSum": (lambda x, axes, keep: x.sum(axes, keepdim=keep).log(), None),
    "ReduceLogSumExp": (lambda x, axes, keep: torch.logsumexp(x, axes, keep), None),
}


def _axes(call: Call, rank: int, given: Value) -> list[int]:
    """The axes of a reduction: all where none is given, unless the node says that none means none."""
    axes = call.axes(given, rank)
    if axes or (axes is not None and call.get("noop_with_empty_axes")):
        return axes
    return [] if call.get("noop_with_empty_axes") else list(range(rank))


def _rule(reduction: Reduction) -> Callable[..., Tensor]:
    def run(call: Call, x: Value, axes: Value = None) -> Tensor:
        value = call.tensor(x)
        along = _axes(call, value.ndim, axes)
        if not along and (value.ndim == 0 or call.get("noop_with_empty_axes")):
            return reduction(value.unsqueeze(0), [0], False)
        return reduction(value, along, bool(call.get("keepdims", 1)))

    return run


def _known(function: Callable[..., Any] | None) -> Callable[..., Known] | None:
    def fold(call: Call, x: Known, axes: Known | None = None) -> Known:
        assert function is not None
        along = tuple(_axes(call, x.ndim, axes))
        return np.asarray(function(x, axis=along, keepdims=bool(call.get("keepdims", 1))), dtype=x.dtype)

    return fold if function else None


for _name, (_torch, _numpy) in _REDUCTIONS.items():
    rules(_name, known=_known(_numpy))(_rule(_torch))


@rules("CumSum")
def cumulative_sum(call: Call, x: Value, axis: Value) -> Tensor:
    """Running sums along an axis; without the number itself, or from behind, where asked."""
    value = call.tensor(x)
    along = (call.axes(axis, value.ndim) or [0])[0]
    value = value.flip(along) if call.get("reverse") else value
    sums = value.cumsum(along)
    sums = sums - value if call.get("exclusive") else sums
    return sums.flip(along) if call.get("reverse") else sums
