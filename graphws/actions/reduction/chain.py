"""The hidden layers of an MLP, read off its graph."""

from __future__ import annotations

import itertools

from graphws.actions.reduction.constants import Layer, layer_of
from graphws.graph import NetworkGraph


def chain_of(graph: NetworkGraph) -> list[tuple[str, Layer]]:
    """The hidden layers of an MLP, first to last, each with its space; none where the graph is no MLP: a chain of
    linear maps and activations."""
    found = [(s.name, layer) for s in graph.spaces if s.moves and (layer := layer_of(graph, s.name)) is not None]
    chained = all(list(before.readers) == [after.weight] for (_, before), (_, after) in itertools.pairwise(found))
    if not found or not chained or len(found[-1][1].readers) != 1 or len(found) != sum(s.moves for s in graph.spaces):
        return []
    return found
