"""Invariants: the linear maps from features to plain vectors that no group element changes (paper D, table 9).

There is one for each orbit of entries: every tensor pooled over all its index axes (over the diagonal apart, where a
space repeats), free channels kept apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from graphws.graph import NetworkGraph
from graphws.layers.features import Features
from graphws.layers.fused import edges
from graphws.layers.keys import state_key
from graphws.layers.pattern import orbit_slots
from graphws.layers.plan import PooledSlot, role
from graphws.layers.schedule import EdgeReading, summary_readings
from graphws.layers.summaries import Summaries, module_for
from graphws.layers.union.features import UnionFeatures
from graphws.layers.union.junctions import Source
from graphws.layers.union.summaries import UnionSummaries
from graphws.pooling import LearnedPooling, learned_pooling, pooling_named


@dataclass(frozen=True)
class _Prepared:
    """What is pooled on one graph: orbits with their sources, and the tensors that a kernel can read."""

    graph: NetworkGraph
    sources: tuple[tuple[str, PooledSlot], ...]
    readings: dict[str, EdgeReading]


class Invariants(nn.Module):
    """All invariants of features, side by side.

    Args:
        graphs: The graphs that may come.
        channels: Channels per entry.
        pool: How entries are summarised.
        share: ``none``: each parameter alone; ``role``: parameters of a role are averaged.
        heads: Heads of learned poolings.

    Attributes:
        orbits: For each orbit, by name, how many numbers it gives.
        fused: Lets the kernels of `graphws.layers.fused.edges` run where they can; the values are the same without.

    Shapes:
        Features -> (batch, width).
    """

    def __init__(
        self, graphs: Sequence[NetworkGraph], channels: int, pool: str = "max", share: str = "none", heads: int = 1
    ) -> None:
        super().__init__()
        learned = learned_pooling(pool)
        self.share, self.pool = share, pool
        self.fused = True
        self._known: dict[NetworkGraph, _Prepared] = {}
        self._recent: _Prepared | None = None
        self.orbits: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self.attentions = nn.ModuleDict()
        for graph in graphs:
            for source in self._sources(graph):
                name, width = self._orbit(graph, source), graph.layout(source.slot.parameter).free * channels
                if name not in self.orbits and learned is not None and source.slot.pooled:
                    self.attentions[name] = learned.module(width, heads)
                self.orbits.setdefault(name, width)
                layout, slot = graph.layout(source.slot.parameter), source.slot
                sizes = [layout.index[slot.pattern.index(block)].size for block in slot.pooled]
                self._counts.setdefault(name, math.prod(sizes))

    @property
    def width(self) -> int:
        """Length of the vector."""
        return sum(self.orbits.values())

    def _sources(self, graph: NetworkGraph) -> list[PooledSlot]:
        return [
            PooledSlot(slot, self.pool if slot.pooled else None)
            for parameter in graph.parameters
            for slot in orbit_slots(graph.layout(parameter.name), exact=self.share == "none")
        ]

    def _orbit(self, graph: NetworkGraph, source: PooledSlot) -> str:
        owner = source.slot.parameter if self.share == "none" else role(graph, source.slot.parameter)
        return state_key(f"{owner}:{source.slot.signature}")

    def _prepared(self, graph: NetworkGraph) -> _Prepared:
        if self._recent is None or self._recent.graph is not graph:
            if graph.structure not in self._known:
                sources = self._sources(graph)
                self._known[graph.structure] = _Prepared(
                    graph, tuple((self._orbit(graph, s), s) for s in sources), summary_readings(sources)
                )
            self._recent = replace(self._known[graph.structure], graph=graph)
        return self._recent

    def gains(self) -> Tensor:
        """The factor on initial weights that read each number (see `Pooling.gain`), (width,).

        Where several graphs share an orbit by role, the first counts.
        """
        gain = pooling_named(self.pool).gain
        pieces = [torch.full((width,), gain(self._counts[name])) for name, width in self.orbits.items()]
        return torch.cat(pieces)

    def _module(self, name: str, source: PooledSlot) -> nn.Module | None:
        return module_for(self.attentions, name if isinstance(source.pooling, LearnedPooling) else None)

    def _on_union(self, features: UnionFeatures) -> Tensor:
        """(networks, width): the networks of all graphs, graph by graph."""
        union, summaries = features.union, UnionSummaries(features)
        found: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for stack in union.stacks.values():
            graph, parameter = union.graphs[stack.members[0].graph], stack.members[0].parameter
            for slot in orbit_slots(graph.layout(parameter), exact=False):
                pooled = PooledSlot(slot, self.pool if slot.pooled else None)
                name = self._orbit(graph, pooled)
                level = summaries.get(Source(stack.name, slot.pattern, (), pooled), self._module(name, pooled))
                found.setdefault(name, []).append((union.owners(stack.name), level))
        like, parts = next(iter(features.tensors.values())), []
        for name, width in self.orbits.items():
            total, count = like.new_zeros(union.networks, width), like.new_zeros(union.networks, 1)
            for owners, level in found.get(name, ()):
                total = total.index_add(0, owners, level)
                count = count.index_add(0, owners, like.new_ones(len(owners), 1))
            parts.append(total / count.clamp(min=1))
        return torch.cat(parts, dim=-1)

    def forward(self, features: Features | UnionFeatures) -> Tensor:
        """Pools everything; orbits that a graph does not have are zero."""
        if isinstance(features, UnionFeatures):
            return self._on_union(features)
        prepared = self._prepared(features.graph)
        fused = self.fused and edges.supported(*features.tensors.values())
        summaries = Summaries(features, prepared.readings if fused else None)
        found: dict[str, list[Tensor]] = {}
        for name, source in prepared.sources:
            found.setdefault(name, []).append(summaries.get(source, self._module(name, source)))
        like = next(iter(features.tensors.values()))
        parts = []
        for name, width in self.orbits.items():
            values = found.get(name)
            if values is None:
                parts.append(like.new_zeros(features.batch, width))
            else:
                parts.append(values[0] if len(values) == 1 else torch.stack(values).mean(0))
        return torch.cat(parts, dim=-1)
