"""How a reduction runs the networks that it compares: from their graph, on inputs given or drawn."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.computation.features import why_not_analysed
from graphws.actions.pictures.joined_axes import picture_view
from graphws.errors import GraphError, UsageError
from graphws.graph import Weights
from graphws.operations import run_values
from graphws.operations.sampling import OTHER_SIZES, random_inputs
from graphws.operations.verify import relative_change, scale_of

Run = Callable[[Weights], Tensor]
POINTS = 256
"""Random inputs on which outputs are compared where none are given."""
TOKENS = 8
"""Random tokens of each, where the network takes any number."""
SHARE = 8
"""One in so many points is tried in each of the other sizes."""


@dataclass(frozen=True)
class Outputs:
    """What a network gives on several sets of inputs.

    Args:
        sets: (1, points, …), the first on the inputs that were given or drawn, the others on other sizes of
            some of those.
    """

    sets: tuple[Tensor, ...]

    def change(self, other: Outputs) -> float:
        """How far another network's outputs are from these: the largest relative change on any set.

        Small inputs may leave outputs nearly alike, so none is compared with less than the first set's spread.
        Sets on which these are no finite numbers are left out.
        """
        first, changes = self.sets[0], [relative_change(self.sets[0], other.sets[0])]
        usual = scale_of(first) / math.sqrt(first.numel())
        for before, after in zip(self.sets[1:], other.sets[1:], strict=True):
            if bool(before.isfinite().all()):
                scale = torch.maximum(scale_of(before), usual * math.sqrt(before.numel()))
                changes.append(float((after - before).norm() / scale))
        return next((change for change in changes if math.isnan(change)), max(changes))


def runner(weights: Weights, inputs: Tensor | None, generator: torch.Generator | None) -> Run:
    """Runs networks like this one from their graph, in double precision: MLPs, attention and convolutional networks.

    Args:
        weights: The network.
        inputs: Points as the network reads them; random ones where None.
        generator: Source of the random points; seeded with 0 where None.

    Raises:
        UsageError: Where the graph cannot be run, or the shape of its inputs is needed and cannot be seen from it.
    """
    points = _points(weights, inputs, generator)
    return lambda candidate: _run(candidate, points)


def comparer(
    weights: Weights, inputs: Tensor | None, generator: torch.Generator | None, *, other_sizes: bool
) -> Callable[[Weights], Outputs]:
    """As `runner`, and where `other_sizes` says so also on inputs of `OTHER_SIZES`: what is redundant only on the sizes
    at hand is not redundant."""
    points = _points(weights, inputs, generator)
    graph = picture_view(weights).graph
    ends = [graph.value(name) for name in (graph.inputs[0], graph.outputs[0])]
    free = all(end is not None and end.shape[:1] == ("n",) for end in ends)
    some = points[: max(1, len(points) // SHARE)] if free else points
    others = [size * some for size in OTHER_SIZES.values()] if other_sizes and points.is_floating_point() else []
    lengths = [len(points)] + [len(x) for x in others]

    def outputs(candidate: Weights) -> Outputs:
        if free and others:
            return Outputs(_run(candidate, torch.cat([points, *others])).split(lengths, 1))
        return Outputs(tuple(_run(candidate, x) for x in (points, *others)))

    return outputs


def _points(weights: Weights, inputs: Tensor | None, generator: torch.Generator | None) -> Tensor:
    view = picture_view(weights).graph
    why = why_not_analysed(view)
    if why is not None:
        raise UsageError(f"outputs cannot be compared: {why}; give `run`")
    if inputs is None:
        rng = generator or torch.Generator().manual_seed(0)
        try:
            inputs = random_inputs(view, POINTS, rng, free=TOKENS)[view.inputs[0]]
        except GraphError:
            raise UsageError(
                "the shape of the inputs cannot be seen from this graph: give `inputs`, or `run`"
            ) from None
    return inputs.cpu().double() if inputs.is_floating_point() else inputs.cpu()


def _run(candidate: Weights, points: Tensor) -> Tensor:
    here = picture_view(candidate)
    out = here.graph.outputs[0]
    return run_values(here.graph, here, points, [out])[out]
