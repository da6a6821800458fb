"""The maximum."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from graphws.layers.fused.lanes import grouped, grouping, repeated
from graphws.pooling import FixedPooling, RowSegments


class Maximum(FixedPooling):
    """The maximum; its gradient goes to the entries that reach it, in equal parts, as that of `torch.amax` does."""

    nests: ClassVar[bool] = True

    def pool(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        """See `FixedPooling`."""
        return x.amax(axes)

    def over(self, rows: Tensor, segments: RowSegments) -> Tensor:
        """See `FixedPooling`."""
        return segments.max(rows)

    def summarise(self, chunk: Tensor, axis: int) -> Tensor:
        """See `FixedPooling`."""
        batch, n, m, channels = chunk.shape
        if axis == 1:
            return chunk.view(batch, n, m * channels).amax(1).view(batch, m, channels)
        if channels == 1:
            return chunk.amax(2)
        # amax over rows shorter than a few vector registers does not vectorise: first over groups, then by halving.
        group = grouping(m, channels)
        chunk = grouped(chunk, group).amax(2).view(batch, n, group, channels)
        while group > 1:
            half = group // 2
            top = torch.maximum(chunk[:, :, :half], chunk[:, :, half : 2 * half])
            if group % 2:
                torch.maximum(top[:, :, 0], chunk[:, :, group - 1], out=top[:, :, 0])
            chunk, group = top, half
        return chunk[:, :, 0]

    def add_gradient(
        self, gradient: Tensor, chunk: Tensor, axis: int, summary: Tensor, g_summary: Tensor, room: Tensor
    ) -> None:
        """See `FixedPooling`."""
        batch, n, m, channels = chunk.shape
        if axis == 1:
            rows = (batch, n, m * channels)
            ties = room.view(rows)
            torch.eq(chunk.view(rows), summary.reshape(batch, 1, m * channels), out=ties)
            share = g_summary.reshape(batch, m * channels) / ties.sum(1).clamp_(min=1)
            gradient.view(rows).addcmul_(ties, share.unsqueeze(1))
            return
        group = grouping(m, channels)
        torch.eq(grouped(chunk, group), repeated(summary, group), out=grouped(room, group))
        share = g_summary / room.sum(2).clamp_(min=1)
        grouped(gradient, group).addcmul_(grouped(room, group), repeated(share, group))
