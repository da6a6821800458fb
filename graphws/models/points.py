"""Points at which networks are asked: a grid over pictures, draws of a seed for all others, fixed or learned.

Graphs whose inputs are alike, in shape, type and range, are asked at the same points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from graphws.errors import UsageError
from graphws.graph import NetworkGraph
from graphws.graph.value import Value
from graphws.kinds.attributes import DTYPES, WEIGHTS
from graphws.operations import why_not
from graphws.operations.sampling import random_inputs

Signature = tuple[tuple[tuple[int | str, ...], str, int | None], ...]
"""Shape, type and largest whole number of each input."""


class Points(nn.Module):
    """Inputs for the networks of given graphs.

    Args:
        graphs: Of the networks.
        count: Points; n in the shapes of the inputs.
        grid: Whether networks that read (n, 2) are asked on the regular grid over [-1, 1]², rows from top to bottom.
        learned: Whether the points, which start there, are learned.
        seed: Of the draws where there is no grid: normal numbers, whole numbers up to the input's largest, uniformly.

    Raises:
        UsageError: On a grid that is not square, a graph that does not run or state what it reads, and where whole
            numbers are to be learned.
    """

    def __init__(
        self, graphs: Sequence[NetworkGraph], count: int, grid: bool = True, learned: bool = False, seed: int = 0
    ) -> None:
        super().__init__()
        self.places: dict[Signature, list[str]] = {}
        for graph in graphs:
            if reason := why_not(graph):
                raise UsageError(f"queries need networks that run, and these do not: {reason}")
            signature = signature_of(graph)
            if learned and (fixed := _whole(graph)):
                raise UsageError(f"points are learned for floating inputs only, and {fixed}; take `learned: false`")
            if signature in self.places:
                continue
            names = [f"at{len(self.places)}_{number}" for number in range(len(signature))]
            self.places[signature] = names
            for name, tensor in zip(names, _start(graph, count, grid, seed), strict=True):
                if learned:
                    self.register_parameter(name, nn.Parameter(tensor))
                else:
                    self.register_buffer(name, tensor)

    def of(self, graph: NetworkGraph) -> Mapping[str, Tensor]:
        """The inputs of a graph by their names.

        Raises:
            UsageError: On a graph whose inputs are like those of none that the points were made for.
        """
        found = self.places.get(signature_of(graph))
        if found is None:
            shapes = ", ".join(_words(value) for value in values_of(graph))
            raise UsageError(f"there are no points for networks that read {shapes}; the model was built for other ones")
        return {name: getattr(self, place) for name, place in zip(graph.inputs, found, strict=True)}


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


def signature_of(graph: NetworkGraph) -> Signature:
    """What graphs that are asked at the same points have in common."""
    return tuple((value.shape, value.dtype, value.highest) for value in values_of(graph))


def on_a_plane(graph: NetworkGraph) -> bool:
    """Whether the networks draw pictures: they read (n, 2) and nothing else."""
    values = values_of(graph)
    return len(values) == 1 and values[0].shape == ("n", 2) and _floats(values[0])


def regular_grid(count: int) -> Tensor:
    """(count, 2): the points of a regular k×k grid over [-1, 1]², corners included, row by row.

    Raises:
        UsageError: Where `count` is no square.

    >>> regular_grid(4).tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    side = math.isqrt(count)
    if side * side != count:
        near = ", ".join(str(k * k) for k in (side, side + 1))
        raise UsageError(f"{count} points are no square grid; take {near}, or `grid: false`")
    line = torch.linspace(-1, 1, side) if side > 1 else torch.zeros(1)
    return torch.cartesian_prod(line, line).reshape(count, 2)


def _start(graph: NetworkGraph, count: int, grid: bool, seed: int) -> list[Tensor]:
    with torch.device("cpu"):
        if grid and on_a_plane(graph):
            return [regular_grid(count)]
        draw = torch.Generator().manual_seed(seed)
        return [*random_inputs(graph, count, draw, torch.float32).values()]


def _floats(value: Value) -> bool:
    return value.dtype == WEIGHTS or DTYPES[value.dtype].is_floating_point


def _whole(graph: NetworkGraph) -> str:
    """Which input no gradient can move; empty where there is none."""
    for name, value in zip(graph.inputs, values_of(graph), strict=True):
        if not _floats(value):
            return f"the input {name!r} is {value.dtype}"
    return ""


def _words(value: Value) -> str:
    kind = "" if value.dtype == WEIGHTS else f" {value.dtype}"
    most = "" if value.highest is None else f" up to {value.highest}"
    return f"({', '.join(map(str, value.shape))}){kind}{most}"
