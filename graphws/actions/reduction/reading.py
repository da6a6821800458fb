"""Which axes of parameters read a space although no power says so.

What reads a space mostly follows it with a negative power.  Where values have an even power, as behind a batch norm
that takes a sign back, what reads them follows with power 0, as do the rows of a weight before a norm.  Such axes are
told apart by running the step: a slice of an axis that writes changes its own element's value, a slice of one that
reads changes others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from graphws.actions.computation.features import is_reached
from graphws.errors import GraphError
from graphws.graph import Axis, NetworkGraph, Operation
from graphws.operations.labels import Labels, labels
from graphws.operations.plan import Context, step_of, why_not
from graphws.operations.runner import run_values
from graphws.operations.sampling import random_inputs, random_weights

Reading = frozenset[tuple[str, int]]
"""Parameters and positions of axes."""
POINTS = 2


@dataclass(frozen=True)
class _Computation:
    """What the answer depends on; sizes of spaces are no part of it."""

    operations: tuple[Operation, ...]
    axes: tuple[tuple[str, tuple[Axis, ...]], ...]
    graph: NetworkGraph = field(compare=False, hash=False)


def reading(graph: NetworkGraph) -> Reading:
    """The axes of power 0 that read a set; none where the graph does not run."""
    axes = tuple((parameter.name, parameter.axes) for parameter in graph.parameters)
    return _reading(_Computation(graph.operations, axes, graph))


@lru_cache(maxsize=64)
def _reading(computation: _Computation) -> Reading:
    graph = computation.graph
    asked = [
        (parameter.name, k)
        for parameter in graph.parameters
        for k, axis in enumerate(parameter.axes)
        if axis.power == 0 and len(parameter.axes) > 1 and graph.lineage(axis.space)[0].moves
    ]
    if not asked or why_not(graph):
        return frozenset()
    try:
        known = labels(graph)
        rng = torch.Generator().manual_seed(0)
        weights, inputs = random_weights(graph, 1, rng), random_inputs(graph, POINTS, rng)
        values = {name: x[0] for name, x in run_values(graph, weights, inputs).items()}
    except GraphError:
        return frozenset()
    values |= {constant.name: constant.tensor for constant in graph.constants}
    values |= {name: x[0] for name, x in weights.items()}
    return frozenset((name, k) for name, k in asked if _reads(graph, known, values, name, k))


def _reads(graph: NetworkGraph, known: Labels, values: Mapping[str, Tensor], parameter: str, axis: int) -> bool:
    """Whether a slice of a parameter changes values of other elements than its own, or outside of the space."""
    root = graph.lineage(graph.parameter(parameter).axes[axis].space)[0].name
    elements = graph.space(root).size
    size = values[parameter].shape[axis] // elements
    edited = values[parameter].clone()
    edited.narrow(axis, 0, size).zero_()
    for operation, changed in _meetings(graph, values, parameter, edited):
        carried = [shown(graph, known, read, root)[1] for read in operation.reads if is_reached(graph, read)]
        if all(place is None for place in carried):
            return False
        place = shown(graph, known, operation.outputs[0], root)[1] if operation.outputs[0] in known else None
        if place is None:
            return True
        change = (changed[0] - values[operation.outputs[0]]).movedim(place, 0).reshape(elements, -1)
        return bool((change[1:].abs() > 1e-9 * change.abs().max()).any())
    return False


def _meetings(
    graph: NetworkGraph, values: Mapping[str, Tensor], parameter: str, edited: Tensor
) -> Iterator[tuple[Operation, tuple[Tensor, ...]]]:
    """The steps in which an edited parameter, or what is made of it and of other weights, meets values."""
    here, context = {**values, parameter: edited}, Context(POINTS, torch.float64, torch.device("cpu"))
    for operation, met in met_by(graph, parameter):
        results = step_of(operation).run(here, context)
        if met:
            yield operation, results
        else:
            here.update(zip(operation.outputs, results, strict=False))


def met_by(graph: NetworkGraph, parameter: str) -> Iterator[tuple[Operation, list[str]]]:
    """The steps that read a parameter, or what is made of it and of other weights, each with the values that it meets.

    Where it meets none, more is made of weights.
    """
    made = {parameter}
    for operation in graph.operations:
        if made & set(operation.numbers):
            values = [name for name in operation.numbers if is_reached(graph, name)]
            if not values:
                made |= set(operation.outputs)
            yield operation, values


def shown(graph: NetworkGraph, labels: Labels, value: str, space: str) -> tuple[str, int | None]:
    """The value, or the one that it is a rearrangement of, and its axis along which a set's elements, or families of
    them, stand; None where there is no such axis."""
    while True:
        for k, axis in enumerate(labels.get(value, ())):
            if axis is not None and graph.lineage(axis.space)[0].name == space:
                return value, k
        writer = graph.writers.get(value)
        if writer is None or writer.row.axes != "moves" or len(writer.reads) != 1:
            return value, None
        value = writer.reads[0]
