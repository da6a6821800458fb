from __future__ import annotations

import pytest
import torch

from graphws.align.least_norm_gauge import least_norm_gauge, settled_gauge
from graphws.graph import Action, GroupElement, NetworkGraph, Parameter, Space, Weights
from graphws.matching import matching_gauge
from graphws.operations import forward, mlp_graph
from tests.align.cases import ATTENTION, MLPS, distance, network, points

LINEAR = mlp_graph([6, 4, 4, 6], "identity")


def stream() -> NetworkGraph:
    """A residual stream with a scale of its own, read by a layer whose scale the stream decides."""
    spaces = (
        Space("x", 6, "free"),
        Space("d", 5, action=Action.MONOMIAL),
        Space("h", 2),
        Space("k", 3, "nested", "h", action=Action.LINEAR),
        Space("y", 4, "free"),
    )
    axes = {"E": "d x*", "V": "k d*", "O": "d k*", "N": "d*", "Y": "y d*"}
    return NetworkGraph(spaces, tuple(Parameter(n, a) for n, a in axes.items()))  # type: ignore[arg-type]


def grouped() -> NetworkGraph:
    """Two groups of heads, each of two that ask one head of values: outputs hold values inside those that ask."""
    spaces = (
        Space("x", 6, "free"),
        Space("g", 2),
        Space("h", 2, "nested", "g"),
        Space("k", 3, "nested", "g", action=Action.LINEAR),
        Space("y", 5, "free"),
    )
    axes = {"V": "k x*", "O": "y h* ~k*"}
    return NetworkGraph(spaces, tuple(Parameter(n, a) for n, a in axes.items()))  # type: ignore[arg-type]


def norms(weights: Weights) -> torch.Tensor:
    return torch.stack([x.norm() for _, x in weights.items()])


@pytest.mark.parametrize("graph", [stream(), grouped(), MLPS["relu"], MLPS["mixed"], LINEAR, MLPS["powers"]])
def test_networks_of_one_orbit_come_to_one_gauge(graph: NetworkGraph) -> None:
    first = network(graph)
    second = graph.group().random(torch.Generator().manual_seed(1), actions="rich").act(first)
    ours, theirs = (least_norm_gauge(w).act(w) for w in (first, second))
    torch.testing.assert_close(norms(ours), norms(theirs), rtol=1e-7, atol=0)  # norms forget signs, orders and bases
    assert float((norms(first) - norms(second)).norm()) > 0.1  # control
    assert float(ours.flatten().norm()) < float(first.flatten().norm())
    assert distance(ours, least_norm_gauge(ours).act(ours)) < 1e-7


@pytest.mark.parametrize("graph", [stream(), grouped()])
def test_no_other_gauge_has_less_norm(graph: NetworkGraph) -> None:
    least = least_norm_gauge(network(graph)).act(network(graph))
    for seed in range(20):
        element = graph.group().random(torch.Generator().manual_seed(seed), actions="rich")
        assert float(element.act(least).flatten().norm()) >= float(least.flatten().norm()) - 1e-12


def test_the_function_stays() -> None:
    graph = MLPS["mixed"]
    weights = network(graph)
    moved = least_norm_gauge(weights).act(weights)
    torch.testing.assert_close(forward(graph, moved, points(graph)), forward(graph, weights, points(graph)))


def test_the_plain_gauge_is_kept_where_it_is_at_rest() -> None:
    for graph in (MLPS["relu"], MLPS["linear"], ATTENTION["standard form"]):
        weights = network(graph)
        assert distance(matching_gauge(weights).act(weights), settled_gauge(weights).act(weights)) == 0
    weights = network(stream())
    plain = matching_gauge(weights).act(weights)
    assert distance(plain, matching_gauge(plain).act(plain)) > 1e-3  # a stream does not come to rest there
    settled = settled_gauge(weights).act(weights)
    assert distance(settled, least_norm_gauge(weights).act(weights)) == 0


def test_what_has_one_side_only_is_left_alone() -> None:
    graph = NetworkGraph((Space("x", 3, "free"), Space("h", 4, action=Action.SCALING)), (Parameter("W", "h x*"),))  # type: ignore[arg-type]
    weights = network(graph)
    assert distance(weights, least_norm_gauge(weights).act(weights)) == 0
    assert isinstance(least_norm_gauge(weights), GroupElement)
