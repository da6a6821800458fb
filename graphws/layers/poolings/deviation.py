"""The standard deviation."""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.pooling import FixedPooling, RowSegments

ROUNDING = 8
"""A spread below so many roundings of the mean is what equal entries may show, and counts as none."""


class Deviation(FixedPooling):
    """The population's standard deviation, sqrt(mean (x - mean x)²).

    Its gradient (x - mean x) / (n · std) has no limit where all entries are equal; there it is zero, that of the
    smallest change.  It does not nest: the deviation of rows' deviations says nothing of the spread between rows.
    """

    def pool(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        """See `FixedPooling`."""
        mean = x.mean(axes, keepdim=True)
        variance = (x - mean).square().mean(axes)
        equal = _equal(variance, mean.detach().reshape(variance.shape))
        # The inner `where` keeps the root's slope finite, the outer one takes it out.
        return torch.where(equal, 0, torch.where(equal, 1, variance).sqrt())

    def over(self, rows: Tensor, segments: RowSegments) -> Tensor:
        """See `FixedPooling`."""
        mean = segments.mean(rows)
        variance = segments.mean((rows - segments.spread(mean)).square())
        equal = _equal(variance, mean.detach())
        return torch.where(equal, 0, torch.where(equal, 1, variance).sqrt())

    def summarise(self, chunk: Tensor, axis: int) -> Tensor:
        """See `FixedPooling`."""
        mean = chunk.mean(axis, keepdim=True)
        variance = (chunk - mean).square_().mean(axis)
        return variance.sqrt().masked_fill_(_equal(variance, mean.squeeze(axis)), 0)

    def add_gradient(
        self, gradient: Tensor, chunk: Tensor, axis: int, summary: Tensor, g_summary: Tensor, room: Tensor
    ) -> None:
        """See `FixedPooling`."""
        share = torch.where(summary == 0, 0, g_summary / (summary * chunk.shape[axis]))
        torch.sub(chunk, chunk.mean(axis, keepdim=True), out=room)
        gradient.addcmul_(room, share.unsqueeze(axis))


def _equal(variance: Tensor, mean: Tensor) -> Tensor:
    """Where entries differ by no more than rounding; never where one is not a number."""
    return variance <= (ROUNDING * torch.finfo(mean.dtype).eps * mean).square()
