"""The moment test and the reduction run every graph that runs by itself: no `run` has to be given."""

from __future__ import annotations

import pytest
import torch

from graphws.actions.reduction import reduce
from graphws.converting import convert
from graphws.graph import Weights
from graphws.operations import forward, measure_actions
from tests.actions.architecture_cases import GENERIC
from tests.actions.planting import rng

DEAD = {"CNN BatchNorm": ("0", "4.weight", 3), "ViT": ("t.linear1", "t.linear2.weight", 5)}
"""A space, the weight that reads it, and the element that is made dead."""


def cut(name: str) -> tuple[Weights, Weights]:
    """A network, and the same with one element that nothing reads."""
    case = GENERIC[name]
    found = convert(case.module(), case.points(2))
    assert found.weights is not None
    space, reader, element = DEAD[name]
    tensors = {key: tensor.clone() for key, tensor in found.weights.items()}
    axes = found.graph.parameter(reader).axes
    place = next(k for k, axis in enumerate(axes) if axis.space == space)
    tensors[reader].select(place + 1, element).zero_()
    return found.weights, Weights(found.graph, tensors)


@pytest.mark.parametrize("name", DEAD)
def test_moments(name: str) -> None:
    case = GENERIC[name]
    points = case.points(12)
    found = convert(case.module(), points[:2])
    assert found.weights is not None
    assert found.run is not None
    module, graph = found.run, found.graph
    ours = measure_actions(graph, found.weights, points, generator=rng())
    theirs = measure_actions(graph, found.weights, run=lambda w: module(w, points), generator=rng())
    assert [(each.space, each.found, each.verdict) for each in ours] == [
        (each.space, each.found, each.verdict) for each in theirs
    ]
    assert {each.space for each in ours} == {space.name for space in graph.spaces if space.moves}
    assert {each.verdict for each in ours} <= {"confirmed", "plain"}
    assert any(each.verdict == "confirmed" for each in ours)


@pytest.mark.parametrize("name", DEAD)
def test_reduction(name: str) -> None:
    whole, less = cut(name)
    found, space = reduce(less), DEAD[name][0]
    assert reduce(whole).graph.space(space).size == whole.graph.space(space).size
    assert found.graph.space(space).size == whole.graph.space(space).size - 1
    points = GENERIC[name].points(4)
    torch.testing.assert_close(forward(found.graph, found.weights, points), forward(less.graph, less, points))
