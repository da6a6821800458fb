"""Fixed points at which networks are asked: a grid over pictures, draws of a seed for all others.

>>> from graphws.operations import mlp_graph
>>> [tuple(x.shape) for x in fixed_points(mlp_graph([2, 8, 1]), 16)]
[(16, 2)]
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from graphws.errors import UsageError
from graphws.graph.network import NetworkGraph
from graphws.graph.value import Value
from graphws.kinds.attributes import DTYPES, WEIGHTS
from graphws.operations.plan import why_not
from graphws.operations.sampling import random_inputs


def fixed_points(graph: NetworkGraph, count: int, grid: bool = True, seed: int = 0) -> list[Tensor]:
    """Inputs of a graph, in the order of its inputs, floating ones in float32.

    Args:
        graph: Of networks that run.
        count: Points; n in the shapes of the inputs.
        grid: Whether networks that read (n, 2) and nothing else are asked on `regular_grid`.
        seed: Of all other points: normal numbers; whole numbers up to the input's largest, uniformly.

    Raises:
        UsageError: On a grid that is not square, and a graph that does not run or state what it reads.
    """
    if reason := why_not(graph):
        raise UsageError(f"queries need networks that run, and these do not: {reason}")
    if grid and on_a_plane(graph):
        return [regular_grid(count)]
    with torch.device("cpu"):
        return [*random_inputs(graph, count, torch.Generator().manual_seed(seed), torch.float32).values()]


def values_of(graph: NetworkGraph) -> list[Value]:
    """What the inputs are.

    Raises:
        UsageError: Where the graph does not say it.
    """
    found = []
    for name in graph.inputs:
        value = graph.value(name)
        if value is None:
            raise UsageError(f"queries need the shape of every input, and the graph does not state that of {name!r}")
        found.append(value)
    return found


def floating(value: Value) -> bool:
    """Whether an input is of floating numbers."""
    return value.dtype == WEIGHTS or DTYPES[value.dtype].is_floating_point


def on_a_plane(graph: NetworkGraph) -> bool:
    """Whether the networks draw pictures: they read (n, 2) and nothing else."""
    values = values_of(graph)
    return len(values) == 1 and values[0].shape == ("n", 2) and floating(values[0])


def regular_grid(count: int) -> Tensor:
    """(count, 2): the points of a regular k×k grid over [-1, 1]², corners included, row by row.

    Raises:
        UsageError: Where `count` is no square.

    >>> regular_grid(4).tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    side = math.isqrt(count)
    if side * side != count:
        raise UsageError(f"{count} points are no square grid; take {side * side} or {(side + 1) ** 2}")
    with torch.device("cpu"):
        line = torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1)
        return torch.cartesian_prod(line, line).reshape(count, 2)
