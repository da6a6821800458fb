"""Weights that are ready to act: scales are gone, whatever their range, and nothing is divided by zero."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from graphws.errors import UsageError
from graphws.graph import Action, NetworkGraph, Parameter, Space, Weights
from graphws.graph.element import Monomial
from graphws.graph.group import GroupElement
from graphws.layers.acting.grades import SCALED, grading
from graphws.layers.graded.operands import operands, rescaled
from graphws.operations import mlp_graph
from graphws.testing import random_weights
from tests.layers.acting.networks import NETWORKS, bottleneck

RELU = mlp_graph([2, 4, 3, 1], activation="relu")


def drawn(graph: NetworkGraph) -> Weights:
    return random_weights(graph, 3, torch.Generator().manual_seed(0))


def scaled(weights: Weights, spread: float) -> Weights:
    """The same networks with neurons of scaled spaces at other scales, within e^±spread."""
    draw = torch.Generator().manual_seed(1)
    maps = {}
    for space in weights.graph.spaces:
        if space.moves and space.action in SCALED:
            n = weights.graph.extent(space.name)
            size = torch.exp(spread * (2 * torch.rand(n, generator=draw, dtype=torch.float64) - 1))
            maps[space.name] = Monomial(torch.arange(n), size)
    return GroupElement(weights.graph, maps).act(weights)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("spread", [1.0, 20.0])
def test_scales_leave_no_trace(name: str, spread: float) -> None:
    weights = drawn(NETWORKS[name]())
    grades = grading(weights.graph, "rich")
    before, after = operands(weights, grades), operands(scaled(weights, spread), grades)
    for parameter, x in before.tensors.items():
        torch.testing.assert_close(after[parameter], x, rtol=1e-10, atol=1e-10)


def test_without_measuring_they_would() -> None:
    weights = drawn(RELU)
    grades = grading(RELU, "permutation")
    assert not torch.allclose(operands(weights, grades)["W2"], operands(scaled(weights, 1.0), grades)["W2"])


def test_sizes_go_through_a_matrix_of_any_basis() -> None:
    weights = drawn(bottleneck())
    grades = grading(weights.graph, "rich")
    inner: Tensor = weights["U"] @ weights["D"]  # what U and D are together: no basis is left
    sizes = operands(weights, grades).sizes
    of_a = weights["W"].square().mean(2).sqrt()
    incoming = (inner * of_a.unsqueeze(1)).square().sum(2)
    assert (incoming / (sizes["b"].square() - weights["c"].square())).std() < 1e-10


def test_scales_come_back() -> None:
    weights = drawn(RELU)
    grades = grading(RELU, "rich")
    ready = operands(weights, grades)
    for name, x in ready.tensors.items():
        whole = rescaled(grades, x, name, ready.sizes, 1)
        torch.testing.assert_close(RELU.layout(name).unfold(whole, RELU.shape(name)), weights[name])


def test_neurons_that_nothing_writes_into_are_zero() -> None:
    weights = drawn(RELU)
    for name in ("W1", "b1"):
        weights[name][:, 1] = 0
    ready = operands(weights, grading(RELU, "rich"))
    assert not ready["W2"][:, :, 1].any()
    assert all(torch.isfinite(x).all() for x in ready.tensors.values())


def test_what_only_reads_measures_where_nothing_writes() -> None:
    spaces = (Space("a", 3, action=Action.SCALING), Space("out", 2, "free"))
    graph = NetworkGraph(spaces, (Parameter("V", "out a*"),))  # type: ignore[arg-type]
    ready = operands(drawn(graph), grading(graph, "rich"))
    torch.testing.assert_close(ready["V"].square().mean(2).sqrt(), torch.ones(3, 3, dtype=torch.float64))


def test_a_scale_that_nothing_measures_is_refused() -> None:
    spaces = (Space("a", 3, action=Action.SCALING),)
    graph = NetworkGraph(spaces, (Parameter("A", "a a*"),))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no parameter measures the scale of the neurons of 'a'"):
        operands(drawn(graph), grading(graph, "rich"))


def test_counters_do_not_act() -> None:
    weights = drawn(RELU)
    counted = replace(weights, tensors={**weights.tensors, "b3": torch.zeros(3, 1, dtype=torch.int64)})
    assert "b3" not in operands(counted, grading(RELU, "rich")).tensors
