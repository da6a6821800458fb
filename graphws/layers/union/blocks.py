"""Blocks: index sets of different sizes side by side in one row.

The entries of one weight matrix are a block of rows × columns; those of all matrices of a role, in all networks of a
batch, are many blocks of as many axes.  Elements are numbered block by block, each in row-major order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Blocks:
    """Many blocks of as many axes.

    Args:
        sizes: Length of each axis of each block, (blocks, axes), whole numbers.
    """

    sizes: Tensor

    @cached_property
    def counts(self) -> Tensor:
        """Elements of each block, (blocks)."""
        return self.sizes.prod(1)

    @cached_property
    def starts(self) -> Tensor:
        """Number of the first element of each block, (blocks)."""
        return self.counts.cumsum(0) - self.counts

    @cached_property
    def strides(self) -> Tensor:
        """How far apart neighbours along each axis are, (blocks, axes)."""
        return strides(self.sizes)

    @cached_property
    def total(self) -> int:
        """Elements of all blocks."""
        return int(self.counts.sum())

    @cached_property
    def block(self) -> Tensor:
        """The block of each element, (total)."""
        return torch.repeat_interleave(self.counts, output_size=self.total)

    @cached_property
    def digits(self) -> tuple[Tensor, ...]:
        """The index of each element along each axis, (total) each."""
        if self.sizes.shape[1] == 0:
            return ()
        within = torch.arange(self.total) - self.starts[self.block]
        found = []
        for axis in range(self.sizes.shape[1] - 1, 0, -1):
            size = self.sizes[:, axis][self.block]
            found.append(within % size)
            within = within // size
        return (within, *reversed(found))

    def keep(self, axes: Sequence[int]) -> Blocks:
        """The same blocks with some of their axes, in that order."""
        return Blocks(self.sizes[:, list(axes)])

    def places(self, block: Tensor, digits: Sequence[Tensor], spread: Tensor) -> Tensor:
        """Numbers of elements from the block and the digits of each.

        Args:
            block: (elements).
            digits: For each axis (elements).
            spread: The strides that belong to the digits, (blocks, axes).
        """
        place = self.starts[block]
        for axis, digit in enumerate(digits):
            place = torch.addcmul(place, digit, spread[:, axis][block])
        return place


def strides(sizes: Tensor) -> Tensor:
    """Row-major strides of blocks (blocks, axes)."""
    if sizes.shape[1] == 0:
        return sizes
    after = torch.cat([sizes[:, 1:], torch.ones_like(sizes[:, :1])], dim=1)
    return after.flip(1).cumprod(1).flip(1)


def whole_numbers(rows: Sequence[tuple[int, ...]], axes: int) -> Tensor:
    """Sizes of blocks (blocks, axes)."""
    return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), axes)
