"""Wide free axes as published: every layer maps them down, works there, and maps them up again.

The maps are affine along the free axis, alike for all channels, with one summary of all entries taken off, which each
channel makes by attention along the moving axes.  Features stay as wide between layers as the networks are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphws.graph import NetworkGraph
from graphws.layers.features import Features
from graphws.layers.keys import state_key
from graphws.layers.published.layer import PairLayer
from graphws.layers.reduction import Reduction, free_sizes


class AxisMap(nn.Module):
    """A free axis of d numbers to one of d': x Γ + γ - (Σ a_i x_i) Λ, with a = softmax over entries i of x_i · q.

    Law: a permutation of the entries permutes what comes out.

    Args:
        before: d.
        after: d'.

    Shapes:
        (batch, entries, others, before) -> (batch, entries, others, after).
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.own = nn.Linear(before, after)
        self.others = nn.Linear(before, after, bias=False)
        self.query = nn.Parameter(torch.ones(before))

    @staticmethod
    def parameters_of(before: int, after: int) -> int:
        """How many parameters one has."""
        return before + 2 * before * after + after

    def forward(self, x: Tensor) -> Tensor:
        """Applies the map; see the class for shapes."""
        weight = (x @ self.query).softmax(1)
        summary = torch.einsum("bno,bnod->bod", weight, x)
        mapped: Tensor = self.own(x) - self.others(summary).unsqueeze(1)
        return mapped


class FreeAxisMaps(nn.Module):
    """Maps every free axis that a reduction changes, down or up.

    Args:
        graph: Graph of the networks.
        reduction: What is mapped to what, by size.
        back: Up instead of down.

    Shapes:
        Features of the graph -> features of ``reduction.inner(graph)``; with ``back`` the other way.
    """

    def __init__(self, graph: NetworkGraph, reduction: Reduction, back: bool = False) -> None:
        super().__init__()
        inner = reduction.inner(graph)
        self.graph = graph if back else inner
        self.maps, self._places = nn.ModuleDict(), {}
        for parameter in graph.parameters:
            sizes = free_sizes(graph, parameter.name), free_sizes(inner, parameter.name)
            before, after = sizes[::-1] if back else sizes
            self._places[parameter.name] = before
            for k, (a, b) in enumerate(zip(before, after, strict=True)):
                if a != b:
                    self.maps[self._key(parameter.name, k)] = AxisMap(a, b)

    @staticmethod
    def _key(parameter: str, place: int) -> str:
        return f"{state_key(parameter)}:{place}"

    @property
    def mapped(self) -> tuple[str, ...]:
        """The parameters of which some axis is mapped."""
        return tuple(
            n for n, sizes in self._places.items() if any(self._key(n, k) in self.maps for k in range(len(sizes)))
        )

    def forward(self, features: Features) -> Features:
        """Applies the maps."""
        tensors = {}
        for name, frees in self._places.items():
            x, sizes = features[name], [*frees, features.channels]
            for place in range(len(frees)):
                key = self._key(name, place)
                if key in self.maps:
                    spread = x.unflatten(-1, sizes).movedim(x.ndim - 1 + place, -1)
                    entries = spread.reshape(len(x), x.shape[1:-1].numel(), -1, sizes[place])
                    mapped = self.maps[key](entries)
                    sizes[place] = mapped.shape[-1]
                    x = mapped.view(*spread.shape[:-1], -1).movedim(-1, x.ndim - 1 + place).flatten(x.ndim - 1)
            tensors[name] = x
        return Features(self.graph, tensors, features.channels)


class ReducedPairLayer(nn.Module):
    """Down, a layer, up; where an axis was mapped a linear map of the channels of every entry is added, which skips it.

    Args:
        graph: Graph of the networks.
        reduction: What is mapped to what.
        layer: The layer on ``reduction.inner(graph)``.

    Shapes:
        Features with the layer's channels in -> features of the same graph with its channels out.
    """

    def __init__(self, graph: NetworkGraph, reduction: Reduction, layer: PairLayer) -> None:
        super().__init__()
        self.down = FreeAxisMaps(graph, reduction)
        self.layer = layer
        self.up = FreeAxisMaps(graph, reduction, back=True)
        self.skip = nn.ModuleDict(
            {state_key(name): nn.Linear(layer.in_channels, layer.out_channels) for name in self.down.mapped}
        )

    def forward(self, features: Features, moments: bool = False) -> Features:
        """Applies them; see the class for shapes."""
        features = features.settled
        written = self.up(self.layer(self.down(features), moments))
        tensors = dict(written.tensors)
        for name in self.down.mapped:
            entries = features[name].unflatten(-1, (-1, features.channels))
            tensors[name] = tensors[name] + self.skip[state_key(name)](entries).flatten(-2)
        return Features(features.graph, tensors, written.channels)
