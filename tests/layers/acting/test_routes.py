"""Routes: what travels along weights is what a loop over entries says, and it answers as its grade says."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from graphws.errors import VerificationError
from graphws.graph import NetworkGraph
from graphws.layers.acting.grades import grading
from graphws.layers.acting.routes import Route, carry, routes
from graphws.layers.graded.state import State
from graphws.testing import check_equivariance
from tests.layers.acting.networks import NETWORKS, EachNetwork


def by_entries(route: Route, weight: Tensor, features: Tensor) -> Tensor:
    """The definition: each entry takes what its source has to where its target is."""
    sizes = dict(zip(route.letters, route.sizes, strict=True))
    shape = [sizes[letter] for letter in route.target.letters]
    total = torch.zeros(len(weight), *shape, features.shape[-1], dtype=weight.dtype)
    for index in product(*(range(n) for n in route.sizes)):
        at = dict(zip(route.letters, index, strict=True))
        source = tuple(at[letter] for letter in route.source.letters)
        target = tuple(at[letter] for letter in route.target.letters)
        for free in range(route.free):
            entry = weight[(slice(None), *index, free)].unsqueeze(-1)
            total[(slice(None), *target)] += entry * features[(slice(None), *source, free)]
    return total * route.factor


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_carried_is_the_sum_over_entries(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    for route in routes(grading(NETWORKS[name](), "rich")):
        sizes = dict(zip(route.letters, route.sizes, strict=True))
        weight = torch.randn(2, *route.sizes, route.free, generator=draw, dtype=torch.float64)
        features = torch.randn(
            2, *(sizes[x] for x in route.source.letters), route.free, 3, generator=draw, dtype=torch.float64
        )
        torch.testing.assert_close(carry(route, weight, features), by_entries(route, weight, features))


class Carried(nn.Module):
    """All that one layer's routes carry, and nothing else."""

    def __init__(self, graph: NetworkGraph, wrong: bool = False) -> None:
        super().__init__()
        self.routes = routes(grading(graph, "rich"))
        self.wrong = wrong

    def forward(self, state: State) -> State:
        found: dict[tuple[str | None, int], Tensor] = {}
        for route in self.routes:
            x = state.get(route.source.space, route.reads)
            if self.wrong:  # invariants where features with a grade belong
                x = None if x is None or not route.reads else x.abs()
            if x is not None:
                weight = state.weights[route.parameter]
                weight = weight.square() if route.squared else weight
                x = carry(route, weight, x.unsqueeze(-2).expand(*x.shape[:-1], route.free, x.shape[-1]))
                spot = route.target.space, route.writes
                found[spot] = found[spot] + x if spot in found else x
        return State(state.weights, found)


JOINED = [name for name in NETWORKS if routes(grading(NETWORKS[name](), "rich"))]


@pytest.mark.parametrize("name", JOINED)
class TestCarried(EachNetwork):
    """Every route keeps the grades that it promises."""

    def make_layer(self) -> nn.Module:
        return Carried(self.graph)

    def test_the_check_of_grades_notices(self) -> None:
        if any(route.reads for route in routes(grading(self.graph, "rich"))):
            super().test_the_check_of_grades_notices()


@pytest.mark.parametrize("name", ["SIREN", "tanh MLP", "residual, signs", "residual, matrices"])
def test_features_of_another_grade_break_it(name: str) -> None:
    graph = NETWORKS[name]()
    with pytest.raises(VerificationError, match="not equivariant"):
        check_equivariance(
            Carried(graph, wrong=True), graph, torch.Generator().manual_seed(0), channels=2, actions="rich"
        )


def test_routes_of_a_siren_in_words() -> None:
    found = [str(route) for route in routes(grading(NETWORKS["SIREN"](), "rich"))]
    assert found == [
        "W2: hidden1 (odd) -> hidden2 (odd)",
        "W2 squared: hidden1 -> hidden2",
        "W2: hidden2 (odd) -> hidden1 (odd)",
        "W2 squared: hidden2 -> hidden1",
    ]


def test_a_matrix_of_any_basis_takes_vectors_in_and_out() -> None:
    found = [str(route) for route in routes(grading(NETWORKS["bottleneck"](), "rich"))]
    assert found == ["D: a -> r (vector)", "D: r (covector) -> a", "U: r (vector) -> b", "U: b -> r (covector)"]
