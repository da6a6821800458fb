"""Matrices that are nearly a homomorphism of a finite group, and Newton's iteration that makes them one.

A space nested in a set of p parents carries matrices of p blocks, one for each parent, which are sent where the parents
go.  Everything here is done block by block: p² times less than on whole matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.matching import nearest_orthogonal

_AT_ONCE = 2**22
"""Numbers that are gathered at once."""
_SQUARES = 1e-6
"""The defect below which two steps leave rounding only: a step squares it."""


@dataclass(frozen=True, eq=False)
class _Blocks:
    """N_g for each element g: block i sends the children of parent origin[g, i] to those of parent i.

    Attributes:
        blocks: (elements, parents, d, d).
        origin: (elements, parents), itself a homomorphism.
        table: The group's multiplication table, 0 the identity.
    """

    blocks: Tensor
    origin: Tensor
    table: Tensor

    @classmethod
    def of(cls, matrices: Sequence[Tensor], table: Tensor, parents: int) -> _Blocks:
        """Whole matrices by their blocks; one block where they have others than one for each parent."""
        whole = torch.stack(tuple(matrices))
        m, size = len(whole), whole.shape[-1]
        table = table.to(whole.device)
        parted = whole.reshape(m, parents, size // parents, parents, size // parents).transpose(2, 3)
        origin = parted.square().sum((3, 4)).argmax(2)
        rows = torch.arange(parents, device=whole.device)
        blocks = parted[torch.arange(m, device=whole.device).unsqueeze(1), rows, origin]
        alone = int(blocks.count_nonzero()) == int(whole.count_nonzero())
        moves = all(torch.equal(origin[:, origin[g]], origin[table[g]]) for g in range(m))
        if alone and moves:
            return cls(blocks, origin, table)
        return cls(whole.unsqueeze(1), origin.new_zeros(m, 1), table)

    def matrices(self) -> list[Tensor]:
        """The whole matrices."""
        m, parents, size, _ = self.blocks.shape
        whole = self.blocks.new_zeros(m, parents, parents, size, size)
        rows = torch.arange(parents, device=whole.device)
        whole[torch.arange(m, device=whole.device).unsqueeze(1), rows, self.origin] = self.blocks
        return list(whole.transpose(2, 3).reshape(m, parents * size, parents * size))

    def with_blocks(self, blocks: Tensor) -> _Blocks:
        """The same parents with other blocks."""
        return _Blocks(blocks, self.origin, self.table)

    def means(self, inverse: Tensor) -> Tensor:
        """mean_h N_gh N_h⁻¹ for each g, from the blocks' inverses."""
        back, rows = self.origin.argsort(1), torch.arange(len(self.table), device=self.table.device).unsqueeze(1)
        found = []
        for products in self.table.split(max(1, _AT_ONCE // (len(self.table) * self.blocks.numel()))):
            places = back.expand(len(products), -1, -1).gather(2, self.origin[products])
            first, second = self.blocks[products], inverse[rows, places]
            found.append(torch.matmul(_beside(first), _beside(second.mT).mT) / len(self.table))
        return torch.cat(found)

    def mean_defect(self, means: Tensor) -> float:
        """The defect of orthogonal blocks, a root mean square over h, from means: ‖N_g N_h - N_gh‖² is 2 n - 2 <…>."""
        kept = (self.blocks * means).flatten(1).sum(1) / (self.blocks.shape[1] * self.blocks.shape[2])
        return float((2 - 2 * kept).clamp_min(0).max().sqrt())

    def defect(self) -> float:
        """The largest ‖N_g N_h - N_gh‖ / ‖N_gh‖."""
        worst = []
        for g, products in enumerate(self.table):
            wanted = self.blocks[products]
            gap = self.blocks[g] @ self.blocks[:, self.origin[g]] - wanted
            worst.append((gap.flatten(1).norm(dim=1) / wanted.flatten(1).norm(dim=1)).max())
        return float(torch.stack(worst).max())


def newton(
    matrices: Sequence[Tensor], table: Tensor, *, orthogonal: bool = False, rounds: int = 12, parents: int = 1
) -> list[Tensor]:
    """An almost-homomorphism made one: N_g <- mean_h N_gh N_h⁻¹, as long as the defect falls.

    Args:
        matrices: N_g for each element of the group, invertible.
        table: The group's multiplication table, 0 the identity.
        orthogonal: Whether the matrices are orthogonal and shall stay so.
        rounds: At most so many steps.
        parents: How many parents the space is nested in, which the matrices move as wholes.
    """
    current = _Blocks.of(matrices, table, parents)
    found = _orthogonal(current, rounds) if orthogonal else _invertible(current, rounds)
    return found.matrices()


def _invertible(current: _Blocks, rounds: int) -> _Blocks:
    defect = current.defect()
    for _ in range(rounds):
        new = current.with_blocks(current.means(torch.linalg.pinv(current.blocks)))
        improved = new.defect()
        if not improved < defect:
            break
        current, defect = new, improved
    return current


def _orthogonal(current: _Blocks, rounds: int) -> _Blocks:
    means = current.means(current.blocks.mT)
    defect = current.mean_defect(means)
    for _ in range(rounds):
        new = current.with_blocks(nearest_orthogonal(means))
        if defect < _SQUARES:  # too small for the difference of two numbers near 1: what is left now is its square
            return new.with_blocks(nearest_orthogonal(new.means(new.blocks.mT)))
        means = new.means(new.blocks.mT)
        improved = new.mean_defect(means)
        if not improved < defect:
            break
        current, defect = new, improved
    return current


def _beside(blocks: Tensor) -> Tensor:
    """(…, elements, parents, d, d) blocks as (…, parents, d, elements · d): side by side, so that a product adds up."""
    return blocks.movedim(-4, -2).flatten(-2)


def linear_defect(matrices: Sequence[Tensor], table: Tensor, parents: int = 1) -> float:
    """The largest ‖N_g N_h - N_gh‖ / ‖N_gh‖; arguments as `newton`."""
    return _Blocks.of(matrices, table, parents).defect()
