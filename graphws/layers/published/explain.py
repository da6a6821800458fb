"""Layers as published in words and numbers: every pair of parameters with its maps."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from graphws.graph import NetworkGraph
from graphws.layers.explain import BasisMap, Explanation, LinearBlock, key_text, map_words
from graphws.layers.plan import Pair, level
from graphws.layers.published.free_axes import AxisMap
from graphws.layers.published.pairs import PairMap, pairs_of
from graphws.layers.published.set_layers import SET_LAYERS
from graphws.layers.reduction import free_sizes, reduction_of


def explain_layers(
    graph: NetworkGraph,
    layers: int,
    channels: int,
    networks: int | None,
    reduce: Mapping[str, int] | None = None,
    *,
    blocks: Mapping[str, str] | None = None,
    set_layer: str = "attention",
    heads: int = 8,
    pooling: str = "max",
) -> tuple[Explanation, ...]:
    """Explains the layers of a `graphws.models.PublishedDWSNet` with the same arguments, first to last.

    Args:
        graph: Graph of the networks.
        layers: How many layers.
        channels: Channels between them.
        networks: How many networks are the answer; None where it is invariant.
        reduce: Free spaces that every layer maps, and to which size.
        blocks: Families of pairs.
        set_layer: What maps the neurons that a pair shares.
        heads: Its heads, one in the last layer.
        pooling: How sets are summarised.

    Raises:
        UsageError: Where a set labels a parameter twice, and on unknown words.
    """
    reduction = reduction_of([graph], reduce, channels)
    inner = reduction.inner(graph)
    pairs = pairs_of(inner, blocks, pooling)
    widths = [1, *[channels] * (layers - 1), channels if networks is None else networks]
    return tuple(
        _explain(graph, inner, pairs, pair, set_layer, 1 if k == layers - 1 else heads)
        for k, pair in enumerate(pairwise(widths))
    )


def _explain(
    graph: NetworkGraph,
    inner: NetworkGraph,
    pairs: tuple[PairMap, ...],
    channels: tuple[int, int],
    set_layer: str,
    heads: int,
) -> Explanation:
    names = tuple(parameter.name for parameter in inner.parameters)
    known = {(pair.source, pair.target): pair for pair in pairs}
    blocks, linear, offsets, sets = [], 0, 0, 0
    for target in names:
        for source in names:
            pair, free = known.get((source, target)), (inner.layout(source).free, inner.layout(target).free)
            rows, columns = free[0] * channels[0], free[1] * channels[1]
            maps: tuple[BasisMap, ...] = ()
            if pair is not None and len(pair.shared) == 1:
                kind = SET_LAYERS[set_layer]
                size = kind.parameters_of(rows, columns)
                said = f"{heads} heads" if heads > 1 else "one head"
                layer = kind.words.format(spaces=pair.shared[0], heads=said)
                maps, sets = _maps(inner, pair, size, f"{layer}; "), sets + size
            elif pair is not None:
                maps = _maps(inner, pair, rows * columns + columns)
                linear, offsets = linear + len(maps) * rows * columns, offsets + len(maps) * columns
            blocks.append(LinearBlock(source, target, maps, free))
    return Explanation(
        inner,
        (),
        channels,
        names,
        tuple(blocks),
        (),
        (0,) * len(names),
        linear,
        offsets,
        0,
        set_parameters=sets,
        free_parameters=_in_free_axes(graph, inner, channels),
    )


def _maps(graph: NetworkGraph, pair: PairMap, parameters: int, before: str = "") -> tuple[BasisMap, ...]:
    return tuple(
        BasisMap(level(write.key), key_text(write.key), before + map_words(graph, Pair(read, write)), parameters)
        for read, write in zip(pair.reads, pair.writes, strict=True)
    )


def _in_free_axes(graph: NetworkGraph, inner: NetworkGraph, channels: tuple[int, int]) -> int:
    """Parameters of the maps down and up, and of those that skip the layer."""
    total = 0
    for parameter in graph.parameters:
        sizes = zip(free_sizes(graph, parameter.name), free_sizes(inner, parameter.name), strict=True)
        changed = [(a, b) for a, b in sizes if a != b]
        total += sum(AxisMap.parameters_of(a, b) + AxisMap.parameters_of(b, a) for a, b in changed)
        total += (channels[0] + 1) * channels[1] if changed else 0
    return total
