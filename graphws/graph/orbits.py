"""Orbits of the group on the entries of a parameter.

Two entries are in one orbit when some permutation in G carries one to the other.  For a weight between two sets there
is one orbit; free axes split it, one orbit an index; a space that labels several axes splits it by the equality pattern
of the indices (the diagonal of a residual d × d weight is an orbit of its own); a nested space by the pattern of the
parents too.  Statistics per orbit are exactly those that an equivariant normalisation may use (paper D, table 9).
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.graph.elements import elements
from graphws.graph.network import NetworkGraph


def orbits(graph: NetworkGraph, parameter: str) -> Tensor:
    """Labels 0, 1, … of shape ``graph.shape(parameter)``; entries with the same label form one orbit of G."""
    shape = graph.shape(parameter)
    label = torch.zeros(shape, dtype=torch.long)
    indices = elements(graph, parameter)
    coordinates: list[tuple[str, tuple[tuple[str, Tensor], ...]]] = []
    for k, name in enumerate(graph.parameter(parameter).spaces):
        below = graph.extent(name)
        chain: list[tuple[str, Tensor]] = []
        for space in graph.lineage(name):
            below //= space.size
            index = indices[k] // below
            if space.moves:
                chain.append((space.name, index))
            else:
                label = _refine(label, index % space.size, space.size)
        coordinates.append((name, tuple(chain)))
    chains = [entry for _, chain in coordinates for entry in chain]
    for a, (space_a, index_a) in enumerate(chains):
        for space_b, index_b in chains[a + 1 :]:
            if space_a == space_b:
                label = _refine(label, (index_a == index_b).long(), 2)
    return label.flatten().unique(return_inverse=True)[1].reshape(shape) if label.numel() else label


def _refine(label: Tensor, part: Tensor, parts: int) -> Tensor:
    return label * parts + part
