"""What a reduction gives: the smaller network, how it sits in the large one, and what was left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.reduction.maps import SpaceMap
from graphws.actions.reduction.tolerance import Tolerance
from graphws.errors import GraphError
from graphws.graph import GroupElement, LinearMap, Monomial, NetworkGraph, Weights
from graphws.graph.element import SpaceElement


@dataclass(frozen=True, eq=False)
class Reduction:
    """A smaller network with the same function (paper I, remark 5.2).

    Attributes:
        source: The graph before.
        graph: The graph after.
        weights: The numbers after, a batch of one in the type that they had.
        maps: For each space that moves, how it answers to the one before.
        left_alone: For each space that was not searched, or where something redundant had to stay, the reason.
        tolerances: For each rule, what counts as zero.
        change: How much the outputs moved, relative to their spread.
        allowed: How much they might have.
    """

    source: NetworkGraph
    graph: NetworkGraph
    weights: Weights
    maps: Mapping[str, SpaceMap]
    left_alone: Mapping[str, str]
    tolerances: Mapping[str, Tolerance]
    change: float
    allowed: float

    @property
    def removed(self) -> int:
        """How many elements went, of all spaces together."""
        return sum(m.size - m.reduced for m in self.maps.values())

    def equivalent(self) -> Weights:
        """θ' = β(θ̃): the large network's parameters that come from the small one (definition 3.2).

        Law: its function is that of `weights`; what is inactive is zero, what is redundant is an exact copy.
        """
        tensors = {}
        for parameter in self.source.parameters:
            tensor = self.weights[parameter.name].double()
            for k, axis in enumerate(parameter.axes):
                matrix = self._embedding(axis.space, axis.power)
                if matrix is not None:
                    tensor = torch.movedim(torch.tensordot(tensor, matrix, dims=([k + 1], [1])), -1, k + 1)
            tensors[parameter.name] = tensor.to(self.weights.dtype)
        return Weights(self.source, tensors)

    def _embedding(self, space: str, power: int) -> Tensor | None:
        """The matrix (before, after) that β applies to an axis; None for the identity."""
        root = self.source.lineage(space)[0].name
        found = self.maps.get(space) if space in self.maps else self.maps.get(root)
        if found is None or (found.basis is None and found.size == found.reduced):
            return None
        if found.basis is not None:
            return found.basis
        inner = self.source.extent(space) // found.size
        if power < 0:
            matrix = found.alpha_star.mT
        else:
            matrix = found.before
            matrix = torch.where(matrix != 0, matrix**power, 0.0)
        return matrix if inner == 1 else torch.kron(matrix, torch.eye(inner, dtype=matrix.dtype))

    def lift(self, element: GroupElement) -> GroupElement:
        """γ: a latent symmetry of the small network as one of the large (equation 2).

        Copies of a neuron move as a block, inactive neurons stay.

        Raises:
            GraphError: Where neurons with different numbers of copies are exchanged: no symmetry does that.
        """
        if element.graph != self.graph:
            raise GraphError("this group element belongs to another graph than the reduced one")
        lifted = {}
        for name, k in element.maps.items():
            found = self.maps.get(name)
            lifted[name] = k if found is None or found.size == found.reduced else _lift(found, k)
        return GroupElement(self.source, lifted)

    def summary(self) -> str:
        """What was removed and what was left alone, in lines."""
        lines = []
        for name, found in self.maps.items():
            if found.size > found.reduced:
                counts = Counter(removal.reason for removal in found.removals)
                what = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))
                lines.append(f"{name}: {found.size} -> {found.reduced} ({what})")
        lines += [f"{name}: left alone, {why}" for name, why in self.left_alone.items()]
        used = ", ".join(f"{rule} {tolerance}" for rule, tolerance in self.tolerances.items())
        numbers = f"{self.source.numel:,} -> {self.graph.numel:,} numbers"
        lines.append(f"{numbers}; outputs change by {self.change:.1e} (allowed {self.allowed:.1e}); tolerance: {used}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()


def _lift(found: SpaceMap, element: SpaceElement) -> SpaceElement:
    if found.basis is not None:
        inside = found.basis @ element.matrix() @ found.basis.mT
        outside = torch.eye(found.size, dtype=torch.float64) - found.basis @ found.basis.mT
        return LinearMap(inside + outside)
    if isinstance(element, LinearMap):
        raise GraphError(f"space {found.space!r}: a matrix acts on a space of neurons")
    perm = torch.arange(found.size)
    scale = torch.ones(found.size, dtype=torch.float64)
    copies = [(found.copies == j).nonzero().flatten().tolist() for j in range(found.reduced)]
    for i, j in enumerate(element.perm.tolist()):
        if len(copies[i]) != len(copies[j]):
            raise GraphError(
                f"space {found.space!r}: elements {i} and {j} have {len(copies[i])} and {len(copies[j])} copies, which "
                "no symmetry of the large network exchanges"
            )
        factor = 1.0 if element.scale is None else float(element.scale[i])
        for target, origin in zip(copies[i], copies[j], strict=True):
            perm[target] = origin
            scale[target] = factor * found.scale[target] / found.scale[origin]
    return Monomial(perm, scale)
