"""Published layers entry by entry, from the definition alone: loops over axes by name, no folding, keys or slots."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from graphws.graph import NetworkGraph
from graphws.layers import Features
from graphws.layers.keys import state_key
from graphws.layers.published.layer import PairLayer
from graphws.layers.published.set_layers import DeepSets, SetAttention

Place = dict[str, int]
POOLS = {"max": lambda x: x.max(0).values, "mean": lambda x: x.mean(0), "sum": lambda x: x.sum(0)}


def places(graph: NetworkGraph, names: list[str]) -> Iterator[Place]:
    """Every index of some spaces."""
    for index in itertools.product(*(range(graph.space(name).size) for name in names)):
        yield dict(zip(names, index, strict=True))


def moving(graph: NetworkGraph, parameter: str) -> list[str]:
    return [name for name in graph.parameter(parameter).spaces if graph.space(name).moves]


def entry(features: Features, parameter: str, place: Place) -> Tensor:
    """(batch, free numbers and channels) of one entry."""
    x = features.unfolded(parameter)
    for axis, name in reversed(list(enumerate(features.graph.parameter(parameter).spaces))):
        if name in place:
            x = x.select(1 + axis, place[name])
    return x.flatten(1)


def summary(features: Features, parameter: str, place: Place, pool: str) -> Tensor:
    """The same, pooled over the moving spaces that the place leaves open."""
    graph = features.graph
    rest = [name for name in moving(graph, parameter) if name not in place]
    found = [entry(features, parameter, {**place, **more}) for more in places(graph, rest)]
    return POOLS[pool](torch.stack(found)) if rest else found[0]


def set_layer(layer: SetAttention | DeepSets, k: int, x: list[Tensor], pool: str) -> list[Tensor]:
    """The k-th of some set layers, element by element."""
    if isinstance(layer, DeepSets):
        pooled = POOLS[pool](torch.stack(x))
        return [each @ layer.own[k] + layer.offset[k] - pooled @ layer.others[k] for each in x]
    outputs, width = layer.outputs, layer.outputs // layer.heads
    read = [each @ layer.read[k] + layer.read_offset[k] for each in x]
    found = []
    for i in range(len(x)):
        parts = []
        for head in range(layer.heads):
            columns = slice(head * width, (head + 1) * width)
            query = read[i][:, :outputs][:, columns]
            keys = [row[:, outputs : 2 * outputs][:, columns] for row in read]
            values = [row[:, 2 * outputs :][:, columns] for row in read]
            scores = torch.stack([(query * key).sum(1) / math.sqrt(outputs) for key in keys]).exp()
            parts.append(query + sum(s[:, None] * v for s, v in zip(scores / scores.sum(0), values, strict=True)))
        o = torch.cat(parts, 1)
        found.append(o + (o @ layer.write[k] + layer.write_offset[k]).clamp(min=0))
    return found


def run(layer: PairLayer, features: Features, pool: str) -> Features:
    """The layer, pair by pair and entry by entry."""
    graph, tensors = features.graph, {}
    count = len(graph.parameters)
    for parameter in graph.parameters:
        target, rows = parameter.name, []
        terms = [_pair(layer, features, pair.source, target, pool) for pair in layer.pairs if pair.target == target]
        width = graph.layout(target).free * layer.out_channels
        zero = next(iter(features.tensors.values())).new_zeros(features.batch, width)
        for place in places(graph, moving(graph, target)):
            rows.append(sum((term(place) for term in terms), zero) / count)
        shape = (features.batch, *graph.layout(target).sizes, width)
        tensors[target] = torch.stack(rows, 1).reshape(shape)
    return Features(graph, tensors, layer.out_channels)


def _pair(layer: PairLayer, features: Features, source: str, target: str, pool: str):  # type: ignore[no-untyped-def]
    """What a pair gives at a place of the target."""
    graph = features.graph
    shared = [name for name in moving(graph, target) if name in moving(graph, source)]
    if not shared:
        sources = [pair.source for pair in layer.network_pairs[target]]
        sizes = [graph.layout(name).free * layer.in_channels for name in sources]
        k = sources.index(source)
        matrix = layer.network_maps[state_key(target)].split(sizes)[k]
        value = summary(features, source, {}, pool) @ matrix + layer.network_offsets[state_key(target)][k]
        return lambda place: value
    if len(shared) == 1:
        (space,) = shared
        for sizes, pairs in layer.set_pairs.items():
            for k, pair in enumerate(pairs):
                if (pair.source, pair.target) == (source, target):
                    elements = range(graph.space(space).size)
                    x = [summary(features, source, {space: i}, pool) for i in elements]
                    found = set_layer(layer.sets[str(sizes)], k, x, pool)  # type: ignore[arg-type]
        return lambda place: found[place[space]]
    name = f"{state_key(source)}+{state_key(target)}"
    chosen = [c for count in range(len(shared) + 1) for c in itertools.combinations(shared, count)]

    def value_at(place: Place) -> Tensor:
        terms = [
            summary(features, source, {space: place[space] for space in choice}, pool) @ matrix + offset
            for choice, matrix, offset in zip(chosen, layer.entry_maps[name], layer.entry_offsets[name], strict=True)
        ]
        return torch.stack(terms).mean(0)

    return value_at
