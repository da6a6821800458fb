"""Chunks: how much of a batch fits in a core's cache, and its activation computed chunk by chunk.

A layer on an edge-level tensor makes some ten passes over it, each of a few arithmetic operations per number.  From
main memory they would cost ten reads and writes of the whole tensor; over a chunk of the batch that stays in the cache
they cost one.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat

import torch
from torch import Tensor

from graphws.layers.activations import POINTWISE
from graphws.layers.fused.lanes import widened

CHUNK_BYTES = 512 << 10
"""Size of a chunk, for each thread: a few such buffers fit in a core's second-level cache."""


def chunk_length(batch: int, bytes_each: int) -> int:
    """How many networks make a chunk."""
    wanted = CHUNK_BYTES * torch.get_num_threads() // max(bytes_each, 1)
    chunks = -(-batch // max(1, wanted))
    return -(-batch // chunks) if chunks else 1


def parts(value: Tensor | None, length: int) -> Iterable[Tensor | None]:
    """A tensor in chunks; one that is the same for all networks, or None, again and again."""
    return repeat(value) if value is None or value.shape[0] == 1 else value.split(length)


class Activated:
    """Computes chunks of a = activation(scale * z + shift) in one buffer, and takes their gradients back.

    Args:
        z: (batch, n, m, channels).
        scale: A factor for each channel, or None.
        shift: An offset for each channel, or None.
        activation: One of `graphws.layers.ACTIVATIONS`.
        length: How many networks make a chunk.
    """

    def __init__(self, z: Tensor, scale: Tensor | None, shift: Tensor | None, activation: str, length: int) -> None:
        batch, n, m, channels = z.shape
        self.kernel, self.identity = POINTWISE[activation], scale is None and activation == "identity"
        self.chunks, self.rows = z.split(length), z.view(batch, n, m * channels).split(length)
        self.scale = None if scale is None else widened(scale, m)
        self.shift = None if shift is None else widened(shift, m)
        self.after = z if self.identity else z.new_empty(length, n, m, channels)
        twice = self.kernel.from_input and scale is not None
        self.before = torch.empty_like(self.after) if twice else self.after

    def chunk(self, k: int) -> Tensor:
        """Chunk k of a; it lasts until the next one."""
        z: Tensor = self.chunks[k]
        if self.identity:
            return z
        before, after = self._buffers(k)
        if self.scale is not None and self.shift is not None:
            torch.addcmul(self.shift, self.rows[k], self.scale, out=before.view(self.rows[k].shape))
            z = before
        self.kernel.write(z, after)
        return after

    def back(self, k: int, gradient: Tensor) -> None:
        """Multiplies a gradient with respect to the last chunk computed, chunk k, by the slope in place."""
        if not self.identity:
            before, after = self._buffers(k)
            known = (self.chunks[k] if self.scale is None else before) if self.kernel.from_input else after
            self.kernel.slope(gradient, known)

    def _buffers(self, k: int) -> tuple[Tensor, Tensor]:
        size = self.chunks[k].shape[0]
        if size == self.after.shape[0]:
            return self.before, self.after
        after = self.after[:size]
        return (after if self.before is self.after else self.before[:size]), after
