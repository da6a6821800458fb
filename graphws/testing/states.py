"""Features of neurons for checks: random ones, and what a group element makes of them.

A group element acts on such features by their grades alone, which the axes of a graph can say: a spot on space s of
grade p is a parameter ``s^p`` of a graph that has no others.  So it is the graph's own action that layers are held to.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from graphws.graph import Axis, GroupElement, NetworkGraph, Parameter, Weights
from graphws.layers.acting.grades import Grading
from graphws.layers.graded.operands import operands
from graphws.layers.graded.plan import make_plan
from graphws.layers.graded.state import Spot, State


def random_state(weights: Weights, channels: int, generator: torch.Generator) -> State:
    """Independent normal features of every grade on every space of the networks, under the rich symmetry.

    Args:
        weights: The networks, which act on them.
        channels: Channels of every feature.
        generator: Source of randomness.
    """
    plan = make_plan(weights.graph, "rich", "none")
    spots: list[Spot] = [*((site, 0) for site in plan.sites), *plan.graded]
    tensors = {}
    for space, grade in spots:
        sizes = () if space is None else plan.grades.sizes(space)
        shape = (weights.batch, *sizes, channels)
        tensors[space, grade] = torch.randn(shape, generator=generator, dtype=weights.floating)
    return State(operands(weights, plan.grades), tensors)


def act_on_state(element: GroupElement, weights: Weights, state: State) -> State:
    """A group element on features of neurons, and on the weights that act on them."""
    return replace(state, weights=operands(element.act(weights), state.grades), tensors=moved(element, state))


def moved(element: GroupElement, state: State) -> dict[Spot, Tensor]:
    """The features of a state as a group element moves them; scales are no part of a grade, so they do nothing."""
    found: dict[Spot, Tensor] = {}
    for (space, grade), x in state.tensors.items():
        if space is None:
            found[space, grade] = x
            continue
        graph = _alone(state.grades, space, grade)
        rows = x.flatten(1, -2)
        channels = [
            GroupElement(graph, element.maps).act(Weights(graph, {"x": rows[..., c]}))["x"]
            for c in range(rows.shape[-1])
        ]
        found[space, grade] = torch.stack(channels, -1).reshape(x.shape)
    return found


def _alone(grades: Grading, space: str, grade: int) -> NetworkGraph:
    """The spaces of a graph with one parameter: features of a grade."""
    return NetworkGraph(grades.graph.spaces, (Parameter("x", (Axis(space, grade),)),))
