"""The outputs that the gate compares: every tensor and every number that a source gives, each on its own.

One after the other in one vector, a large output would hide what happens to a small one.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from graphws.errors import UsageError
from graphws.graph import Weights
from graphws.operations.verify import change_of_slices, relative_change, scale_of

Outputs = Tensor | tuple[Tensor, ...]
Run = Callable[[Weights], Outputs]
LEAST_SHARE = 1e-9
"""Outputs smaller than this share of the largest are compared with that share: they may be rounding."""
LEAST_OF_SLICES = 1e-5
"""Slices of an output smaller than this share of it are compared with that share."""
_NUMBERS = bool | int | float | complex
_PLAIN = (Tensor, bool, int, float, complex, str, bytes, torch.dtype, torch.device, torch.Size, type(None),
          torch.SymInt, torch.SymFloat, torch.SymBool)  # fmt: skip
"""What is compared, or says nothing of weights; numbers of an export stand for what they will be."""


def opened(outputs: Any) -> Any:
    """Outputs in containers that are known: a dataclass becomes a dictionary.

    Raises:
        UsageError: On an object that cannot be looked into: what it holds would escape every check.
    """

    def leaf(x: Any) -> Any:
        if dataclasses.is_dataclass(x) and not isinstance(x, type):
            return opened({field.name: getattr(x, field.name) for field in dataclasses.fields(x)})
        if isinstance(x, Tensor) and (x.layout != torch.strided or x.is_quantized or x.is_nested):
            raise UsageError(f"cannot compare an output {_form(x)}: return a dense one, or name one with outputs=")
        if isinstance(x, _PLAIN):
            return x
        raise UsageError(
            f"cannot look into an output of type {type(x).__name__}: return tensors in tuples, lists, dictionaries or "
            "dataclasses, or name one output with outputs="
        )

    return pytree.tree_map(leaf, outputs)


def _form(x: Tensor) -> str:
    if x.is_nested:
        return "that is a nested tensor"
    return "of quantised numbers" if x.is_quantized else f"of layout {str(x.layout).removeprefix('torch.')}"


def every(outputs: Any) -> tuple[Tensor, ...]:
    """Every tensor, every number and every text, as its bytes."""
    leaves = [x.encode() if isinstance(x, str) else x for x in pytree.tree_leaves(outputs)]
    leaves = [list(x) if isinstance(x, bytes) else x for x in leaves]
    numbers = [torch.as_tensor(x) if isinstance(x, _NUMBERS | list) else x for x in leaves]
    return tuple(x for x in numbers if isinstance(x, Tensor))


def change(before: Outputs, after: Outputs) -> float:
    """The largest relative change of an output; infinite where another number of them, or another shape, comes out."""
    if isinstance(before, Tensor) and isinstance(after, Tensor):
        before, after = (before,), (after,)
    if len(before) != len(after) or any(x.shape != y.shape for x, y in zip(before, after, strict=True)):
        return math.inf
    pairs = [(x, y) for x, y in zip(before, after, strict=True) if x.numel()]
    scales = [float(scale_of(x)) for x, _ in pairs]
    shares = [scale / shown if shown else 1.0 for scale, shown in zip(scales, _raised(scales), strict=True)]
    found = [relative_change(x, y) * share for (x, y), share in zip(pairs, shares, strict=True)]
    found += [change_of_slices(x, y, LEAST_OF_SLICES) * share for (x, y), share in zip(pairs, shares, strict=True)]
    return next((each for each in found if math.isnan(each)), max(found, default=0.0))


def scales_of(outputs: Outputs) -> list[float]:
    """What changes of each output are compared with; 0 for one without numbers."""
    several = (outputs,) if isinstance(outputs, Tensor) else outputs
    return _raised([float(scale_of(x)) if x.numel() else 0.0 for x in several])


def _raised(scales: list[float]) -> list[float]:
    """Scales, none smaller than a share of the largest."""
    return [max(scale, LEAST_SHARE * max(scales)) for scale in scales]


def silent(outputs: Outputs) -> bool:
    """Whether all numbers are 0, so that any change is beyond all measure."""
    return not any(bool(x.count_nonzero()) for x in ((outputs,) if isinstance(outputs, Tensor) else outputs))


def finite(outputs: Outputs) -> bool:
    """Whether all are finite numbers."""
    return all(bool(torch.isfinite(x).all()) for x in ((outputs,) if isinstance(outputs, Tensor) else outputs))
