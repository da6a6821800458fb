"""Which elements of a set are redundant: unread, silent and duplicate ones (paper I, section 5.1, "Submodels").

* *unread*: everything that reads it is zero (a zero column), whatever is written into it;
* *silent*: everything that is written into it is zero (a zero row), whatever reads it;
* *duplicate*: what is written into it is what is written into another one, times a factor that the space's action
  allows: 1, a sign (odd activations), a positive number (ReLU), any (powers).

The rules look at numbers, not at the computation.  What they propose is sound when the space is made by one pointwise
activation and read by linear maps, as in an MLP, and is tried on the network itself otherwise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.actions.reduction.maps import Step
from graphws.actions.reduction.slices import Place, Tensors, slices
from graphws.graph import Action

_SCALED = (Action.SCALING, Action.MONOMIAL)
_SIGNED = (Action.SIGNED, Action.MONOMIAL)
CHUNK = 256
"""Elements whose distances from all others are held at once."""


def typical(norms: Tensor) -> Tensor:
    """The median of the norms that are not nearly 0: what a neuron of this layer usually has; 1 where all are 0."""
    alive = norms[norms > 1e-12 * norms.max()]
    return alive.median() if alive.numel() else torch.ones((), dtype=norms.dtype)


def _norms(tensors: Tensors, where: list[Place], elements: int) -> Tensor:
    """Norm of everything that an element owns at some places, every parameter in units of its typical slice."""
    squares = torch.zeros(elements, dtype=torch.float64)
    for place in where:
        norms = slices(tensors, place, elements).norm(dim=1)
        squares += (norms / typical(norms)) ** 2
    return squares.sqrt()


def inactive_figures(tensors: Tensors, where: list[Place], elements: int) -> tuple[Tensor, Tensor]:
    """How far each element is from unread and from silent; infinite where nothing reads or writes the space."""
    figures = []
    for written in (False, True):
        chosen = [place for place in where if place.written is written]
        unknown = torch.full((elements,), torch.inf, dtype=torch.float64)
        figures.append(_norms(tensors, chosen, elements) if chosen else unknown)
    return figures[0], figures[1]


def inactive(tensors: Tensors, where: list[Place], elements: int, tolerance: float) -> dict[int, Step]:
    """The unread and the silent elements."""
    unread, silent = inactive_figures(tensors, where, elements)
    found: dict[int, Step] = {}
    for j in range(elements):
        if unread[j] <= tolerance:
            found[j] = Step("unread", float(unread[j]))
        elif silent[j] <= tolerance:
            found[j] = Step("silent", float(silent[j]))
    return found


class Distances:
    """Distances between the elements of a set, up to the factor that the action allows.

    Args:
        tensors: The parameters.
        where: Places of the space; only the written ones count.
        elements: Number of elements.
        action: The space's action.
    """

    def __init__(self, tensors: Tensors, where: list[Place], elements: int, action: Action) -> None:
        written = [(place, slices(tensors, place, elements)) for place in where if place.written]
        ones = [block for place, block in written if place.power == 1]
        self.size = torch.ones(elements, dtype=torch.float64)
        if action in _SCALED and ones:
            norms = torch.cat(ones, dim=1).norm(dim=1)
            self.size = torch.where(norms > 0, norms, 1.0)
        rest = [(place.power, block) for place, block in written if place.power != 1]
        joined = ([(1, torch.cat(ones, dim=1))] if ones else []) + rest
        self.blocks = [(power, block / self.size.unsqueeze(1) ** power) for power, block in joined]
        self.units = [typical(block.norm(dim=1)) for _, block in self.blocks]
        odd = [block / unit for (power, block), unit in zip(self.blocks, self.units, strict=True) if power % 2]
        self.odd = torch.cat(odd, dim=1) if odd and action in _SIGNED else None
        self.sketch = self._sketch()

    def _sketch(self) -> Tensor:
        """One number an element, of its widest block: two elements cannot be nearer than their numbers differ."""
        if not self.blocks:
            return torch.zeros(len(self.size), dtype=torch.float64)
        widest = max(range(len(self.blocks)), key=lambda k: self.blocks[k][1].shape[1])
        block, unit = self.blocks[widest][1], self.units[widest]
        direction = torch.randn(block.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        self.reach = torch.maximum(block.norm(dim=1), unit) / unit
        sketch: Tensor = (block @ (direction / direction.norm()) / unit).abs()
        return sketch

    def candidates(self, element: int, others: Tensor, tolerance: float) -> Tensor:
        """Which of the others may be within the tolerance of an element: a cheap test that misses none."""
        reach = tolerance * torch.maximum(self.reach[others], self.reach[element])
        near: Tensor = (self.sketch[others] - self.sketch[element]).abs() <= reach + 1e-12
        return near

    def signs(self, first: Tensor, others: Tensor) -> Tensor:
        """The signs that bring other elements nearest to the first."""
        if self.odd is None:
            return torch.ones(len(others), dtype=torch.float64)
        product = (self.odd[others] * self.odd[first]).sum(1)
        return torch.where(product < 0, -1.0, 1.0).double()

    def between(self, first: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
        """Distances of pairs, (pairs,), and the factors s with others ≈ s · first.

        A distance is ‖u - s v‖ over the larger of ‖u‖, ‖v‖ and the typical norm, u and v holding a row and its bias;
        parameters of another power (a running variance) count on their own, and the largest distance decides.

        Args:
            first: One element for each pair, or one for all.
            others: The other elements, (pairs,).
        """
        signs = self.signs(first, others)
        distance = torch.zeros(len(others), dtype=torch.float64)
        for (power, block), unit in zip(self.blocks, self.units, strict=True):
            ours, theirs = block[first], block[others]
            gap = (theirs - signs.unsqueeze(1) ** power * ours).norm(dim=1)
            scale = torch.maximum(theirs.norm(dim=1), ours.norm(dim=1)).clamp_min(float(unit))
            distance = torch.maximum(distance, gap / scale)
        return distance, signs * self.size[others] / self.size[first]

    def table(self, rows: Tensor) -> Tensor:
        """Distances as in `between` of the elements `rows` from all, (rows, elements), to half the digits."""
        distance = torch.zeros(len(rows), len(self.size), dtype=torch.float64)
        signs = torch.ones_like(distance)
        if self.odd is not None:
            signs = torch.where(self.odd[rows] @ self.odd.mT < 0, -1.0, 1.0).double()
        for (power, block), unit in zip(self.blocks, self.units, strict=True):
            norms = block.norm(dim=1)
            square = norms[rows].square().unsqueeze(1) + norms.square() - 2 * signs**power * (block[rows] @ block.mT)
            scale = torch.maximum(norms[rows].unsqueeze(1), norms).clamp_min(float(unit))
            distance = torch.maximum(distance, square.clamp_min(0).sqrt() / scale)
        return distance


def duplicate_figures(distances: Distances, elements: int) -> Tensor:
    """For each element but the first, the distance to the nearest one before it."""
    found = []
    for rows in torch.arange(1, elements).split(CHUNK):
        later = torch.arange(elements) >= rows.unsqueeze(1)
        nearest = distances.table(rows).masked_fill(later, torch.inf).argmin(1)
        found.append(distances.between(nearest, rows)[0])
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)


def duplicates(distances: Distances, elements: int, tolerance: float) -> dict[int, Step]:
    """Elements that copy an earlier one that stays."""
    if not distances.blocks:
        return {}
    found: dict[int, Step] = {}
    left = torch.arange(elements)
    while len(left) > 1:
        first, others = int(left[0]), left[1:]
        candidates = others[distances.candidates(first, others, tolerance)]
        distance, factors = distances.between(left[:1], candidates)
        near = distance <= tolerance
        for j, figure, factor in zip(candidates[near].tolist(), distance[near], factors[near], strict=True):
            found[j] = Step("duplicate", float(figure), first, float(factor))
        left = others[~torch.isin(others, candidates[near])]
    return found
