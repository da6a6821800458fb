"""What a reduction did to one space, as the maps of a submodel (paper I, definition 3.2 and equation 9).

For a space whose elements are permuted and scaled, every element either is a scaled copy of one that stays, or is
inactive.  That is paper I's matrix A with at most one entry in a row: ``copies`` says which element that stays an
element copies (-1: none), ``scale`` by how much its written values exceed those.  A power activation t^m makes a factor
s of what goes in a factor s^m of what comes out, so A and the matrix B of equation 9 differ: A = B^m.

For a linear space (no activation), α is any matrix with orthonormal columns, and α* its transpose.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class Removal(Shown):
    """One element that went, and why.

    Args:
        element: Its position in the original space; -1 for a dimension of a linear space, which is no element.
        reason: ``unread``, ``silent``, ``constant``, ``duplicate``, ``head`` or ``rank``.
        figure: How near to exactly redundant it was; relative, 0 is exact.
        of: The element that it copies, for a duplicate; that does its work, for a head.
    """

    element: int
    reason: str
    figure: float
    of: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class SpaceMap(Shown):
    """How the elements of a space answer to those of the reduced one.

    Args:
        space: Its name.
        size: Elements before, those of all parents together.
        keep: For each element after, which one it is; None where a linear map made new ones.
        copies: For each element before, the element after that it copies, or -1.
        scale: For each element before, its written values over those of that element.
        power: m where the activation is t^m, else 1.
        basis: (size, after) orthonormal columns; for a linear space, in place of `keep`.
        removals: What went.
    """

    space: str
    size: int
    keep: Tensor | None
    copies: Tensor
    scale: Tensor
    power: int = 1
    basis: Tensor | None = None
    removals: tuple[Removal, ...] = ()

    @staticmethod
    def identity(space: str, size: int, power: int = 1) -> SpaceMap:
        """Nothing removed."""
        every = torch.arange(size)
        return SpaceMap(space, size, every, every, torch.ones(size, dtype=torch.float64), power)

    @property
    def reduced(self) -> int:
        """Elements after."""
        if self.basis is not None:
            return self.basis.shape[1]
        assert self.keep is not None
        return len(self.keep)

    @property
    def alpha(self) -> Tensor:
        """A, (size, reduced): values of the small network's neurons to those of the large one, copies included."""
        return self._embedding(self.scale**self.power)

    @property
    def before(self) -> Tensor:
        """B, (size, reduced): the same before the activation, A σ(y) = σ(B y)."""
        return self._embedding(self.scale)

    @property
    def alpha_star(self) -> Tensor:
        """A*, (reduced, size), with A* A = 1: reads the neurons that stayed."""
        if self.basis is not None:
            return self.basis.mT
        assert self.keep is not None
        return torch.nn.functional.one_hot(self.keep, self.size).double()

    def widened(self, space: str, inner: int) -> SpaceMap:
        """The map of a space with `inner` elements in each of these, which they take along."""
        if inner == 1:
            return self
        assert self.keep is not None
        within = torch.arange(inner)
        copies = self.copies.unsqueeze(1) * inner + within
        copies = torch.where(self.copies.unsqueeze(1) >= 0, copies, -1).flatten()
        keep = (self.keep.unsqueeze(1) * inner + within).flatten()
        return SpaceMap(space, self.size * inner, keep, copies, self.scale.repeat_interleave(inner), self.power)

    def _embedding(self, scale: Tensor) -> Tensor:
        if self.basis is not None:
            return self.basis
        matrix = torch.zeros(self.size, self.reduced, dtype=torch.float64)
        active = (self.copies >= 0).nonzero().flatten()
        matrix[active, self.copies[active]] = scale[active]
        return matrix

    def without(self, removed: dict[int, Step]) -> SpaceMap:
        """After one more round: elements (numbered as they are now) that are removed, and what each copied."""
        assert self.keep is not None
        old = list(range(len(self.keep)))
        stay = [j for j in old if j not in removed]
        place = {j: k for k, j in enumerate(stay)}
        copied = {j: step.copies for j, step in removed.items()}
        target = torch.tensor([place.get(copied.get(j, j), -1) for j in old])  # type: ignore[arg-type]
        factor = torch.tensor([removed[j].scale if j in removed else 1.0 for j in old], dtype=torch.float64)
        active = self.copies >= 0
        below = self.copies.clamp_min(0)
        copies = torch.where(active, target[below], -1)
        scale = torch.where(copies >= 0, self.scale * factor[below], 1.0)
        names = self.keep.tolist()
        gone = tuple(
            Removal(names[j], step.reason, step.figure, None if step.of is None else names[step.of])
            for j, step in sorted(removed.items())
        )
        keep = self.keep[torch.tensor(stay, dtype=torch.long)]
        return SpaceMap(self.space, self.size, keep, copies, scale, self.power, None, self.removals + gone)


@dataclass(frozen=True)
class Step:
    """Why one element, numbered as it is now, may go.

    Args:
        reason: As in `Removal`.
        figure: As in `Removal`.
        of: The element that it copies, for a duplicate; that does its work, for a head.
        scale: Its written values over those of that element.
        value: The value that it always has, for a constant.
    """

    reason: str
    figure: float
    of: int | None = None
    scale: float = 1.0
    value: float = 0.0

    @property
    def copies(self) -> int | None:
        """The element whose value it has, up to the scale; a merged head is written anew and copies none."""
        return self.of if self.reason == "duplicate" else None
