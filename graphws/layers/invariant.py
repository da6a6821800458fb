"""Invariants: the linear maps from features to plain vectors that no group element changes (paper D, table 9).

There is one for each orbit of entries: every tensor pooled over all its index axes (over the diagonal apart, where a
space repeats), free channels kept apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graphws.graph import NetworkGraph
from graphws.layers import kernels
from graphws.layers.features import Features
from graphws.layers.pattern import orbit_slots
from graphws.layers.plan import Source, role
from graphws.layers.pooling import AttentionPool, Summaries, attention_for
from graphws.layers.steps import EdgeReading, summary_readings
from graphws.messages import Pool


@dataclass(frozen=True)
class _Prepared:
    """What is pooled on one graph: places with their sources, and the tensors that a kernel can read."""

    graph: NetworkGraph
    sources: tuple[tuple[str, Source], ...]
    readings: dict[str, EdgeReading]


class Invariants(nn.Module):
    """All invariants of features, side by side.

    Args:
        graphs: The graphs that may come.
        channels: Channels per entry.
        pool: How entries are summarised.
        share: ``none``: one place a parameter; ``role``: one a role, parameters of a role are averaged.
        heads: Heads of attention pooling.

    Attributes:
        fused: Lets the kernels of `graphws.layers.kernels` run where they can; the values are the same without.

    Shapes:
        Features -> (batch, width).
    """

    def __init__(
        self, graphs: Sequence[NetworkGraph], channels: int, pool: Pool = "max", share: str = "none", heads: int = 1
    ) -> None:
        super().__init__()
        self.share, self.pool = share, pool
        self.fused = True
        self._known: dict[NetworkGraph, _Prepared] = {}
        self._recent: _Prepared | None = None
        self.places: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self.attentions = nn.ModuleDict()
        for graph in graphs:
            for source in self._sources(graph):
                name, width = self._place(graph, source), graph.layout(source.slot.parameter).free * channels
                if name not in self.places and pool == "attention" and source.slot.pooled:
                    self.attentions[name] = AttentionPool(width, heads)
                self.places.setdefault(name, width)
                layout, slot = graph.layout(source.slot.parameter), source.slot
                sizes = [layout.index[slot.blocks.index(block)].size for block in slot.pooled]
                self._counts.setdefault(name, math.prod(sizes))

    @property
    def width(self) -> int:
        """Length of the vector."""
        return sum(self.places.values())

    def _sources(self, graph: NetworkGraph) -> list[Source]:
        return [
            Source(slot, self.pool)
            for parameter in graph.parameters
            for slot in orbit_slots(graph.layout(parameter.name), exact=self.share == "none")
        ]

    def _place(self, graph: NetworkGraph, source: Source) -> str:
        owner = source.slot.parameter if self.share == "none" else role(graph, source.slot.parameter)
        return f"{owner}:{source.slot.signature}".replace(".", "_")

    def _prepared(self, graph: NetworkGraph) -> _Prepared:
        if self._recent is None or self._recent.graph is not graph:
            if graph not in self._known:
                sources = self._sources(graph)
                self._known[graph] = _Prepared(
                    graph, tuple((self._place(graph, s), s) for s in sources), summary_readings(sources)
                )
            self._recent = self._known[graph]
        return self._recent

    def counts(self) -> Tensor:
        """How many entries each number summarises, (width,); the first graph's, where several share a place."""
        pieces = [torch.full((width,), float(self._counts[name])) for name, width in self.places.items()]
        return torch.cat(pieces)

    def forward(self, features: Features) -> Tensor:
        """Pools everything; places that a graph does not have are zero."""
        prepared = self._prepared(features.graph)
        fused = self.fused and kernels.supported(*features.tensors.values())
        summaries = Summaries(features, prepared.readings if fused else None)
        found: dict[str, list[Tensor]] = {}
        for name, source in prepared.sources:
            found.setdefault(name, []).append(summaries.get(source, attention_for(self.attentions, name)))
        like = next(iter(features.tensors.values()))
        parts = []
        for name, width in self.places.items():
            values = found.get(name)
            if values is None:
                parts.append(like.new_zeros(features.batch, width))
            else:
                parts.append(values[0] if len(values) == 1 else torch.stack(values).mean(0))
        return torch.cat(parts, dim=-1)
