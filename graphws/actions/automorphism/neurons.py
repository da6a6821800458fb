"""A network as a coloured structure: neurons are vertices, weights are labels on tuples of neurons.

An automorphism is a relabelling of the neurons, inputs and outputs included, under which every weight stays what it is.
Where signs are allowed (odd activations), a neuron i becomes two vertices, i and -i, and a weight w two: w between
equal signs, -w between different ones; a signed permutation of the neurons is then a plain permutation of the vertices
that keeps each with its partner.

Taps of kernels and pixels of feature maps are vertices too, and move as pictures do: two of them are labelled by the
inner product of their places, seen from the centre, within a space and between spaces.  What keeps all of these is one
turn or mirror of the plane.

Weights count as equal when they differ by less than a tolerance: sorted values fall into one class as long as
neighbours are that near.  Classes are only a sieve; every automorphism that is found is checked on the weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.graph import Action, NetworkGraph

_ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def _signed64(value: int) -> int:
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def mix(values: Tensor, salt: int = 0) -> Tensor:
    """A well-spread 64-bit number for each whole number: the same for the same, whatever the order.

    Sums of mixed numbers identify multisets, up to collisions, which can only make the sieve coarser.
    """
    x = values + _signed64(_ODD[0] * (2 * salt + 1))
    x = (x ^ (x >> 30)) * _signed64(_ODD[1])
    x = (x ^ (x >> 27)) * _signed64(_ODD[2])
    return x ^ (x >> 31)


def classes(values: Tensor, tolerance: float) -> Tensor:
    """Numbers that are the same for values nearer to one another than the tolerance (chains included)."""
    flat, order = values.flatten().sort()
    fresh = torch.zeros(len(flat), dtype=torch.long)
    fresh[1:] = (flat.diff() > tolerance).long()
    found = torch.empty_like(fresh)
    found[order] = fresh.cumsum(0)
    return found.reshape(values.shape)


@dataclass(frozen=True, eq=False)
class LabelledParameter:
    """One parameter on doubled axes.

    Args:
        spaces: Space of each axis.
        labels: Classes of the values.
    """

    spaces: tuple[str, ...]
    labels: Tensor


class Neurons:
    """The vertices of a network and the labels between them.

    Args:
        graph: The graph.
        tensors: Its parameters, without a batch axis.
        movable: Free spaces whose elements may be permuted.
        signed: Spaces whose elements may change sign.
        tolerance: Below which two weights count as equal, relative to a parameter's root mean square.
        places: Rows and columns of the spaces whose elements are the taps or pixels of a grid.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        tensors: Mapping[str, Tensor],
        movable: Collection[str],
        signed: Collection[str],
        tolerance: float,
        places: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self.graph = graph
        self.signed = frozenset(signed)
        self.sizes = {s.name: graph.extent(s.name) for s in graph.spaces}
        self.start: dict[str, int] = {}
        total = 0
        for name, size in self.sizes.items():
            self.start[name] = total
            total += size * (2 if name in self.signed else 1)
        self.vertices = total
        self.colours = self._first_colours(movable)
        self.partner = self._partners()
        self.blocks = [self._block(p.name, tensors[p.name], tolerance) for p in graph.parameters if p.axes]
        self.plane = _plane(places or {})
        self.blocks += self.plane

    def part(self, space: str) -> slice:
        """Where the vertices of a space stand."""
        begin = self.start[space]
        return slice(begin, begin + self.sizes[space] * (2 if space in self.signed else 1))

    def _first_colours(self, movable: Collection[str]) -> Tensor:
        colours = torch.zeros(self.vertices, dtype=torch.long)
        for k, space in enumerate(self.graph.spaces):
            part = self.part(space.name)
            fixed = not space.moves and space.name not in movable
            index = torch.arange(part.stop - part.start) if fixed else torch.zeros(part.stop - part.start)
            colours[part] = mix(index.long(), salt=1000 + k)
        return colours

    def _partners(self) -> Tensor:
        partner = torch.arange(self.vertices)
        for name in self.signed:
            part, size = self.part(name), self.sizes[name]
            partner[part] = partner[part].roll(size)
        return partner

    def _block(self, name: str, tensor: Tensor, tolerance: float) -> LabelledParameter:
        parameter = self.graph.parameter(name)
        doubled = tensor
        for k, axis in enumerate(parameter.axes):
            if axis.space in self.signed:
                doubled = torch.cat([doubled, doubled if axis.power % 2 == 0 else -doubled], dim=k)
        scale = float(tensor.square().mean().sqrt()) or 1.0
        labels = classes(doubled, tolerance * scale)
        positions = [self._index(k, labels.ndim, labels.shape[k]) for k in range(labels.ndim)]
        for a, b in itertools.combinations(range(labels.ndim), 2):
            if parameter.axes[a].space == parameter.axes[b].space:  # the diagonal of a weight of a space with itself
                labels = labels * 2 + (positions[a] == positions[b]).long()
        return LabelledParameter(parameter.spaces, labels)

    @staticmethod
    def _index(axis: int, ndim: int, length: int) -> Tensor:
        shape = [1] * ndim
        shape[axis] = length
        return torch.arange(length).reshape(shape)

    def refine(self, colours: Tensor) -> Tensor:
        """The coarsest colouring below `colours` in which equal neurons see equal labels and colours around them.

        Law: it commutes with automorphisms, and colours of different calls can be compared.
        """
        count = len(colours.unique())
        while True:
            seen = mix(colours, salt=1) * 3 + mix(colours[self.partner], salt=2)
            for k, block in enumerate(self.blocks):
                self._see(colours, seen, block, k)
            for space in self.graph.spaces:
                if space.parent is not None:
                    self._see_family(colours, seen, space.name, space.parent, space.size)
            colours = mix(seen, salt=3)
            fresh = len(colours.unique())
            if fresh == count:
                return colours
            count = fresh

    def _see(self, colours: Tensor, seen: Tensor, block: LabelledParameter, number: int) -> None:
        ndim = block.labels.ndim
        around = []
        for k, space in enumerate(block.spaces):
            shape = [1] * ndim
            shape[k] = -1
            around.append(mix(colours[self.part(space)], salt=10 + k).reshape(shape))
        for k, space in enumerate(block.spaces):
            code = mix(block.labels, salt=20 + number)
            for j in range(ndim):
                if j != k:
                    code = mix(code + around[j], salt=30 + j)
            code = mix(code, salt=40 + k)
            others = [j for j in range(ndim) if j != k]
            seen[self.part(space)] += code.sum(others) if others else code

    def _see_family(self, colours: Tensor, seen: Tensor, child: str, parent: str, size: int) -> None:
        own, above = self.part(child), self.part(parent)
        copies = 2 if child in self.signed else 1
        over = colours[above][: self.sizes[parent]].repeat_interleave(size).repeat(copies)
        seen[own] += mix(over, salt=5)
        families = mix(colours[own], salt=6).reshape(copies, self.sizes[parent], size).sum((0, 2))
        seen[above] += families.repeat(2 if parent in self.signed else 1)


def _plane(grids: Mapping[str, tuple[int, int]]) -> list[LabelledParameter]:
    """Inner products of places: (2 row - rows + 1, 2 column - columns + 1), whole numbers."""
    seen = {}
    for name, (rows, columns) in grids.items():
        row, column = torch.meshgrid(
            2 * torch.arange(rows) - rows + 1, 2 * torch.arange(columns) - columns + 1, indexing="ij"
        )
        seen[name] = torch.stack([row.flatten(), column.flatten()], dim=1)
    pairs = itertools.combinations_with_replacement(seen, 2)
    return [LabelledParameter((a, b), seen[a] @ seen[b].mT) for a, b in pairs]


def signed_spaces(graph: NetworkGraph) -> set[str]:
    """The spaces whose action allows signs."""
    return {s.name for s in graph.spaces if s.moves and s.action in (Action.SIGNED, Action.MONOMIAL)}
