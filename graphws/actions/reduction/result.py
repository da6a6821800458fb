"""What a reduction gives: the smaller network, how it sits in the large one, and what was left alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.pictures.joined_axes import convolves, picture_graph
from graphws.actions.reduction.lift import lift_blocks, lift_neurons
from graphws.actions.reduction.maps import SpaceMap
from graphws.actions.reduction.reading import reading
from graphws.actions.reduction.tolerance import Tolerance
from graphws.errors import GraphError
from graphws.graph import GroupElement, NetworkGraph, Parameter, Weights
from graphws.graph.element import SpaceElement
from graphws.shown import Shown


@dataclass(frozen=True, eq=False, repr=False)
class Reduction(Shown):
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
        refused: Why the network's own code does not run with these weights, though their graph does; empty where it
            runs, or was not given.
    """

    source: NetworkGraph
    graph: NetworkGraph
    weights: Weights
    maps: Mapping[str, SpaceMap]
    left_alone: Mapping[str, str]
    tolerances: Mapping[str, Tolerance]
    change: float
    allowed: float
    refused: str = ""

    @property
    def removed(self) -> int:
        """How many elements went, of all spaces together."""
        return sum(m.size - m.reduced for m in self.maps.values())

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Sizes before and after, of the spaces that lost something."""
        return {name: (m.size, m.reduced) for name, m in self.maps.items() if m.size > m.reduced}

    def equivalent(self) -> Weights:
        """θ' = β(θ̃): the large network's parameters that come from the small one (definition 3.2).

        Law: its function is that of `weights`; what is inactive is zero, what is redundant is an exact copy.
        """
        tensors = {
            p.name: self.embedded(p, self.weights[p.name].double(), batch=1).to(self.weights.dtype)
            for p in self.source.parameters
        }
        return Weights(self.source, tensors)

    def embedded(self, parameter: Parameter, tensor: Tensor, batch: int = 0) -> Tensor:
        """β on one parameter of the small network: each axis follows its space.

        Args:
            parameter: The large network's, or its view as a picture graph.
            tensor: The small network's numbers.
            batch: Number of axes that stand before the parameter's own.
        """
        for k, axis in enumerate(parameter.axes):
            reads = axis.power < 0 or (parameter.name, k) in reading(self.source)
            matrix = None if axis.inner else self._embedding(axis.space, axis.power, reads)
            if matrix is not None:
                moved = torch.tensordot(tensor, matrix.to(tensor.dtype), dims=([k + batch], [1]))
                tensor = torch.movedim(moved, -1, k + batch)
        return tensor

    def _found(self, space: str) -> SpaceMap | None:
        """What became of a space, itself or along with the set that it is nested in; None where nothing did."""
        if all(known.name != space for known in self.source.spaces):
            return None
        found = self.maps.get(space) or self.maps.get(self.source.lineage(space)[0].name)
        if found is None or (found.basis is None and found.size == found.reduced):
            return None
        return found if found.basis is not None else found.widened(space, self.source.extent(space) // found.size)

    def _embedding(self, space: str, power: int, reads: bool) -> Tensor | None:
        """The matrix (before, after) that β applies to an axis; None for the identity."""
        found = self._found(space)
        if found is None or found.basis is not None:
            return None if found is None else found.basis
        if reads:
            return found.alpha_star.mT
        matrix = found.before
        return torch.where(matrix != 0, matrix**power, 0.0)

    def alpha(self, space: str) -> Tensor:
        """A, (before, after): values of the small network on a space to those of the large one."""
        found = self._found(space)
        return torch.eye(self.source.extent(space), dtype=torch.float64) if found is None else found.alpha

    def alpha_star(self, space: str) -> Tensor:
        """A*, (after, before), with A* A = 1."""
        found = self._found(space)
        return torch.eye(self.source.extent(space), dtype=torch.float64) if found is None else found.alpha_star

    def lift(self, element: GroupElement) -> GroupElement:
        """γ: a latent symmetry of the small network as one of the large (equation 2).

        Law: a homomorphism into the large network's group.  Copies of a neuron move as a block, inactive neurons and
        heads stay; where heads lost dimensions, those that are left out move along with their heads.

        Args:
            element: Of the reduced graph, or of its view as a picture graph; the result then is of the large one's.

        Raises:
            GraphError: Where neurons with different numbers of copies are exchanged: no symmetry does that.
        """
        source = self.source
        if element.graph != self.graph:
            if not convolves(self.graph) or element.graph != picture_graph(self.graph):
                raise GraphError("this group element belongs to another graph than the reduced one")
            source = picture_graph(source)
        return GroupElement(source, {name: self.lift_on(name, k) for name, k in element.maps.items()})

    def lift_on(self, space: str, element: SpaceElement) -> SpaceElement:
        """γ on one space; see `lift`."""
        found = self._found(space)
        if found is None:
            return element
        if found.basis is None:
            return lift_neurons(found, element)
        parent = self.source.space(space).parent
        families = self.source.extent(parent) if parent else 1
        kept = torch.zeros(1, dtype=torch.long)
        if parent:
            keep = self.maps[parent].keep if parent in self.maps else None
            kept = torch.arange(families) if keep is None else keep
        return lift_blocks(found.basis, element, families, kept)

    def summary(self) -> str:
        """What was removed and what was left alone, in lines."""
        lines = []
        for name, found in self.maps.items():
            if found.size > found.reduced:
                counts = Counter(removal.reason for removal in found.removals)
                what = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.items()))
                lines.append(f"{name}: {found.size} -> {found.reduced} ({what})")
        lines += [f"{name}: left alone, {why}" for name, why in self.left_alone.items()]
        if self.refused:
            lines.append(f"the network's own code does not take these weights, their graph does: {self.refused}")
        used = ", ".join(f"{rule} {tolerance}" for rule, tolerance in self.tolerances.items())
        numbers = f"{self.source.numel:,} -> {self.graph.numel:,} numbers"
        lines.append(f"{numbers}; outputs change by {self.change:.1e} (allowed {self.allowed:.1e}); tolerance: {used}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()
