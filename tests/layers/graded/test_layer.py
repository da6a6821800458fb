"""The parts of models in which weights act, each held to the whole group: inlets, layers, the way back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from graphws.graph import NetworkGraph, Weights
from graphws.graph.space import Action
from graphws.layers.graded.entry import Entry
from graphws.layers.graded.exit import Exit
from graphws.layers.graded.inlets import inlets
from graphws.layers.graded.layer import ActingLayer
from graphws.layers.graded.operands import operands
from graphws.layers.graded.plan import make_plan
from graphws.layers.graded.state import State
from graphws.testing import check_equivariance, random_state, random_weights
from tests.layers.acting.networks import NETWORKS, EachNetwork


class Layer(nn.Module):
    """A layer with its plan."""

    def __init__(self, graph: NetworkGraph) -> None:
        super().__init__()
        self.plan = make_plan(graph, "rich", "none")
        self.layer = ActingLayer([self.plan], 2)

    def forward(self, state: State) -> State:
        result: State = self.layer(state, self.plan)
        return result


@pytest.mark.parametrize("name", NETWORKS)
class TestLayer(EachNetwork):
    """A layer keeps grades, on every kind of network."""

    def make_layer(self) -> nn.Module:
        return Layer(self.graph)

    def test_the_check_of_grades_notices(self) -> None:
        if make_plan(self.graph, "rich", "none").graded:
            super().test_the_check_of_grades_notices()


@pytest.mark.parametrize("name", NETWORKS)
class TestEntry(EachNetwork):
    """First features have the grades that they are said to have."""

    channels = None

    def make_layer(self) -> nn.Module:
        plan = make_plan(self.graph, "rich", "none")
        entry = Entry([plan], 2)

        class FromWeights(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.entry = entry

            def forward(self, weights: Weights) -> State:
                result: State = self.entry(operands(weights, plan.grades), plan)
                return result

        return FromWeights()


@pytest.mark.parametrize("name", NETWORKS)
class TestExit(EachNetwork):
    """Networks that come back answer to the whole group."""

    channels = None

    def make_layer(self) -> nn.Module:
        plan = make_plan(self.graph, "rich", "none")

        class There(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.entry, self.exit = Entry([plan], 2), Exit([plan], 2)

            def forward(self, weights: Weights) -> Weights:
                found: Weights = self.exit(self.entry(operands(weights, plan.grades), plan), weights, plan)
                return found

        return There()


def test_nothing_is_added_at_scale_zero() -> None:
    for make in NETWORKS.values():
        graph = make()
        weights = random_weights(graph, 2, torch.Generator().manual_seed(0))
        plan = make_plan(graph, "rich", "none")
        state = random_state(weights, 3, torch.Generator().manual_seed(1))
        same = Exit([plan], 3, networks=2, init_scale=0.0).double()(state, weights, plan)
        for name, x in weights.items():
            torch.testing.assert_close(same[name], x.repeat_interleave(2, 0))


def test_inlets_of_a_residual_weight() -> None:
    found = {str(inlet) for inlet in inlets(make_plan(NETWORKS["residual, matrices"](), "rich", "none").grades)}
    assert "diagonal of A -> network" in found, "the trace, the only invariant of a single matrix that is linear in it"
    found = {str(inlet) for inlet in inlets(make_plan(NETWORKS["residual, signs"](), "rich", "none").grades)}
    assert "diagonal of A -> d" in found


def test_a_vector_and_a_covector_are_needed_for_an_invariant() -> None:
    """Low-rank matrices are read through their product, never through squares of their entries."""
    graph = NETWORKS["low-rank pair"]()
    linear = [space.name for space in graph.spaces if space.action is Action.LINEAR]
    plan = make_plan(graph, "rich", "none")
    assert plan.pairs(None) == linear
    assert not [inlet for inlet in inlets(plan.grades) if inlet.space in linear and not inlet.grade]


class Positional(nn.Module):
    """A layer with a mistake: a bias on odd features."""

    def __init__(self, graph: NetworkGraph) -> None:
        super().__init__()
        self.layer = Layer(graph)

    def forward(self, state: State) -> State:
        found = self.layer(state)
        shifted: dict[tuple[str | None, int], Tensor] = {(space, grade): x + 1 for space, grade, x in found.graded}
        return found.with_(shifted)


@pytest.mark.parametrize("name", ["SIREN", "tanh MLP", "transformer block", "low-rank pair", "residual, matrices"])
def test_a_bias_on_graded_features_is_noticed(name: str) -> None:
    graph = NETWORKS[name]()
    with pytest.raises(Exception, match="not equivariant"):
        check_equivariance(Positional(graph).double(), graph, torch.Generator(), channels=2, actions="rich")
