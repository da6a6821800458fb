"""What alignment maximises, and the descent that does it with every step on record."""

from __future__ import annotations

from dataclasses import replace

import torch

from graphws.errors import GraphError
from graphws.graph import Action, GroupElement, Monomial, NetworkGraph, Weights
from graphws.graph.group import Richness
from graphws.matching import Metric, descend


def closeness(first: Weights, second: Weights, metric: Metric) -> float:
    """Σ over parameters of importance · <A, B>: larger is closer, where the norms do not change."""
    return sum(
        metric.of(parameter.name)
        * float((metric.weigh(parameter, first[parameter.name]) * second[parameter.name]).sum())
        for parameter in first.graph.parameters
    )


def climb(
    first: Weights,
    second: Weights,
    start: GroupElement,
    metric: Metric,
    generator: torch.Generator | None,
    sweeps: int,
) -> tuple[GroupElement, list[float]]:
    """Coordinate descent from `start`, sweep by sweep, as long as the closeness rises.

    Law: the record never falls; it rises in every entry but the last.

    Returns:
        tuple: The element, and the closeness at the start and after every sweep that was kept.
    """
    best, record = start, [closeness(first, start.act(second), metric)]
    for _ in range(sweeps):
        candidate = descend(first, second, best, metric=metric, generator=generator, sweeps=1)
        reached = closeness(first, candidate.act(second), metric)
        if not reached > record[-1] + 1e-12 * abs(record[-1]):
            break
        best = candidate
        record.append(reached)
    return best, record


def restricted(weights: Weights, actions: Richness) -> Weights:
    """The weights on their graph, or on the same graph with permutations only."""
    if actions == "rich":
        return weights
    graph = weights.graph
    spaces = tuple(replace(space, action=Action.PERMUTATION) for space in graph.spaces)
    return Weights(replace(graph, spaces=spaces), weights.tensors)


def check_pair(first: Weights, second: Weights) -> NetworkGraph:
    """The graph of two single networks; `GraphError` where they have none in common."""
    if first.graph != second.graph:
        raise GraphError("networks of different graphs cannot be aligned")
    if first.batch != 1 or second.batch != 1:
        raise GraphError(f"alignment takes one network on each side, got batches of {first.batch} and {second.batch}")
    return first.graph


def standing(weights: Weights) -> GroupElement:
    """The identity, spelled out: every space that can move is known to stay."""
    graph, device = weights.graph, weights.device
    names = [space.name for space in graph.spaces if graph.lineage(space.name)[0].moves]
    return GroupElement(graph, {name: Monomial(torch.arange(graph.extent(name), device=device)) for name in names})
