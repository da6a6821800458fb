"""Wires: the values of a computation on which the group can act, and the layers between them.

Every step's output that carries features of one space is a candidate; a *wire* is one that a later step turns into
something else (so not a pre-activation, which only its activation reads), or the network's output.  A *layer* is what
lies between wires: the steps that recompute one wire from the wires before it.  Replacing those by their images and
recomputing measures how equivariant the layer is, on real activations:

    ‖f_i(ρ_{i-1}(g) h_{i-1}) - ρ_i(g) f_i(h_{i-1})‖ / ‖f_i(h_{i-1}) - mean‖.

The mean over points is taken out of the denominator, so a constant feature cannot hide an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.pictures.steps import steps_of
from graphws.actions.pictures.view import PIXELS
from graphws.graph import NetworkGraph, Operation, Weights
from graphws.operations import ACTIVATIONS

_POOLS = ("batch_norm", "pad", "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "mean")
_SHAPES = ("flatten", "view", "reshape", "dropout")
_SAME_FEATURES = {*ACTIVATIONS, *_POOLS, *_SHAPES, "add", "position", "patches", "mean_tokens"}

_READ = {"linear": (0, 1), "conv2d": (0, 1), "bilinear_scores": (0, 2), "attend_matrix": (1, 2)}
"""Which inputs of a step are multiplied by its weight."""


@dataclass(frozen=True)
class Wire:
    """A value that carries the features of one space.

    Args:
        value: Its name in the computation.
        space: The space of its features.
        steps: The steps that recompute it from the wires before it.
        activation: The activation that made it (what pools it comes between), or None.
    """

    value: str
    space: str
    steps: tuple[Operation, ...]
    activation: Operation | None


def feature_spaces(graph: NetworkGraph) -> dict[str, str]:
    """The space of the features of every value, as far as the steps say it.

    Where heads share keys and values, what is on two axes, askers and dimensions inside a head, is of no one space.
    """
    found: dict[str, str] = {}
    parameters = {parameter.name: parameter for parameter in graph.parameters}
    steps = [operation for operation in graph.operations if operation.inputs]  # constants read nothing
    for operation in steps:
        first, out = operation.inputs[0], operation.outputs[0]
        if operation.kind == "linear":
            weight = parameters[operation.inputs[1]]
            read = [a for a in weight.axes if a.power < 0 and graph.space(a.space).role != PIXELS]
            if read and not read[-1].inner:
                found.setdefault(first, read[-1].space)
            if not weight.axes[1].inner or weight.axes[1].power < 0:
                found[out] = weight.axes[0].space
        elif operation.kind == "conv2d":
            kernel = parameters[operation.inputs[1]]
            if operation.attribute("groups", 1) == 1:
                found.setdefault(first, kernel.axes[1].space)
            found[out] = kernel.axes[0].space
        elif operation.kind == "bilinear_scores":
            asks, asked, name = operation.inputs[:3]
            found.setdefault(asks, parameters[name].axes[1].space)
            found.setdefault(asked, parameters[name].axes[2].space)
        elif operation.kind == "attend_matrix":
            matrix = parameters[operation.inputs[2]]
            found.setdefault(operation.inputs[1], matrix.axes[-1].space)
            found[out] = matrix.axes[1].space
        elif operation.kind == "token":
            found[out] = parameters[operation.inputs[1]].axes[-1].space
        elif operation.kind == "attend" and operation.inputs[1] in found and not operation.attribute("groups", 0):
            found[out] = found[operation.inputs[1]]
        elif operation.kind in _SAME_FEATURES:
            known = next((found[name] for name in operation.inputs if name in found), None)
            if known is not None:
                found[out] = known
    for operation in reversed(steps):  # what stands before the first weight
        first, out = operation.inputs[0], operation.outputs[0]
        if operation.kind in _SAME_FEATURES and first not in found and out in found:
            found[first] = found[out]
    return found


def wires(graph: NetworkGraph) -> list[Wire]:
    """The wires in the order of the computation; the last is the output.  None for a graph without steps.

    What no input reaches, such as a learned query, is no wire: it is part of the layer that reads it.
    """
    spaces, made = feature_spaces(graph), {o.outputs[0]: o for o in graph.operations}
    constant = _constants(graph)
    names = []
    for operation in graph.operations:
        out = operation.outputs[0]
        if out in graph.outputs:
            names.append(out)
        elif out in spaces and out not in constant and graph.lineage(spaces[out])[0].moves:
            if operation.kind == "pad":
                continue
            readers = _readers(graph, out)
            if any(_turns(reader, name) or spaces.get(reader.outputs[0]) != spaces[out] for reader, name in readers):
                names.append(out)
    found = []
    for name in names:
        if name in spaces:
            activation: Operation | None = made[name]
            while activation is not None and activation.kind in (*_POOLS, *_SHAPES):
                activation = made.get(activation.inputs[0])
            if activation is not None and activation.kind not in ACTIVATIONS:
                activation = None
            found.append(Wire(name, spaces[name], _steps(graph, name, set(names) - {name}), activation))
    return found


def _readers(graph: NetworkGraph, value: str) -> list[tuple[Operation, str]]:
    """The steps that read a value, each with the name that it reads; the edge that padding adds is looked through."""
    found = []
    for later in graph.operations:
        if value in later.inputs:
            found += _readers(graph, later.outputs[0]) if later.kind == "pad" else [(later, value)]
    return found


def _turns(reader: Operation, value: str) -> bool:
    """Whether a step multiplies a value by a weight (into the same space, in a residual network)."""
    return value in reader.inputs[slice(*_READ.get(reader.kind, (0, 0)))]


def _constants(graph: NetworkGraph) -> set[str]:
    """Parameters and the values that are made of nothing else."""
    constant = {parameter.name for parameter in graph.parameters}
    for operation in graph.operations:
        if operation.kind == "token" or constant.issuperset(operation.inputs):
            constant |= set(operation.outputs)
    return constant


def _steps(graph: NetworkGraph, value: str, sources: set[str]) -> tuple[Operation, ...]:
    """The steps that lead to a value from the sources nearest to it."""
    needed, steps = {value}, []
    for operation in reversed(graph.operations):
        if needed & set(operation.outputs):
            steps.append(operation)
            needed |= {name for name in operation.inputs if name not in sources}
    return tuple(reversed(steps))


def recompute(wire: Wire, weights: Weights, source: Callable[[str], Tensor]) -> Tensor:
    """The wire's value when the values that its steps start from are given by `source`."""
    values: dict[str, Tensor] = {}
    known, table = set(weights.tensors), steps_of(weights.graph)

    def read(name: str) -> Tensor:
        if name in known:
            return weights[name]
        return values[name] if name in values else source(name)

    for operation in wire.steps:
        values[operation.outputs[0]] = table[operation.kind](operation, *(read(n) for n in operation.inputs))
    return values[wire.value]


def covariances(graph: NetworkGraph, *runs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The covariance of what is read from each space, over the points (and tokens) of several runs.

    What never changes is taken out of each value, as a bias can: all filters answer alike to the mean picture.
    A space that several values carry (a residual stream) gets the mean over those that a weight reads.
    """
    spaces = feature_spaces(graph)
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for operation in graph.operations:
        for name in operation.inputs[slice(*_READ.get(operation.kind, (0, 0)))]:
            if name not in spaces:
                continue
            rows = [run[name].flatten(0, -2) for run in runs]
            mean = torch.cat(rows).mean(0)
            space = spaces[name]
            for part in rows:
                product = (part - mean).mT @ (part - mean)
                sums[space] = sums[space] + product if space in sums else product
                counts[space] = counts.get(space, 0) + len(part)
    return {space: total / counts[space] for space, total in sums.items()}


def centred_norm(value: Tensor) -> Tensor:
    """‖h - mean‖, the mean over points and tokens."""
    rows = value.flatten(0, -2)
    norm: Tensor = (rows - rows.mean(0)).norm()
    return norm.clamp_min(torch.finfo(value.dtype).tiny)
