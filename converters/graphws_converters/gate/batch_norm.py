"""Batch norms that can be differentiated in their running statistics.

A batch norm in eval mode is an affine map of its input whose coefficients come from four tensors of the state dict.
PyTorch's kernel has no derivative in two of them, the running mean and variance; spelled out, the same map has all
four.  The moment-map test needs them, because scaling a channel scales its running mean and variance too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class DifferentiableBatchNorm(TorchFunctionMode):
    """While it is entered, batch norms that use running statistics are computed by differentiable operations.

    Law: values are those of `torch.nn.functional.batch_norm`, up to rounding.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        reader = _READERS.get(func)
        if reader is not None:
            found = reader(*args, **(kwargs or {}))
            if found is not None:
                return _spelled_out(*found)
        return func(*args, **(kwargs or {}))


Read = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, float]
"""Input, mean, variance, scale, shift, epsilon."""


def _of_functional(
    input: Tensor,  # the names are PyTorch's
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Read | None:
    if training or running_mean is None or running_var is None:
        return None
    return input, running_mean, running_var, weight, bias, eps


def _of_torch(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Read | None:
    return _of_functional(input, running_mean, running_var, weight, bias, training, momentum, eps)


_READERS: dict[Any, Callable[..., Read | None]] = {
    functional.batch_norm: _of_functional,
    torch.batch_norm: _of_torch,
}


def _spelled_out(
    x: Tensor, mean: Tensor, variance: Tensor, scale: Tensor | None, shift: Tensor | None, epsilon: float
) -> Tensor:
    shape = [1, -1] + [1] * (x.ndim - 2)
    slope = (variance + epsilon).rsqrt()
    if scale is not None:
        slope = slope * scale
    y = (x - mean.reshape(shape)) * slope.reshape(shape)
    return y if shift is None else y + shift.reshape(shape)
