from __future__ import annotations

import pytest
import torch

from graphws.errors import GraphError
from graphws.graph import Action, GroupElement, LinearMap, Monomial, NetworkGraph, Parameter, Space, Weights
from graphws.matching import balanced_metric, descend, match, match_forward, matching_gauge, solving_order
from graphws.matching.match import same_map
from graphws.operations import forward, mlp_graph


def attention() -> NetworkGraph:
    """Two layers of heads with linear dimensions between token spaces, as paper I has them."""
    spaces = (
        Space("x", 6, "free"),
        Space("h1", 4),
        Space("d1", 3, "nested", "h1", action=Action.LINEAR),
        Space("t", 5, action=Action.LINEAR),
        Space("h2", 3),
        Space("d2", 2, "nested", "h2", action=Action.LINEAR),
        Space("y", 4, "free"),
    )
    parameters = (
        Parameter("A1", "h1 x* x*"),
        Parameter("V1", "d1 x*"),
        Parameter("O", "t d1*"),
        Parameter("A2", "h2 t* t*"),
        Parameter("V2", "d2 t*"),
        Parameter("R", "y d2*"),
    )
    return NetworkGraph(spaces, parameters)


def residual() -> NetworkGraph:
    """A residual stream of permutations with two blocks on it."""
    spaces = (Space("x", 5, "free"), Space("s", 8), Space("h", 10, action=Action.SIGNED), Space("y", 3, "free"))
    parameters = (
        Parameter("E", "s x*"),
        Parameter("U", "h s*"),
        Parameter("b", "h", "bias"),
        Parameter("D", "s h*"),
        Parameter("M", "s s*"),
        Parameter("R", "y s*"),
    )
    return NetworkGraph(spaces, parameters)


GRAPHS = {
    "mlp of all actions": mlp_graph(
        [4, 10, 9, 8, 7, 6, 3], ["relu", "sine", "power", "identity", "sigmoid"], omega=3.0, exponent=3
    ),
    "attention": attention(),
    "residual": residual(),
}


def drawn(graph: NetworkGraph, seed: int) -> Weights:
    rng = torch.Generator().manual_seed(seed)
    return Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng, dtype=torch.float64))


def distance(first: Weights, second: Weights) -> float:
    return float((first.flatten() - second.flatten()).norm() / first.flatten().norm())


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("seed", range(3))
def test_a_hidden_rich_element_is_found(name: str, seed: int) -> None:
    graph = GRAPHS[name]
    second = drawn(graph, seed)
    hidden = graph.group().random(torch.Generator().manual_seed(seed + 10), actions="rich")
    first = hidden.act(second)
    found = match(first, second, generator=torch.Generator().manual_seed(0))
    assert graph.group().contains(found)
    assert distance(first, found.act(second)) < 1e-9
    assert distance(first, second) > 0.5


def test_two_unrelated_networks_stay_apart() -> None:
    graph = mlp_graph([4, 10, 9, 3], activation="tanh")
    first, second = drawn(graph, 0), drawn(graph, 1)
    found = match(first, second)
    assert distance(first, found.act(second)) > 0.5


def test_noise_does_not_hide_the_element() -> None:
    graph = mlp_graph([20, 30, 30, 10], activation="tanh")
    second = drawn(graph, 0)
    hidden = graph.group().random(torch.Generator().manual_seed(1), actions="rich")
    first = hidden.act(second)
    noisy = Weights.unflatten(graph, first.flatten() + 0.5 * drawn(graph, 5).flatten())
    found = match(noisy, second)
    for space in ("hidden1", "hidden2"):
        assert same_map(found.maps[space], hidden.maps[space])


def test_descent_only_improves() -> None:
    graph = mlp_graph([6, 12, 12, 12, 4], activation="tanh")
    first, second = drawn(graph, 0), drawn(graph, 1)
    metric = balanced_metric(first)

    def closeness(element: GroupElement) -> float:
        moved = element.act(second)
        return sum(metric.of(name) * float((tensor * moved[name]).sum()) for name, tensor in first.items())

    start = match_forward(first, second, metric=metric)
    end = descend(first, second, start, metric=metric, generator=torch.Generator().manual_seed(0))
    assert closeness(end) > closeness(start)


def test_given_maps_stay_and_are_used() -> None:
    graph = mlp_graph([6, 12, 4], activation="tanh")
    second = drawn(graph, 0)
    flip = {
        "input": Monomial(torch.arange(6).flip(0)),
        "output": LinearMap(torch.linalg.qr(torch.randn(4, 4).double())[0]),
    }
    hidden = GroupElement(graph, {**graph.group().random(torch.Generator().manual_seed(3)).maps, **flip})
    found = match(hidden.act(second), second, fixed=flip)
    assert same_map(found.maps["input"], flip["input"])
    assert distance(hidden.act(second), found.act(second)) < 1e-9
    assert distance(hidden.act(second), match(hidden.act(second), second).act(second)) > 0.1


@pytest.mark.parametrize("name", GRAPHS)
def test_the_gauge_is_a_group_element_and_a_projection(name: str) -> None:
    graph = GRAPHS[name]
    weights = drawn(graph, 0)
    gauge = matching_gauge(weights)
    assert graph.group().contains(gauge)
    moved = gauge.act(weights)
    again = matching_gauge(moved).act(moved)
    torch.testing.assert_close(again.flatten(), moved.flatten())


def test_the_gauge_leaves_the_function_alone_and_normalises() -> None:
    graph = mlp_graph([3, 8, 8, 2], ["relu", "identity"])
    weights = drawn(graph, 0)
    moved = matching_gauge(weights).act(weights)
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(forward(graph, moved, x), forward(graph, weights, x))
    torch.testing.assert_close(moved["W1"][0].norm(dim=1), torch.ones(8).double())
    torch.testing.assert_close(moved["W2"][0] @ moved["W2"][0].T, torch.eye(8).double())


def test_dead_neurons_and_empty_directions_do_not_break_the_gauge() -> None:
    graph = mlp_graph([3, 8, 8, 2], ["relu", "identity"], bias=False)
    weights = drawn(graph, 0)
    weights["W1"][0, 2] = 0.0
    weights["W2"][0, :, :5] = 0.0  # rank 3 in 8 directions
    moved = matching_gauge(weights).act(weights)
    assert torch.isfinite(moved.flatten()).all()
    assert torch.equal(moved["W1"][0, 2], torch.zeros(3).double())


def test_conjugation_undoes_the_gauge() -> None:
    graph = mlp_graph([3, 8, 8, 2], ["relu", "identity"])
    weights = drawn(graph, 0)
    gauge = matching_gauge(weights)
    element = graph.group().random(torch.Generator().manual_seed(0))
    after = gauge.inverse().act(element.act(gauge.act(weights)))
    torch.testing.assert_close((gauge.inverse() @ element @ gauge).act(weights).flatten(), after.flatten())


def test_the_order_walks_from_the_inputs() -> None:
    graph = GRAPHS["attention"]
    assert [family.root for family in solving_order(graph)] == ["h1", "t", "h2"]
    backwards = NetworkGraph(tuple(reversed(residual().spaces)), residual().parameters)
    assert [family.root for family in solving_order(backwards)] == ["s", "h"]


def test_graphs_must_agree() -> None:
    with pytest.raises(GraphError) as error:
        match(drawn(mlp_graph([3, 4, 2]), 0), drawn(mlp_graph([3, 5, 2]), 0))
    assert str(error.value) == "networks of different graphs cannot be matched"
