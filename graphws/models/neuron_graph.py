"""Neurons as nodes and weights as edges: the structure that a graph neural network passes messages on.

A node is an element of a space: a neuron, a channel, a dimension of a head.  A parameter with one such axis is a
feature of its nodes, one with two or more joins them, entry by entry, in both directions.  All that is left of its
axes, the taps of a kernel, is folded into its features (`graphws.graph.layout`).

Inputs and outputs are free spaces, which no symmetry moves.  They are nodes, too (``free="neurons"``), where a
parameter joins them to one space that moves and follows them the other way: the inputs of the first weight, the outputs
of the last.  With ``free="channels"`` they are folded like taps, so that the first weight is a feature of the first
hidden neurons: for wide inputs, whose edges would be many.

    >>> from graphws.operations import mlp_graph
    >>> found = NeuronGraph(mlp_graph([2, 32, 32, 1]))
    >>> found.sites
    {'input': 2, 'hidden1': 32, 'hidden2': 32, 'output': 1}
    >>> for edges in found.edges:
    ...     print(edges)
    W1: input -> hidden1, 64 edges
    W1: hidden1 -> input, 64 edges
    W2: hidden1 -> hidden2, 1024 edges
    W2: hidden2 -> hidden1, 1024 edges
    W3: hidden2 -> output, 32 edges
    W3: output -> hidden2, 32 edges
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from graphws.errors import UsageError, WeightsError, nearest
from graphws.graph import NetworkGraph, Weights
from graphws.graph.layout import Layout

Free = Literal["neurons", "channels"]
"""What inputs and outputs are."""
NETWORK = ""
"""The site of numbers that belong to no neuron: one node, joined to all others; no space can be called so."""


@dataclass(frozen=True)
class End:
    """Where the entries of a parameter touch neurons.

    Attributes:
        site: The space.
        axes: The index axes that tell the neuron: its own behind those of its parents.
    """

    site: str
    axes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Edges:
    """Edges of one kind, one way.

    Attributes:
        parameter: Whose entries they are, in order; None for those between spaces and the spaces nested in them, or
            between the network and its neurons, which have no numbers of their own.
        source: Site of the neurons that send.
        target: Site of those that receive.
        index: (2, edges): who sends, who receives.
        forward: Whether they go from a later axis of the parameter to an earlier one: as data do where a weight's first
            axis is what it writes.
    """

    parameter: str | None
    source: str
    target: str
    index: Tensor
    forward: bool

    def __str__(self) -> str:
        names = [name or "the network" for name in (self.source, self.target)]
        return f"{self.parameter or 'link'}: {names[0]} -> {names[1]}, {self.index.shape[1]} edges"


class NeuronGraph:
    """Nodes and edges of the networks of a graph.

    Args:
        graph: Of the networks.
        free: ``neurons`` or ``channels``.

    Attributes:
        sites: How many neurons each space has that parameters or other spaces touch, in the graph's order.
        known: The free ones: each of their neurons is one of its own.
        ends: Of each parameter, in the order of its axes.
        edges: All of them, each way.

    Raises:
        UsageError: On a graph without parameters and on another `free`.
    """

    def __init__(self, graph: NetworkGraph, free: str = "neurons") -> None:
        if not graph.parameters:
            raise UsageError("messages go along weights, and these networks have no parameters")
        if free not in get_args(Free):
            words = " or ".join(get_args(Free))
            raise UsageError(f"free spaces are {words}, got {free!r}{nearest(free, get_args(Free))}")
        self.graph = graph
        taken = _joined_free(graph) if free == "neurons" else set()
        spaces = tuple(replace(space, kind="set") if space.name in taken else space for space in graph.spaces)
        self._inner = replace(graph, spaces=spaces)
        self.ends = {p.name: _ends(self._inner.layout(p.name)) for p in graph.parameters}
        touched = {name for ends in self.ends.values() for end in ends for name in self._lineage(end.site)}
        counts = {space.name: self._inner.extent(space.name) for space in spaces if space.name in touched}
        self.sites = counts | ({NETWORK: 1} if NETWORK in touched else {})
        self.known = taken & set(self.sites)
        self.edges = (*self._weights(), *self._links())

    def layout(self, parameter: str) -> Layout:
        """How a parameter is folded: neurons are index axes, all the rest channels."""
        return self._inner.layout(parameter)

    def features(self, weights: Weights, parameter: str) -> Float[Tensor, "entries batch free"]:
        """The numbers of each entry of a parameter, a row an entry.

        Raises:
            WeightsError: On networks of another structure.
        """
        if weights.graph is not self.graph and weights.graph.structure != self.graph.structure:
            raise WeightsError("these networks have other parameters than those that the model was built to read")
        kind = weights.floating if weights.floating.is_floating_point else torch.get_default_dtype()
        folded = self.layout(parameter).fold(weights[parameter].to(kind))
        return folded.reshape(len(folded), -1, folded.shape[-1]).transpose(0, 1)

    def neurons(self, parameter: str, end: End) -> Tensor:
        """(entries): which neuron of an end each entry touches."""
        layout = self.layout(parameter)
        found = torch.zeros(layout.sizes, dtype=torch.long)
        for axis in end.axes:
            size = layout.sizes[axis]
            here = torch.arange(size).reshape([-1 if k == axis else 1 for k in range(len(layout.sizes))])
            found = found * size + here
        return found.flatten()

    def at(self, site: str) -> tuple[str, ...]:
        """The parameters that are features of a site's neurons."""
        return tuple(name for name, ends in self.ends.items() if len(ends) == 1 and ends[0].site == site)

    def _lineage(self, site: str) -> list[str]:
        if site == NETWORK:
            return [NETWORK]
        return [space.name for space in self._inner.lineage(site) if space.moves]

    def _weights(self) -> Iterator[Edges]:
        for name, ends in self.ends.items():
            touched = [self.neurons(name, end) for end in ends] if len(ends) > 1 else []
            for one in range(len(touched)):
                for other in range(one + 1, len(touched)):
                    for source, target in ((other, one), (one, other)):
                        index = torch.stack([touched[source], touched[target]])
                        yield Edges(name, ends[source].site, ends[target].site, index, target < source)

    def _links(self) -> Iterator[Edges]:
        """Between parents and children, and between the network and all."""
        for site, count in self.sites.items():
            above = self._lineage(site)[-2:-1] + ([NETWORK] if NETWORK in self.sites and site != NETWORK else [])
            for parent in above:
                own = torch.arange(count)
                up = torch.stack([own, own // (count // self.sites[parent])])
                yield Edges(None, site, parent, up, True)
                yield Edges(None, parent, site, up.flip(0), False)


def _ends(layout: Layout) -> tuple[End, ...]:
    """The index axes that no other one is nested in, each behind its parents; the network where there is none."""
    parents = {axis.parent for axis in layout.index}
    found = []
    for position, axis in enumerate(layout.index):
        if position in parents:
            continue
        chain, above = [position], axis.parent
        while above is not None:
            chain.insert(0, above)
            above = layout.index[above].parent
        found.append(End(axis.space, tuple(chain)))
    return tuple(found) or (End(NETWORK, ()),)


def _joined_free(graph: NetworkGraph) -> set[str]:
    """Free spaces that a parameter joins to one space that moves, and follows the other way: inputs and outputs.

    Of several such axes of a parameter the first counts, so that the taps of a kernel do not.
    """
    found = set()
    for parameter in graph.parameters:
        ends = _ends(graph.layout(parameter.name))
        moving = [axis for axis in parameter.axes if any(space.moves for space in graph.lineage(axis.space))]
        if len(ends) != 1 or not moving:
            continue
        reads = moving[-1].power < 0
        other = (a.space for a in parameter.axes if a not in moving and (a.power < 0) != reads)
        if (name := next(other, None)) is not None:
            found.add(name)
    return found
