"""The linear poolings: mean and sum."""

from __future__ import annotations

import math
from typing import ClassVar

from torch import Tensor

from graphws.layers.fused.lanes import grouped, grouping, repeated, total
from graphws.pooling import FixedPooling, RowSegments


class Mean(FixedPooling):
    """The mean; its gradient goes to all entries in equal parts."""

    linear: ClassVar[bool] = True
    nests: ClassVar[bool] = True

    def pool(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        """See `FixedPooling`."""
        return x.mean(axes)

    def over(self, rows: Tensor, segments: RowSegments) -> Tensor:
        """See `FixedPooling`."""
        return segments.mean(rows)

    def summarise(self, chunk: Tensor, axis: int) -> Tensor:
        """See `FixedPooling`."""
        return total(chunk, axis).div_(chunk.shape[axis])

    def add_gradient(
        self, gradient: Tensor, chunk: Tensor, axis: int, summary: Tensor, g_summary: Tensor, room: Tensor
    ) -> None:
        """See `FixedPooling`."""
        _add_to_all(gradient, axis, g_summary / chunk.shape[axis])


class Sum(FixedPooling):
    """The sum; by plain operations a mean times the number of entries, so that float32 keeps its digits."""

    linear: ClassVar[bool] = True
    nests: ClassVar[bool] = True

    def gain(self, count: int) -> float:
        """A sum is `count` times as large as a mean."""
        return 1 / count

    def pool(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        """See `FixedPooling`."""
        return x.mean(axes) * math.prod(x.shape[axis] for axis in axes)

    def over(self, rows: Tensor, segments: RowSegments) -> Tensor:
        """See `FixedPooling`."""
        return segments.sum(rows)

    def summarise(self, chunk: Tensor, axis: int) -> Tensor:
        """See `FixedPooling`."""
        return total(chunk, axis)

    def add_gradient(
        self, gradient: Tensor, chunk: Tensor, axis: int, summary: Tensor, g_summary: Tensor, room: Tensor
    ) -> None:
        """See `FixedPooling`."""
        _add_to_all(gradient, axis, g_summary)


def _add_to_all(gradient: Tensor, axis: int, share: Tensor) -> None:
    """Adds to every entry what it has of its summary's gradient."""
    batch, n, m, channels = gradient.shape
    if axis == 1:
        gradient.view(batch, n, m * channels).add_(share.reshape(batch, 1, m * channels))
    else:
        group = grouping(m, channels)
        grouped(gradient, group).add_(repeated(share, group))
