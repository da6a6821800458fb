"""Probes: a network is run at a few inputs, and what its neurons say there joins their features.

This is *query access*: the function is asked, not only the weights.  Inputs are parameters of the model (learned), or
stay as they were drawn.  Activations answer to a space's action as what is read by the next weight does, so they have
the grade of power 1; scales are divided out by the neuron's size.  Outputs are invariants.

Any graph that runs can be probed, by the runner that runs everything else.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.layers.acting.grades import Grading
from graphws.layers.acting.operands import Operands, rescaled_feature
from graphws.layers.acting.state import Spot
from graphws.layers.keys import state_key
from graphws.operations.labels import labels
from graphws.operations.latents import carriers
from graphws.operations.plan import why_not
from graphws.operations.runner import run_values
from graphws.operations.sampling import random_inputs, random_weights

COORDINATES = 3
"""Inputs of at most so many numbers a point are coordinates of a signal on [-1, 1]."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What networks say at the probes.

    Args:
        neurons: For each spot (batch, *indices of the space, probes).
        outputs: (batch, numbers).
    """

    neurons: Mapping[Spot, Tensor]
    outputs: Tensor


class Probes(nn.Module):
    """Inputs at which networks are run.

    Args:
        graphs: Of the networks that come; those that read inputs of the same shapes share their probes.
        points: How many inputs.
        learned: Whether floating inputs are parameters; others never are.
        seed: Of the inputs, or where they start.

    Raises:
        UsageError: On graphs that do not run, or of whose outputs there are not equally many numbers.
    """

    def __init__(self, graphs: Sequence[NetworkGraph], points: int, learned: bool = True, seed: int = 0) -> None:
        super().__init__()
        self.points, self.learned = points, learned
        self.inputs = nn.ParameterDict()
        for graph in graphs:
            reason = why_not(graph)
            if reason:
                raise UsageError(f"probes run the networks, and these cannot be run by themselves: {reason}")
            for key, value in _drawn(graph, points, seed):
                floating = value.is_floating_point()
                self.inputs[key] = nn.Parameter(value, requires_grad=learned and floating)

    def width(self, graph: NetworkGraph) -> int:
        """How many numbers a network says at all probes."""
        generator = torch.Generator().manual_seed(0)
        with torch.device("cpu"):
            weights = random_weights(graph, 1, generator)
            outputs = run_values(graph, weights, random_inputs(graph, self.points, generator), graph.outputs)
        return sum(x.numel() for x in outputs.values() if x.is_floating_point())

    def forward(self, weights: Weights, operands: Operands) -> Answers:
        """Runs the networks.

        Args:
            weights: As they are: scaled weights are another function.
            operands: Of the same networks.
        """
        graph, grades = weights.graph, operands.grades
        inputs = {name: self._input(graph, name, weights) for name in graph.inputs}
        carried = {space: name for space, name in carriers(graph).items() if graph.space(space).moves}
        values = run_values(graph, weights, inputs, [*carried.values(), *graph.outputs])
        found: dict[Spot, Tensor] = {}
        for space, name in carried.items():
            x = self._on_space(grades, space, name, values[name])
            if x is not None:
                found[space, grades.grade(space, 1)] = rescaled_feature(operands, x, space, -1)
        outputs = [values[name].flatten(1) for name in graph.outputs if values[name].is_floating_point()]
        return Answers(found, torch.cat(outputs, 1))

    def _input(self, graph: NetworkGraph, name: str, weights: Weights) -> Tensor:
        x: Tensor = self.inputs[_key(graph, name)]
        return x.to(weights.floating) if x.is_floating_point() else x

    def _on_space(self, grades: Grading, space: str, name: str, value: Tensor) -> Tensor | None:
        """(batch, *indices, probes): the mean over positions; None where the space has no axis of its own."""
        graph = grades.graph
        axes = labels(graph)[name]
        places = [k for k, axis in enumerate(axes) if axis is not None and axis.space == space and not axis.inner]
        if len(places) != 1 or places[0] == 0 or value.shape[places[0] + 1] != graph.extent(space):
            return None
        moving = [k for k, axis in enumerate(axes) if axis is not None and graph.space(axis.space).moves]
        if moving != places or value.shape[1] != self.points or not value.is_floating_point():
            return None
        rows = value.movedim(places[0] + 1, 1).flatten(3) if value.ndim > 3 else value.movedim(places[0] + 1, 1)
        rows = rows.mean(3) if rows.ndim > 3 else rows
        return rows.unflatten(1, grades.sizes(space)) if len(grades.sizes(space)) > 1 else rows


def _key(graph: NetworkGraph, name: str) -> str:
    value = graph.value(name)
    shape = "x".join(str(size) for size in value.shape) if value is not None else ""
    return state_key(f"{name}:{shape}")


def _drawn(graph: NetworkGraph, points: int, seed: int) -> Iterator[tuple[str, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    with torch.device("cpu"):
        for name, value in random_inputs(graph, points, generator, dtype=torch.float32).items():
            signal = value.ndim == 2 and value.shape[1] <= COORDINATES and value.is_floating_point()
            yield _key(graph, name), torch.erf(value / math.sqrt(2)) if signal else value
