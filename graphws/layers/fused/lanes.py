"""Lanes: layouts that make loops over few channels long enough for a core's vector registers."""

from __future__ import annotations

import torch
from torch import Tensor


def widened(vector: Tensor, times: int) -> Tensor:
    """A vector of channels repeated, so that it meets rows of several entries in one long loop."""
    return vector if times == 1 else vector.expand(times, -1).reshape(-1)


def summed(sums: list[Tensor], channels: int) -> Tensor:
    """The sum over chunks and rows of sums that are as wide as rows: of (times * channels) each, to (channels)."""
    return torch.stack(sums).view(-1, channels).sum(0)


def grouping(entries: int, channels: int, least: int = 32) -> int:
    """How many neighbouring entries to take as one, so that loops over channels are long enough for vector registers.

    Returns:
        int: The smallest divisor of `entries` that makes `least` channels, or all entries.
    """
    return next((k for k in range(1, entries) if k * channels >= least and entries % k == 0), entries)


def grouped(x: Tensor, group: int) -> Tensor:
    """(batch, n, m, channels) with neighbours on axis 2 taken as one."""
    batch, n, m, channels = x.shape
    return x.view(batch, n, m // group, group * channels)


def repeated(x: Tensor, group: int) -> Tensor:
    """(batch, n, channels) as it meets every entry of axis 2 of a `grouped` tensor."""
    x = x.unsqueeze(2)  # expand and reshape cost a fraction of repeat
    return x if group == 1 else x.expand(-1, -1, group, -1).reshape(x.shape[0], x.shape[1], 1, -1)


def total(chunk: Tensor, axis: int) -> Tensor:
    """The sum over axis 1 or 2 of (batch, n, m, channels)."""
    batch, n, m, channels = chunk.shape
    if axis == 1:
        return chunk.view(batch, n, m * channels).sum(1).view(batch, m, channels)
    return chunk.sum(2)


def row_sum(chunk: Tensor) -> Tensor:
    """The sum over the batch and axis 1 of (batch, n, m, channels), as m * channels numbers."""
    batch, n, m, channels = chunk.shape
    return chunk.view(batch * n, m * channels).sum(0)
