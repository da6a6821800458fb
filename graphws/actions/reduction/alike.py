"""Elements whose values are the same for any input, up to a factor, whatever their parameters are.

A batch norm may take a filter's scale out again, a gate may multiply what differs by zero: copies need not show in the
parameters.  So the part of the computation that carries a set is run by itself.  All that flows into it is replaced by
random numbers, small and large, and two elements are copies where every value that is read from them keeps one ratio on
all of these numbers.  An element that they seldom wake (a ReLU with a very negative bias) is compared with none.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from graphws.actions.computation.features import is_reached
from graphws.actions.reduction.maps import Step
from graphws.actions.reduction.reading import met_by, shown
from graphws.actions.reduction.slices import places
from graphws.actions.reduction.worlds import Worlds
from graphws.errors import GraphError
from graphws.graph import NetworkGraph
from graphws.operations.labels import Labels

AWAKE = 16
"""On so many numbers at least an element must not be zero."""
ANGLE = 1e-5
"""Values that are not parallel to this are not compared any further."""


@torch.no_grad()
def alike(worlds: Worlds, labels: Labels, space: str, tolerance: float) -> dict[int, Step]:
    """Elements of a set whose values are those of an earlier one that stays, times a factor.

    Args:
        worlds: The network; its worlds have the random numbers.
        labels: The spaces of its values' axes.
        space: The set.
        tolerance: How far values may be from their ratio, relative to their norm.

    Returns:
        dict[int, Step]: Duplicates; none where the values that are read do not show the elements.
    """
    graph = worlds.graph
    where = [place for place in places(graph, space) if not place.written]
    read = [_meeting(graph, labels, place.parameter, space) for place in where]
    names = {name for found in read for name in found}
    if not names or not all(read):
        return {}
    try:
        runs = _runs(worlds, labels, space, sorted(names))
    except GraphError:
        return {}
    elements, power = graph.space(space).size, max([1, *(-place.power for place in where)])
    free = all(place.power == -power for place in where)  # whether columns can take over any factor
    rows = torch.nn.functional.normalize(runs[0].nan_to_num(0.0, 0.0, 0.0), dim=1)
    awake = torch.stack([(run != 0).sum(1) for run in runs]).sum(0) >= AWAKE
    found: dict[int, Step] = {}
    for i in range(elements):
        if i in found or not bool(awake[i]):
            continue
        near = (rows[i + 1 :] @ rows[i]).abs() >= 1 - ANGLE
        for j in ((near & awake[i + 1 :]).nonzero().flatten() + i + 1).tolist():
            ratio = float((runs[0][j] @ runs[0][i]) / runs[0][i].square().sum())
            figure = max(float((run[j] - ratio * run[i]).norm() / run[j].norm()) for run in runs if run[j].any())
            if j not in found and figure <= tolerance and (free or abs(ratio - 1) <= tolerance):
                found[j] = Step("duplicate", figure, i, math.copysign(abs(ratio) ** (1 / power), ratio))
    return found


def _meeting(graph: NetworkGraph, labels: Labels, parameter: str, space: str) -> list[str]:
    """The values of a set that a parameter reads, or none where some do not show its elements."""
    found = [name for _, values in met_by(graph, parameter) for name in values]
    return found if all(shown(graph, labels, name, space)[1] is not None for name in found) else []


def _runs(worlds: Worlds, labels: Labels, space: str, names: list[str]) -> list[Tensor]:
    """For each world the values that are read, (elements, numbers), the set's part of the computation run as it is."""
    graph, elements, runs = worlds.graph, worlds.graph.space(space).size, []
    carrying = [
        step
        for step in worlds.steps
        if all(is_reached(graph, x) and shown(graph, labels, x, space)[1] is not None for x in step.operation.outputs)
    ]
    for k, world in enumerate(worlds.known):
        made: dict[str, Tensor] = {}
        for step in carrying:
            made.update(zip(step.operation.outputs, worlds.run(step, k, made), strict=False))
        parts = []
        for name in names:
            value, axis = shown(graph, labels, name, space)
            assert axis is not None
            found = made.get(value, world[value])
            parts.append(found.double().movedim(axis, 0).reshape(elements, -1))
        runs.append(torch.cat(parts, dim=1))
    return runs
