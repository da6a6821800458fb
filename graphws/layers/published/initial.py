"""How the maps of published layers start."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BIAS = 1e-4
"""Biases start between minus and plus this."""


def matrices(*shape: int, outputs: int, scale: float) -> Tensor:
    """Matrices (…, inputs, columns) that start normal, each of its columns one of `outputs` outputs of a map.

    The variance is 2/(in + out) · 2 in/out · scale²: that of Glorot and Bengio times a gain of the shape.
    """
    inputs = shape[-2]
    deviation = scale * math.sqrt(2 / (inputs + outputs) * 2 * inputs / outputs)
    return torch.randn(*shape) * deviation


def offsets(*shape: int) -> Tensor:
    """Biases, which start uniform and close to zero."""
    return torch.empty(*shape).uniform_(-BIAS, BIAS)


def product(x: Tensor, matrix: Tensor, offset: Tensor) -> Tensor:
    """x @ matrix + offset for stacked maps: (maps, rows, in), (maps, in, out), (maps, out) to (maps, rows, out)."""
    return torch.baddbmm(offset.unsqueeze(1), x, matrix)
