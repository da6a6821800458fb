"""Orbits of neurons under a latent action, and the quotient network (the network's graph, folded along its symmetry).

A group that acts on every space of a network, and leaves its weights alone, maps neurons to neurons: its *orbits*.
Where signs or scales come along, the members of an orbit are fixed multiples of one another on every activation that
the group fixes; if going round multiplies a neuron by something else than 1, that activation must be 0.

The *quotient network* has one neuron for each orbit.  A member's row stands for all; what reads an orbit reads the sum.

Law: on inputs x that the group fixes, x = lift(x̄), the network computes f(x) = lift(f̄(x̄)), f̄ being the quotient;
exactly for an exact symmetry, and rows are averaged over orbits for an approximate one.

>>> import torch
>>> from graphws.actions.analysis.quotient import orbits_of, quotient
>>> from graphws.graph import GroupElement, Monomial, Weights
>>> from graphws.operations import mlp_graph
>>> graph = mlp_graph([2, 2, 1], bias=False)
>>> weights = Weights(graph, {"W1": torch.tensor([[[1.0, 2.0], [2.0, 1.0]]]), "W2": torch.tensor([[[3.0, 3.0]]])})
>>> swap = Monomial(torch.tensor([1, 0]))
>>> small = quotient(weights, [GroupElement(graph, {"input": swap, "hidden1": swap})])
>>> small["W1"].tolist(), small["W2"].tolist()
([[[3.0]]], [[[6.0]]])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import networkx as nx
import torch
from torch import Tensor

from graphws.actions.reduction.shrink import resized
from graphws.errors import GraphError
from graphws.graph import GroupElement, LinearMap, Monomial, NetworkGraph, Weights, to_networkx
from graphws.shown import Shown

_SAME = 1e-6


@dataclass(frozen=True, eq=False, repr=False)
class Orbits(Shown):
    """The orbits of one space.

    Attributes:
        label: (elements,) the orbit of each element, numbered by their first members.
        ratio: (elements,) values of each over those of its orbit's first member, on activations that the group fixes.
        vanishing: (orbits,) whether such activations are 0 on the orbit.
    """

    label: Tensor
    ratio: Tensor
    vanishing: Tensor

    @property
    def count(self) -> int:
        """How many orbits there are."""
        return len(self.vanishing)

    @property
    def sizes(self) -> Tensor:
        """(orbits,) how many members each has."""
        return torch.bincount(self.label, minlength=self.count)

    @property
    def lift(self) -> Tensor:
        """(elements, orbits that do not vanish): values on orbits to values on elements that the group fixes."""
        matrix = torch.zeros(len(self.label), self.count, dtype=torch.float64)
        matrix[torch.arange(len(self.label)), self.label] = self.ratio
        return matrix[:, ~self.vanishing]


def orbits_of(graph: NetworkGraph, elements: Sequence[GroupElement]) -> dict[str, Orbits]:
    """The orbits of every space under the group that some elements generate.

    Raises:
        GraphError: Where an element belongs to another graph, is one for each of several networks, or acts by a matrix.
    """
    found = {}
    for space in graph.spaces:
        maps = []
        for element in elements:
            if element.graph != graph:
                raise GraphError("a group element belongs to another graph")
            here = element.maps.get(space.name)
            if isinstance(here, LinearMap):
                raise GraphError(f"space {space.name!r}: a matrix acts there, which has no orbits of neurons")
            if here is not None and here.batch is not None:
                raise GraphError(f"space {space.name!r}: one element for all networks is needed, not a batch")
            if here is not None:
                maps.append(here)
        found[space.name] = _orbits(graph.extent(space.name), maps)
    return found


def _orbits(size: int, maps: Sequence[Monomial]) -> Orbits:
    """x[i] = scale[i] · x[perm[i]] for fixed activations: follow the equations from neuron to neuron."""
    edges: list[list[tuple[int, float]]] = [[] for _ in range(size)]
    for found in maps:
        scale = [1.0] * size if found.scale is None else found.scale.tolist()
        for i, j in enumerate(found.perm.tolist()):
            edges[i].append((j, 1 / scale[i]))
            edges[j].append((i, scale[i]))
    label, ratio = [-1] * size, [1.0] * size
    vanishing: list[bool] = []
    for first in range(size):
        if label[first] >= 0:
            continue
        number, zero, waiting = len(vanishing), False, [first]
        label[first] = number
        while waiting:
            i = waiting.pop()
            for j, factor in edges[i]:
                if label[j] < 0:
                    label[j], ratio[j] = number, ratio[i] * factor
                    waiting.append(j)
                elif abs(ratio[j] - ratio[i] * factor) > _SAME * abs(ratio[j]):
                    zero = True
        vanishing.append(zero)
    return Orbits(torch.tensor(label), torch.tensor(ratio, dtype=torch.float64), torch.tensor(vanishing))


def quotient(weights: Weights, elements: Sequence[GroupElement]) -> Weights:
    """The quotient network; its graph has the orbits that do not vanish for elements, and no storage.

    Raises:
        GraphError: As `orbits_of`; where elements of nested spaces are moved, or nothing of a space is left.
    """
    graph = weights.graph
    orbits = orbits_of(graph, elements)
    bare = tuple(replace(p, storage=None) for p in graph.parameters)
    folded = NetworkGraph(graph.spaces, bare).with_computation_of(graph)
    for space in graph.spaces:
        here = orbits[space.name]
        if here.count == len(here.label) and not bool(here.vanishing.any()):
            continue
        if space.parent is not None or any(s.parent == space.name for s in graph.spaces):
            raise GraphError(f"space {space.name!r}: quotients of nested spaces are not taken")
        left = int((~here.vanishing).sum())
        if not left:
            raise GraphError(f"space {space.name!r}: every activation that the group fixes is 0, so nothing is left")
        folded = resized(folded, replace(space, size=left))
    tensors = {}
    for parameter in graph.parameters:
        tensor = weights[parameter.name].double()
        for k, axis in enumerate(parameter.axes):
            matrix = _fold(orbits[axis.space], axis.power)
            tensor = torch.movedim(torch.tensordot(tensor, matrix, dims=([k + 1], [0])), -1, k + 1)
        tensors[parameter.name] = tensor.to(weights.dtype)
    return Weights(folded, tensors)


def _fold(orbits: Orbits, power: int) -> Tensor:
    """(elements, orbits): means of what is written, sums of what is read, members in units of the first."""
    lift = orbits.lift
    signs = torch.where(lift != 0, lift.abs() ** -power * lift.sign() ** power, 0.0)
    return signs if power < 0 else signs / (lift != 0).sum(0)


def orbit_view(weights: Weights, elements: Sequence[GroupElement], network: int = 0) -> nx.MultiDiGraph:
    """The neuron graph of a network with every neuron's orbit on it.

    Nodes have, besides what `graphws.graph.to_networkx` gives, ``orbit`` (a number within the space), ``orbit_size``
    and ``ratio``; `graphws.graph.from_networkx` still reads the graph.
    """
    view = to_networkx(weights, network)
    mark_orbits(view, orbits_of(weights.graph, elements))
    return view


def mark_orbits(view: nx.MultiDiGraph, orbits: Mapping[str, Orbits]) -> None:
    """Writes the orbits on the nodes of a neuron graph."""
    for name, found in orbits.items():
        sizes = found.sizes.tolist()
        for index, (orbit, ratio) in enumerate(zip(found.label.tolist(), found.ratio.tolist(), strict=True)):
            view.nodes[(name, index)].update(orbit=orbit, orbit_size=sizes[orbit], ratio=ratio)
