"""Changing the width of free axes: d_0 to d_0' before the layers, and back where the output is a network.

Free indices may be mixed at will without touching equivariance (paper D, appendix J), and layers cost the square of
their width, so wide inputs (3072 pixels) are mapped down once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from graphws.errors import UsageError, nearest
from graphws.graph import NetworkGraph
from graphws.layers.features import Features


def resized(graph: NetworkGraph, sizes: Mapping[str, int]) -> NetworkGraph:
    """The graph with some free spaces of another size.

    Raises:
        UsageError: On an unknown space, one that is not free, or a size that is not between 1 and its own.
    """
    for name, size in sizes.items():
        known = {space.name: space for space in graph.spaces}
        if name not in known:
            raise UsageError(f"reduce: no space {name!r} in this graph" + nearest(name, known))
        space = known[name]
        if space.moves:
            raise UsageError(f"reduce: {name!r} is a {space.kind} space; only free spaces can be reduced")
        if not 1 <= size <= space.size:
            raise UsageError(f"reduce: {name!r} has {space.size} entries, a reduction to {size} is wider than its axis")
        graph = graph.replace_space(replace(space, size=size))
    return graph


class FreeAxes(nn.Module):
    """Maps free axes from the sizes in one graph to those in another, linearly, each parameter with its own matrices.

    Args:
        graph: The graph that comes in.
        target: The same graph with other sizes of free spaces.
        channels: Channels per entry (kept).

    Shapes:
        Features of `graph` -> Features of `target`.
    """

    def __init__(self, graph: NetworkGraph, target: NetworkGraph, channels: int = 1) -> None:
        super().__init__()
        self.graph, self.target, self.channels = graph, target, channels
        self.maps = nn.ParameterDict()
        for parameter in graph.parameters:
            for place, (size, new) in self._changes(parameter.name).items():
                matrix = torch.randn(size, new) / math.sqrt(size)
                self.maps[f"{parameter.name}:{place}"] = nn.Parameter(matrix)

    def _frees(self, graph: NetworkGraph, parameter: str) -> list[int]:
        layout = graph.layout(parameter)
        return [n for n, moves in zip(layout.split, layout.moving, strict=True) if not moves]

    def _changes(self, parameter: str) -> dict[int, tuple[int, int]]:
        before, after = self._frees(self.graph, parameter), self._frees(self.target, parameter)
        return {k: pair for k, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]}

    def forward(self, features: Features) -> Features:
        """Applies the maps."""
        return Features(self.target, {name: self._map(name, x) for name, x in features.tensors.items()}, self.channels)

    def _map(self, parameter: str, x: Tensor) -> Tensor:
        changes = self._changes(parameter)
        if not changes:
            return x
        frees = self._frees(self.graph, parameter)
        lead = x.ndim - 1
        x = x.unflatten(-1, (*frees, self.channels))
        for place in changes:
            x = torch.movedim(torch.movedim(x, lead + place, -1) @ self.maps[f"{parameter}:{place}"], -1, lead + place)
        return x.flatten(lead)
