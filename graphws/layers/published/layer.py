"""The equivariant layer of DWSNets as published.

Law: for every group element g, ``layer(g x) = g layer(x)``.  It is no linear map: sets are pooled by a maximum and read
by attention.

Every pair of parameters has maps of its own (`graphws.layers.published.pairs`), each with its own offset, and what
reaches a parameter is their sum over the number of parameters.  Here the maps are grouped, so that what can be is one
product: all that a parameter receives through the network's summaries; all set layers of like sizes.  The values are
those of the maps one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from graphws.errors import UsageError
from graphws.graph import NetworkGraph
from graphws.layers.assembly import Assembly
from graphws.layers.differences import difference
from graphws.layers.features import Features
from graphws.layers.fused import edges
from graphws.layers.keys import state_key
from graphws.layers.published.initial import matrices, offsets
from graphws.layers.published.pairs import PairMap, pairs_of, slot_at
from graphws.layers.published.set_layers import SET_LAYERS, SetLayer
from graphws.layers.schedule import EdgeReading, summary_readings
from graphws.layers.summaries import Summaries
from graphws.pooling import fixed_pooling


@dataclass(frozen=True)
class Sizes:
    """What set layers that run side by side have in common.

    Args:
        elements: Of the set.
        inputs: Channels of an element that come in.
        outputs: Channels of an element that go out.
    """

    elements: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.elements}x{self.inputs}x{self.outputs}"


class PairLayer(nn.Module):
    """A map of its own for every ordered pair of parameters; results are added and divided by the parameters' number.

    Args:
        graph: Graph of the networks; no set labels a parameter twice.
        in_channels: Channels per entry that come in.
        out_channels: Channels per entry that go out.
        blocks: Families of pairs; see `graphws.layers.published.pairs.pairs_of`.
        set_layer: One of `graphws.layers.published.set_layers.SET_LAYERS`.
        heads: Heads of attention.
        pooling: How sets that the target lacks are summarised: a fixed pooling.
        init_scale: Factor on the initial weights.

    Attributes:
        pairs: The pairs.
        fused: Lets the kernels of `graphws.layers.fused.edges` run where they can; the values are the same without.

    Shapes:
        Features with ``in_channels`` -> Features with ``out_channels`` of the same graph; zeros of a parameter that no
        pair reaches.

    Raises:
        UsageError: On channels below 1, a set that labels a parameter twice, heads that do not divide channels, an
            unknown set layer, or a pooling that is learned.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        in_channels: int,
        out_channels: int,
        blocks: Mapping[str, str] | None = None,
        set_layer: str = "attention",
        heads: int = 8,
        pooling: str = "max",
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if in_channels < 1 or out_channels < 1:
            raise UsageError(f"channels must be at least 1, got {in_channels} in and {out_channels} out")
        pool, graph = fixed_pooling(pooling), graph.structure
        if pool is None:
            raise UsageError(f"layers as published take a pooling without parameters; got {pooling!r}")
        if set_layer not in SET_LAYERS:
            raise UsageError(f"set_layer must be one of {', '.join(SET_LAYERS)}; got {set_layer!r}")
        self.graph, self.in_channels, self.out_channels = graph, in_channels, out_channels
        self.fused = True
        self.pairs = pairs_of(graph, blocks, pooling)
        self._recent: NetworkGraph | None = None
        self._layouts = {p.name: graph.layout(p.name) for p in graph.parameters}
        self.network_pairs: dict[str, tuple[PairMap, ...]] = {}
        self.set_pairs: dict[Sizes, tuple[PairMap, ...]] = {}
        self.entry_pairs = tuple(pair for pair in self.pairs if len(pair.shared) > 1)
        for pair in self.pairs:
            if not pair.shared:
                self.network_pairs[pair.target] = (*self.network_pairs.get(pair.target, ()), pair)
            elif len(pair.shared) == 1:
                sizes = self._sizes(pair)
                self.set_pairs[sizes] = (*self.set_pairs.get(sizes, ()), pair)
        self.network_maps, self.network_offsets = nn.ParameterDict(), nn.ParameterDict()
        for target, pairs in self.network_pairs.items():
            out = self._out(target)
            maps = [matrices(self._in(pair.source), out, outputs=out, scale=init_scale) for pair in pairs]
            self.network_maps[state_key(target)] = nn.Parameter(torch.cat(maps))
            self.network_offsets[state_key(target)] = nn.Parameter(offsets(len(pairs), out))
        self.sets = nn.ModuleDict(
            {
                str(sizes): SET_LAYERS[set_layer](len(pairs), sizes.inputs, sizes.outputs, heads, pool, init_scale)
                for sizes, pairs in self.set_pairs.items()
            }
        )
        self.entry_maps, self.entry_offsets = nn.ParameterDict(), nn.ParameterDict()
        for pair in self.entry_pairs:
            rows, out = self._in(pair.source), self._out(pair.target)
            name = self._key(pair)
            self.entry_maps[name] = nn.Parameter(matrices(len(pair.reads), rows, out, outputs=out, scale=init_scale))
            self.entry_offsets[name] = nn.Parameter(offsets(len(pair.reads), out))
        self._readings = self._kernel_readings()

    def _in(self, parameter: str) -> int:
        return self._layouts[parameter].free * self.in_channels

    def _out(self, parameter: str) -> int:
        return self._layouts[parameter].free * self.out_channels

    def _sizes(self, pair: PairMap) -> Sizes:
        elements = self._layouts[pair.source].sizes[pair.reads[0].slot.kept[0]]
        return Sizes(elements, self._in(pair.source), self._out(pair.target))

    @staticmethod
    def _key(pair: PairMap) -> str:
        return f"{state_key(pair.source)}+{state_key(pair.target)}"

    def _kernel_readings(self) -> dict[str, EdgeReading]:
        """The tensors that a kernel can take: those whose entries by themselves only their own pair reads."""
        used = [read for pair in self.pairs for read in pair.reads]
        readings = summary_readings(read for read in used if read.slot.pooled)
        own = {pair.source for pair in self.entry_pairs if self._by_kernel(pair)}
        entries = [read.slot.parameter for read in used if not read.slot.pooled]
        return {name: reading for name, reading in readings.items() if name in own and entries.count(name) == 1}

    @staticmethod
    def _by_kernel(pair: PairMap) -> bool:
        """Whether a pair maps entries of a tensor to the same entries of that tensor."""
        return pair.source == pair.target and pair.reads[-1].slot == pair.writes[-1]

    def forward(self, features: Features, moments: bool = False) -> Features:
        """Applies the layer; see the class for shapes.

        With ``moments`` the result comes with the moments of those tensors for which they cost next to nothing.
        """
        self._check(features)
        fused = self.fused and edges.supported(*features.tensors.values())
        summaries = Summaries(features, self._readings if fused else None)
        assemblies = {name: Assembly(layout, self._out(name)) for name, layout in self._layouts.items()}
        share = 1 / len(self._layouts)
        for target, pairs in self.network_pairs.items():
            rows = torch.cat([summaries.get(pair.reads[0]) for pair in pairs], -1)
            offset = self.network_offsets[state_key(target)].sum(0)
            received = torch.addmm(offset, rows, self.network_maps[state_key(target)])
            assemblies[target].add(slot_at(self._layouts[target], ()), received * share)
        for sizes, pairs in self.set_pairs.items():
            layer = self.sets[str(sizes)]
            assert isinstance(layer, SetLayer)
            received = layer(torch.stack([summaries.get(pair.reads[0]) for pair in pairs])) * share
            for pair, value in zip(pairs, received, strict=True):
                assemblies[pair.target].add(pair.writes[0], value)
        for pair in self.entry_pairs:
            self._add_entries(pair, summaries, assemblies[pair.target], share / len(pair.reads))
        like = next(iter(features.tensors.values()))
        tensors = {name: each.result(like, moments) for name, each in assemblies.items()}
        taken = {name: each.moments for name, each in assemblies.items() if each.moments is not None}
        return Features(features.graph, tensors, self.out_channels, moments=taken)

    def _add_entries(self, pair: PairMap, summaries: Summaries, assembly: Assembly, share: float) -> None:
        """What a pair with several common sets sends: coarse maps first, then the one of entries by themselves."""
        name = self._key(pair)
        maps, offset = self.entry_maps[name] * share, self.entry_offsets[name].sum(0) * share
        *coarse, whole = zip(pair.reads, pair.writes, maps.unbind(), strict=True)
        for read, write, matrix in coarse:
            value = summaries.get(read) @ matrix
            if not write.kept:
                value = value + offset
            assembly.add(write, value)
        read, write, matrix = whole
        handle = summaries.handle(pair.source) if self._by_kernel(pair) else None
        if handle is not None:
            assembly.write_by_kernel(handle, matrix)
        elif write.pooled:
            assembly.add(write, summaries.get(read) @ matrix)
        else:
            assembly.add_entrywise(write, summaries.get(read), matrix)

    def _check(self, features: Features) -> None:
        if features.channels != self.in_channels:
            raise UsageError(f"this layer takes {self.in_channels} channels, got {features.channels}")
        if self._recent is not features.graph:  # spares a comparison of equal graphs
            if features.graph.structure != self.graph:
                what = difference(self.graph, features.graph)
                raise UsageError(f"this layer was built for another graph: {what}")
            self._recent = features.graph
