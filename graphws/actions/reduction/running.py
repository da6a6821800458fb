"""How a reduction runs the networks that it compares: from their graph, on inputs given or drawn."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphws.actions.pictures.steps import missing, run_network
from graphws.actions.pictures.view import convolves, picture_view
from graphws.actions.wires import feature_spaces
from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.operations.forward import point_axes

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
    why = missing(view)
    if why is not None:
        raise UsageError(f"outputs cannot be compared: {why}; give `run`")
    if inputs is None:
        rng = generator or torch.Generator().manual_seed(0)
        inputs = torch.randn(POINTS, *_shape(view), generator=rng, dtype=torch.float64)
    points = inputs.to("cpu", torch.float64)

    def run(candidate: Weights) -> Tensor:
        here = picture_view(candidate)
        return run_network(here.graph, here, points)[here.graph.outputs[0]]

    return run


def _shape(graph: NetworkGraph) -> tuple[int, ...]:
    """The shape of one input: features, or tokens of features."""
    space = feature_spaces(graph).get(graph.inputs[0])
    axes = 3 if convolves(graph) else point_axes(graph)
    if space is None or axes > 2:
        raise UsageError("the shape of the inputs cannot be seen from this graph: give `inputs`, or `run`")
    features = graph.extent(space)
    positions = [graph.shape(o.inputs[1])[-2] for o in graph.operations if o.kind == "position"]
    return (features,) if axes == 1 else ((positions or [TOKENS])[0], features)
