"""Coverage: how much of what a network's outputs depend on follows its group.

Each number of a parameter lies on some axes of its stored tensor.  An axis *follows* the group where some space on it
moves, it is an *end* where it belongs to what the world outside sees or the layer's geometry (inputs, outputs, kernel
taps, pixels, tokens), and it is *fixed* otherwise: some operation knows its order, or none of the rules knew better.  A
number counts with the share of its axes that follow, ends left out: a matrix whose heads were lost counts half.

Out of the sum are parameters that no operation reads, and buffers on no space that moves (positions, masks, priors):
no group could have moved them.

What this cannot see is a nested space that lost its parent, one permutation shared by all experts where each could
have had its own: every axis still follows.  That shows where the largest group of the architecture is known, as the
share of its digits (`share_of_group`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from graphws.graph.network import NetworkGraph
from graphws.graph.parameter import Parameter

ENDS = frozenset({"input", "output", "kernel", "pixels", "tokens", "time", "padding", "count"})
"""Roles of free spaces that no group of neurons could move."""


def coverage(graph: NetworkGraph) -> float:
    """The share of the numbers that follow the group; 1 where there are none to follow.

    Args:
        graph: A network's typed graph.

    Returns:
        float: Between 0 and 1.
    """
    read = {name for operation in graph.operations for name in operation.inputs}
    followed, counted = 0.0, 0
    for parameter in graph.parameters:
        moves = bool(graph.set_axes(parameter.name))
        numbers = math.prod(graph.shape(parameter.name))
        if not numbers or (read and parameter.name not in read) or (parameter.kind == "buffer" and not moves):
            continue
        counted += numbers
        followed += numbers * _share(graph, parameter)
    return followed / counted if counted else 1.0


def share_of_group(found: float, known: float) -> float:
    """How much of the largest known group was found, in digits of its order: 1 for all of it.

    Args:
        found: log10 of the order that was found.
        known: log10 of the order of the largest group that is known.
    """
    return found / known if known else 1.0


def _share(graph: NetworkGraph, parameter: Parameter) -> float:
    """The share of a parameter's stored axes that follow the group; 0 where none could."""
    moving = set(graph.set_axes(parameter.name))
    following, fixed = 0, 0
    for axes in stored_axes(graph, parameter):
        spaces = [graph.space(parameter.spaces[k]) for k in axes]
        if moving.intersection(axes):
            following += 1
        elif axes and not any(space.role in ENDS for space in spaces):
            fixed += 1
    return following / (following + fixed) if following else 0.0


def stored_axes(graph: NetworkGraph, parameter: Parameter) -> Iterator[list[int]]:
    """For each axis of the stored tensor the parameter's axes on it: heads and their dimensions share one."""
    shape = graph.shape(parameter.name)
    storage = parameter.storage
    if storage is None:
        yield from ([k] for k in range(len(shape)))
        return
    columns = _run_through(storage.block_shape, shape)
    for group in _run_through(storage.shape, storage.seen):
        yield [axis for column in group for axis in columns[column]]


def _run_through(outer: Sequence[int], inner: Sequence[int]) -> list[list[int]]:
    """For each outer size the places of those inner sizes, in order, whose product it is."""
    found, at = [], 0
    for size in outer:
        group: list[int] = []
        left = size
        while left > 1 and at < len(inner):
            left //= inner[at]
            group.append(at)
            at += 1
        found.append(group)
    return found
