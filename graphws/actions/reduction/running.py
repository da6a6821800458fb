"""How a reduction runs the networks that it compares: from their graph, on inputs given or drawn."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphws.actions.computation.features import why_not_analysed
from graphws.actions.pictures.joined_axes import picture_view
from graphws.errors import GraphError, UsageError
from graphws.graph import Weights
from graphws.operations import run_values
from graphws.operations.sampling import random_inputs

Run = Callable[[Weights], Tensor]
POINTS = 256
"""Random inputs on which outputs are compared where none are given."""
TOKENS = 8
"""Random tokens of each, where the network takes any number."""


def runner(weights: Weights, inputs: Tensor | None, generator: torch.Generator | None) -> Run:
    """Runs networks like this one from their graph, in double precision: MLPs, attention and convolutional networks.

    Args:
        weights: The network.
        inputs: Points as the network reads them; random ones where None.
        generator: Source of the random points; seeded with 0 where None.

    Raises:
        UsageError: Where the graph cannot be run, or the shape of its inputs is needed and cannot be seen from it.
    """
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
    points = inputs.cpu().double() if inputs.is_floating_point() else inputs.cpu()

    def run(candidate: Weights) -> Tensor:
        here = picture_view(candidate)
        out = here.graph.outputs[0]
        return run_values(here.graph, here, points, [out])[out]

    return run
