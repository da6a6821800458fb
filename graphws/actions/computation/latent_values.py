"""Latent values: the values of a computation on which a group can act, and the layers between them.

Every value that has features of one space is a candidate; a *latent value* is one that a later step turns into
something else (so not a pre-activation, which only its activation reads), or the network's output.  A *layer* is what
lies between latent values: the steps that recompute one from those before it.  Replacing those by their images and
recomputing measures how equivariant the layer is, on real activations:

    ‖f_i(ρ_{i-1}(g) h_{i-1}) - ρ_i(g) f_i(h_{i-1})‖ / ‖f_i(h_{i-1}) - mean‖.

The mean over points is taken out of the denominator, so a constant feature cannot hide an error.

Which values have which features is measured (`graphws.operations.labels`), so this holds for every network that runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from graphws.actions.computation.features import continued, features_of, is_reached
from graphws.graph import NetworkGraph, Operation, Weights


@dataclass(frozen=True)
class LatentValue:
    """A value that carries the features of one space, and the layer that makes it.

    Args:
        value: Its name in the computation.
        space: The space of its features; of an output that carries none the one that weights before it write last.
        steps: The steps that recompute it from the latent values before it.
        starts: The values that these steps start from.
        activation: The activation that made it (what pools or norms comes between), or None.
    """

    value: str
    space: str
    steps: tuple[Operation, ...]
    starts: tuple[str, ...]
    activation: Operation | None


@lru_cache(maxsize=64)
def latent_values(graph: NetworkGraph, without: frozenset[str] = frozenset()) -> tuple[LatentValue, ...]:
    """The latent values in the order of the computation; the last is the output.  None for a graph that does not run.

    What no input reaches, such as a learned query, is none: it is part of the layer that reads it.

    Args:
        graph: The graph.
        without: Values that are none, because nothing is known of how a group acts on them; layers lead past them.
    """
    features, inputs = features_of(graph), set(graph.inputs)
    names = []
    for operation in graph.operations:
        for out in operation.outputs:
            if out in graph.outputs or (
                out not in without
                and _may_move(graph, out)
                and any(_turns(graph, *each) for each in _readers(graph, out))
            ):
                names.append(out)
    found = []
    for name in names:
        steps = _steps(graph, name, (set(names) | inputs) - {name})
        written = {out for step in steps for out in step.outputs}
        starts = dict.fromkeys(x for step in steps for x in step.reads if x not in written and x not in graph.named)
        space = features[name].space if name in features else _written_last(graph, steps)
        activation = _activation(graph, name) if name in features else None
        found.append(LatentValue(name, space, steps, tuple(starts), activation))
    return tuple(found)


def _written_last(graph: NetworkGraph, steps: Sequence[Operation]) -> str:
    """The space that the last weights of a layer write."""
    for step in reversed(steps):
        for name in step.reads:
            for parameter in graph.weights_behind(name):
                written = [axis.space for axis in parameter.axes if axis.power > 0]
                if written:
                    return written[0]
    return graph.outputs[0]


def _may_move(graph: NetworkGraph, value: str) -> bool:
    """Whether a value depends on the input and has features that the group may move."""
    features = features_of(graph).get(value)
    reached = is_reached(graph, value) and graph.writers[value].row.axes != "pads"
    return features is not None and reached and graph.lineage(features.space)[0].moves


def _readers(graph: NetworkGraph, value: str) -> list[tuple[Operation, str]]:
    """The steps that read a value, each with the name that it reads; the edge that padding adds is looked through."""
    found = []
    for reader in graph.readers(value):
        pads = reader.row.axes == "pads"
        found += _readers(graph, reader.outputs[0]) if pads else [(reader, value)]
    return found


def _turns(graph: NetworkGraph, reader: Operation, value: str) -> bool:
    """Whether a step makes something else of a value: multiplies it by a weight, or gives features of other spaces."""
    if value not in features_of(graph):
        return True
    space = features_of(graph)[value].space
    if any(features_of(graph).get(out) is None or features_of(graph)[out].space != space for out in reader.outputs):
        return True
    return reads_by_weight(graph, reader, space)


def reads_by_weight(graph: NetworkGraph, step: Operation, space: str) -> bool:
    """Whether a step reads features of a space by a weight, possibly into the same space."""
    return any(
        axis.space == space and axis.power < 0
        for name in step.reads
        for parameter in graph.weights_behind(name)
        for axis in parameter.axes
    )


def _activation(graph: NetworkGraph, value: str) -> Operation | None:
    """The pointwise step behind a value, looking through steps that pool or norm the features of one value."""
    features = features_of(graph)
    space = features[value].space
    step, passed = graph.writers.get(value), None
    while step is not None:
        read = [name for name in step.reads if graph.sources(name) & set(graph.inputs)]
        other = len(read) != 1 or read[0] not in features or features[read[0]].space != space
        if other or reads_by_weight(graph, step, space):
            break
        if step.row.pointwise and step.kind != "identity":
            return step
        passed = step if step.kind == "identity" else passed
        step = graph.writers.get(read[0])
    return passed


def _steps(graph: NetworkGraph, value: str, sources: set[str]) -> tuple[Operation, ...]:
    """The steps that lead to a value from the sources nearest to it."""
    needed, steps = {value}, []
    for operation in reversed(graph.operations):
        if needed & set(operation.outputs):
            steps.append(operation)
            needed |= {name for name in operation.reads if name not in sources}
    return tuple(reversed(steps))


def recompute(latent: LatentValue, weights: Weights, source: Callable[[str], Tensor], points: int) -> Tensor:
    """The latent value of `points` points when the values that its steps start from are given, features last."""
    given = {name: source(name) for name in latent.starts}
    return continued(weights.graph, weights, given, latent.value, points)


def covariances(graph: NetworkGraph, *runs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The covariance of what is read from each space, over the points (and positions) of several runs.

    What never changes is taken out of each value, as a bias can: all filters answer alike to the mean picture.
    A space that several values carry (a residual stream) gets the mean over those that a weight reads.
    """
    features = features_of(graph)
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for operation in graph.operations:
        for name in dict.fromkeys(operation.reads):
            if name not in features or not reads_by_weight(graph, operation, features[name].space):
                continue
            rows = [run[name].flatten(0, -2) for run in runs]
            mean = torch.cat(rows).mean(0)
            space = features[name].space
            for part in rows:
                product = (part - mean).mT @ (part - mean)
                sums[space] = sums[space] + product if space in sums else product
                counts[space] = counts.get(space, 0) + len(part)
    return {space: total / counts[space] for space, total in sums.items()}


def centred_norm(value: Tensor) -> Tensor:
    """‖h - mean‖, the mean over points and positions."""
    rows = (value if value.is_floating_point() else value.double()).flatten(0, -2)
    norm: Tensor = (rows - rows.mean(0)).norm()
    return norm.clamp_min(torch.finfo(rows.dtype).tiny)
