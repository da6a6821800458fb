"""Working in blocks: which part of a batch fits in a core's cache, and the operations that are slow on small channels.

A layer on an edge-level tensor makes some ten passes over it, each of a few arithmetic operations per number.  From
main memory they would cost ten reads and writes of the whole tensor; over a block of the batch that stays in the cache
they cost one.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

import torch
from torch import Tensor

from graphws.layers.activations import KERNELS

BLOCK_BYTES = 512 << 10
"""Size of a block, for each thread: a few such buffers fit in a core's second-level cache."""


def block_length(batch: int, bytes_each: int) -> int:
    """How many networks make a block."""
    wanted = BLOCK_BYTES * torch.get_num_threads() // max(bytes_each, 1)
    blocks = -(-batch // max(1, wanted))
    return -(-batch // blocks) if blocks else 1


def parts(value: Tensor | None, length: int) -> Iterable[Tensor | None]:
    """A tensor in blocks; one that is the same for all networks, or None, again and again."""
    return repeat(value) if value is None or value.shape[0] == 1 else value.split(length)


def widened(vector: Tensor, times: int) -> Tensor:
    """A vector of channels repeated, so that it meets rows of several entries in one long loop."""
    return vector if times == 1 else vector.expand(times, -1).reshape(-1)


def reduced(sums: list[Tensor], channels: int) -> Tensor:
    """The sum over blocks and rows of sums that are as wide as rows: of (times * channels) each, to (channels)."""
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


def largest(block: Tensor, axis: int) -> Tensor:
    """The maximum over axis 1 or 2 of (batch, n, m, channels)."""
    batch, n, m, channels = block.shape
    if axis == 1:
        return block.view(batch, n, m * channels).amax(1).view(batch, m, channels)
    if channels == 1:
        return block.amax(2)
    # amax over rows shorter than a few vector registers does not vectorise: first over groups, then by halving.
    group = grouping(m, channels)
    block = grouped(block, group).amax(2).view(batch, n, group, channels)
    while group > 1:
        half = group // 2
        top = torch.maximum(block[:, :, :half], block[:, :, half : 2 * half])
        if group % 2:
            torch.maximum(top[:, :, 0], block[:, :, group - 1], out=top[:, :, 0])
        block, group = top, half
    return block[:, :, 0]


def total(block: Tensor, axis: int) -> Tensor:
    """The sum over axis 1 or 2 of (batch, n, m, channels)."""
    batch, n, m, channels = block.shape
    if axis == 1:
        return block.view(batch, n, m * channels).sum(1).view(batch, m, channels)
    return block.sum(2)


def row_sum(block: Tensor) -> Tensor:
    """The sum over the batch and axis 1 of (batch, n, m, channels), as m * channels numbers."""
    batch, n, m, channels = block.shape
    return block.view(batch * n, m * channels).sum(0)


class Activated:
    """Computes blocks of a = activation(scale * z + shift) in one buffer, and takes their gradients back.

    Args:
        z: (batch, n, m, channels).
        scale: A factor for each channel, or None.
        shift: An offset for each channel, or None.
        activation: One of `graphws.layers.ACTIVATIONS`.
        length: How many networks make a block.
    """

    def __init__(self, z: Tensor, scale: Tensor | None, shift: Tensor | None, activation: str, length: int) -> None:
        batch, n, m, channels = z.shape
        self.kernel, self.identity = KERNELS[activation], scale is None and activation == "identity"
        self.blocks, self.rows = z.split(length), z.view(batch, n, m * channels).split(length)
        self.scale = None if scale is None else widened(scale, m)
        self.shift = None if shift is None else widened(shift, m)
        self.after = z if self.identity else z.new_empty(length, n, m, channels)
        twice = self.kernel.from_input and scale is not None
        self.before = torch.empty_like(self.after) if twice else self.after

    def block(self, k: int) -> Tensor:
        """Block k of a; it lasts until the next one."""
        z: Tensor = self.blocks[k]
        if self.identity:
            return z
        before, after = self._buffers(k)
        if self.scale is not None and self.shift is not None:
            torch.addcmul(self.shift, self.rows[k], self.scale, out=before.view(self.rows[k].shape))
            z = before
        self.kernel.write(z, after)
        return after

    def back(self, k: int, gradient: Tensor) -> None:
        """Multiplies a gradient with respect to the last block computed, block k, by the slope in place."""
        if not self.identity:
            before, after = self._buffers(k)
            known = (self.blocks[k] if self.scale is None else before) if self.kernel.from_input else after
            self.kernel.slope(gradient, known)

    def _buffers(self, k: int) -> tuple[Tensor, Tensor]:
        size = self.blocks[k].shape[0]
        if size == self.after.shape[0]:
            return self.before, self.after
        after = self.after[:size]
        return (after if self.before is self.after else self.before[:size]), after
