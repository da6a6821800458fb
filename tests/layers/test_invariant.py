"""Invariants: one for each orbit, and no group element changes them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graphws.errors import UsageError
from graphws.layers import Invariants
from graphws.operations import mlp_graph
from graphws.pooling import POOLINGS, learned_pooling
from graphws.testing import LayerTests, check_equivariance, random_features
from tests.layers.cases import GRAPHS, residual

MOVING = {name: graph for name, graph in GRAPHS.items() if graph.log10_order() > 0}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


EACH = [(name, pool) for name in MOVING for pool in POOLINGS if pool == "mean" or name in ("mlp 2-3-2-3", "head pairs")]


class TestInvariants(LayerTests):
    channels = 2

    @pytest.fixture(autouse=True, params=EACH, ids="-".join)
    def case(self, request: pytest.FixtureRequest) -> None:
        name, self.pool = request.param
        self.graph = MOVING[name]

    def make_layer(self) -> nn.Module:
        return Invariants([self.graph], 2, self.pool, heads=2 if learned_pooling(self.pool) else 1)


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        Invariants([residual(3)], 2, "median")
    assert str(caught.value) == f"unknown pooling 'median'; known are {', '.join(POOLINGS)}; did you mean 'mean'?"


@pytest.mark.parametrize("widths", [[2, 3, 3], [2, 4, 3, 5], [3, 4, 5, 4, 3, 2]])
def test_table_9(widths: list[int]) -> None:
    """W_1 has d_0 orbits, W_M d_M, b_M d_M, every other tensor one."""
    depth, first, last = len(widths) - 1, widths[0], widths[-1]
    invariants = Invariants([mlp_graph(widths)], 1, "mean")
    assert invariants.width == first + (depth - 2) + last + (depth - 1) + last


def test_the_diagonal_has_an_invariant_of_its_own() -> None:
    graph = residual(3)
    features = random_features(graph, 1, 2, rng())
    found = Invariants([graph], 1, "sum")(features)
    trace = torch.stack([a.squeeze(-1).trace() for a in features["A"]])
    assert ((found - trace.unsqueeze(1)).abs() < 1e-12).any(dim=1).all()


def test_roles_give_the_same_width_at_any_depth() -> None:
    graphs = [mlp_graph([2, 4, 3, 1]), mlp_graph([2, 3, 5, 4, 3, 1])]
    invariants = Invariants(graphs, 2, "mean", share="role").double()
    for graph in graphs:
        assert invariants(random_features(graph, 2, 3, rng())).shape == (3, invariants.width)
        check_equivariance(invariants, graph, rng(), channels=2)


def test_places_that_a_graph_lacks_are_zero() -> None:
    graphs = [mlp_graph([2, 4, 1]), mlp_graph([2, 4, 4, 1])]
    invariants = Invariants(graphs, 1, "mean", share="role").double()
    shallow = invariants(random_features(graphs[0], 1, 3, rng()))
    assert int((shallow == 0).all(dim=0).sum()) == 1, "the mean of the hidden weights"
