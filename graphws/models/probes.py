"""Probes: a network is run at a few points, and what its neurons say there joins their features.

This is *query access*: the function is asked, not only the weights.  The points are parameters of the model (learned),
or stay where they are.  Activations answer to a space's action as what is read by the next weight does, so they have
the grade of power 1; scales are divided out by the neuron's size.  Outputs are invariants.

Any graph that runs can be probed, by the runner that runs everything else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphws.graph import Axis, NetworkGraph, Weights
from graphws.layers.acting.grades import Grading
from graphws.layers.graded.operands import Operands, rescaled_feature
from graphws.layers.graded.state import Answers, Spot
from graphws.models.points import Points, common_length
from graphws.operations.labels import labels
from graphws.operations.latents import carriers
from graphws.operations.runner import run_values


class Probes(nn.Module):
    """Points at which networks are run.

    Args:
        graphs: Of the networks that come; those that read inputs alike share their points.
        points: How many.
        learned: Whether they are learned.

    Raises:
        UsageError: On graphs that do not run or whose outputs are not equally many numbers, and where whole numbers
            are to be learned.
    """

    def __init__(self, graphs: Sequence[NetworkGraph], points: int, learned: bool = True) -> None:
        super().__init__()
        self.count = points
        self.points = Points(graphs, points, math.isqrt(points) ** 2 == points, learned)
        self.width = common_length(graphs, self.points)

    def forward(self, weights: Weights, operands: Operands) -> Answers:
        """Runs the networks.

        Args:
            weights: As they are: scaled weights are another function.
            operands: Of the same networks.
        """
        graph, grades, kind = weights.graph, operands.grades, weights.floating
        inputs = {n: x.to(kind) if x.is_floating_point() else x for n, x in self.points.of(graph).items()}
        carried = {space: name for space, name in carriers(graph).items() if graph.space(space).moves}
        values = run_values(graph, weights, inputs, [*carried.values(), *graph.outputs])
        found: dict[Spot, Tensor] = {}
        for space, name in carried.items():
            x = self._on_space(grades, space, name, values[name])
            if x is not None:
                found[space, grades.grade(space, 1)] = rescaled_feature(operands, x, space, -1)
        outputs = [values[name].flatten(1) for name in graph.outputs if values[name].is_floating_point()]
        return Answers(found, torch.cat(outputs, 1))

    def _on_space(self, grades: Grading, space: str, name: str, value: Tensor) -> Tensor | None:
        """(batch, *indices, points): the mean over positions; None where the space has no axis of its own."""
        graph = grades.graph
        axes = labels(graph)[name]
        moving = [k for k, axis in enumerate(axes) if axis is not None and graph.space(axis.space).moves]
        if len(moving) != 1 or moving[0] == 0 or axes[moving[0]] != Axis(space):
            return None
        if value.shape[1] != self.count or not value.is_floating_point():
            return None
        rows = value.movedim(moving[0] + 1, 1).flatten(3) if value.ndim > 3 else value.mT.unsqueeze(3)
        found: Tensor = rows.mean(3)
        return found.unflatten(1, grades.sizes(space))  # type: ignore[no-untyped-call, no-any-return]
