"""Inner axes (``~h``) and storage seen in another shape."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor

from graphws.actions.reduction.shrink import resized
from graphws.errors import GraphError
from graphws.graph import (
    Action,
    GroupElement,
    LinearMap,
    Monomial,
    NetworkGraph,
    Parameter,
    Space,
    Storage,
    Weights,
    from_networkx,
    from_pyg,
    orbits,
    to_networkx,
    to_pyg,
)
from graphws.graph.summary import summary_table
from graphws.layers import EquivariantLinear
from graphws.testing import check_equivariance
from tests.graph import samples

E, H, D = 3, 4, 2


def experts(action: Action = Action.PERMUTATION) -> NetworkGraph:
    """Experts with hidden neurons of their own; in ``in`` both kinds of axis, in ``grouped`` two inner meanings."""
    spaces = (
        Space("d", D, "free"),
        Space("e", E),
        Space("h", H, "nested", "e", action=action),
        Space("k", 2, "nested", "e"),
    )
    parameters = (
        Parameter("in", "e d* ~h"),
        Parameter("out", "e ~h* d"),
        Parameter("bias", "h"),
        Parameter("grouped", "h ~k*"),
    )
    return NetworkGraph(spaces, parameters)


def run(weights: Weights, x: Tensor) -> Tensor:
    """What the experts compute, summed; every index that the group moves is summed over."""
    inward, out, bias, grouped = (weights[name][0] for name in ("in", "out", "bias", "grouped"))
    hidden = torch.tanh(torch.einsum("nd,edh->neh", x, inward) + bias.reshape(E, H))
    scores = grouped.reshape(E, H, -1).square().sum((1, 2))
    return torch.einsum("neh,ehd,e->nd", hidden, out, scores)


@pytest.mark.parametrize("action", [Action.PERMUTATION, Action.SIGNED])
def test_the_group_leaves_a_network_of_experts_alone(action: Action) -> None:
    graph, rng = experts(action), torch.Generator().manual_seed(0)
    weights = samples.random_weights(graph, 1)
    x = torch.randn(5, D, generator=rng, dtype=torch.float64)
    for _ in range(5):
        element = graph.group().random(rng, actions="rich")
        torch.testing.assert_close(run(element.act(weights), x), run(weights, x), rtol=1e-10, atol=1e-10)
    only_parents = GroupElement(graph, {"e": element.maps["e"]})
    assert not torch.allclose(run(only_parents.act(weights), x), run(weights, x)), "children must follow their parents"


def test_an_inner_axis_moves_like_the_whole_space_on_one_axis() -> None:
    """T[e, ~h] is a vector over h in another shape; so the action must agree with that on the vector."""
    whole = NetworkGraph((Space("e", E), Space("h", H, "nested", "e", Action.LINEAR)), (Parameter("T", "h"),))
    split = NetworkGraph(whole.spaces, (Parameter("T", "e ~h"),))
    rng = torch.Generator().manual_seed(1)
    numbers = torch.randn(2, E * H, generator=rng, dtype=torch.float64)
    for batch in (None, 2):
        maps = whole.group().random(rng, batch=batch, actions="rich").maps
        assert isinstance(maps["h"], LinearMap)
        one = GroupElement(whole, maps).act(Weights(whole, {"T": numbers}))["T"]
        other = GroupElement(split, maps).act(Weights(split, {"T": numbers.reshape(2, E, H)}))["T"]
        torch.testing.assert_close(other.reshape(2, -1), one)
    own = GroupElement(split, {"h": Monomial(torch.tensor([1, 0, 2, 3, *range(4, E * H)]))})
    moved = own.act(Weights(split, {"T": numbers.reshape(2, E, H)}))["T"]
    assert torch.equal(moved[:, 0, 0], numbers[:, 1])


def test_an_element_is_the_product_of_the_parts_of_its_spaces() -> None:
    graph, rng = experts(Action.SIGNED), torch.Generator().manual_seed(3)
    weights = samples.random_weights(graph, 2)
    element = graph.group().random(rng, batch=2, actions="rich")
    by_parts = weights
    for space in graph.spaces:
        if space.moves:
            part = element.alone(space.name)
            assert graph.group().contains(part)
            by_parts = part.act(by_parts)
    at_once = element.alone(*(space.name for space in graph.spaces if space.moves)).act(weights)
    for name, tensor in element.act(weights).items():
        torch.testing.assert_close(by_parts[name], tensor)
        torch.testing.assert_close(at_once[name], tensor)


def test_orbits_layers_and_views_know_the_parent() -> None:
    graph, rng = experts(), torch.Generator().manual_seed(2)
    assert int(orbits(graph, "in").max()) + 1 == D
    assert int(orbits(graph, "grouped").max()) + 1 == 1
    layer = EquivariantLinear(graph, 2, 3).double()
    check_equivariance(layer, graph, rng, channels=2)
    weights = samples.random_weights(graph, 1)
    for view, back in ((to_networkx, from_networkx), (to_pyg, from_pyg)):
        again = back(view(weights))  # type: ignore[operator]
        assert samples.same_bits(again, weights)
    neurons = to_networkx(weights)
    assert neurons.number_of_edges(("k", 5), ("h", 10)) == 1, "child 1 of parent 2 joins children of parent 2"
    assert neurons.number_of_edges(("k", 5), ("h", 0)) == 0
    assert NetworkGraph.from_json(graph.to_json()) == graph
    assert from_networkx(to_networkx(graph)) == graph


def test_an_inner_axis_needs_one_axis_that_tells_the_parent() -> None:
    spaces = (Space("e", E), Space("h", H, "nested", "e"))
    cases = [
        ("~e", "parameter 'T': axis '~e' runs inside a parent, but its space has no parent"),
        ("~h e", "parameter 'T': axis '~h' runs inside a parent, but no single earlier axis tells its 'e'"),
        ("e e ~h*", "parameter 'T': axis '~h*' runs inside a parent, but no single earlier axis tells its 'e'"),
    ]
    for axes, message in cases:
        with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
            NetworkGraph(spaces, (Parameter("T", axes),))  # type: ignore[arg-type]


def test_parts_that_lie_scattered_are_blocks_of_a_view() -> None:
    """Query and key of each head side by side: rows (head, 2, dimension)."""
    view = (3, 2, 4, 5)
    spaces = (Space("d", 5, "free"), Space("h", 3), Space("q", 4, "nested", "h"), Space("k", 4, "nested", "h"))
    parameters = tuple(
        Parameter(name, f"{name} d*", storage=Storage("qk", (24, 5), ((0, 3), (n, n + 1), (0, 4), (0, 5)), (), view))  # type: ignore[arg-type]
        for n, name in enumerate("qk")
    )
    graph = NetworkGraph(spaces, parameters)
    state = {"qk": torch.randn(24, 5, generator=torch.Generator().manual_seed(0))}
    weights = Weights.from_state_dict(graph, state)
    assert torch.equal(weights["k"][0, 4:8], state["qk"][12:16])
    assert samples.bits(weights.to_state_dict()["qk"], state["qk"])
    assert NetworkGraph.from_json(graph.to_json()) == graph
    assert from_networkx(to_networkx(graph)) == graph
    with pytest.raises(GraphError, match=r"^storage 'qk': a view \(3, 2\) of a tensor of shape \(24, 5\)$"):
        Storage("qk", (24, 5), None, (), (3, 2))


def test_an_axis_may_be_stored_in_another_order() -> None:
    """Columns that the network reads as 2, 0, 1, 3, of which the first three belong to one space."""
    order = (2, 0, 1, 3)
    spaces = (Space("d", 2, "free"), Space("h", 3), Space("o", 1, "free"))
    places = [Storage("w", (2, 4), ((0, 2), (0, 3)), orders=((), order)),
              Storage("w", (2, 4), ((0, 2), (3, 4)), orders=((), order))]  # fmt: skip
    graph = NetworkGraph(spaces, (Parameter("w[0]", "d h*", storage=places[0]),  # type: ignore[arg-type]
                                  Parameter("w[1]", "d o*", storage=places[1])))  # type: ignore[arg-type]  # fmt: skip
    state = {"w": torch.randn(2, 4, generator=torch.Generator().manual_seed(0))}
    weights = Weights.from_state_dict(graph, state)
    assert torch.equal(weights["w[0]"][0], state["w"][:, [2, 0, 1]])
    assert samples.bits(weights.to_state_dict()["w"], state["w"])
    moved = graph.group().random(torch.Generator().manual_seed(1)).act(weights).to_state_dict()["w"]
    assert torch.equal(moved[:, 3], state["w"][:, 3])
    assert torch.equal(moved[:, :3].sort(1).values, state["w"][:, :3].sort(1).values)
    assert NetworkGraph.from_json(graph.to_json()) == graph
    assert from_networkx(to_networkx(graph)) == graph
    assert "w in another order[0:2, 0:3]" in repr(summary_table(graph))
    with pytest.raises(GraphError, match=r"^'w' is read in another order, so no smaller tensor can be stored in its"):
        resized(graph, Space("h", 2))


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        (((0, 1),), "storage 'w': 1 orders for 2 axes"),
        (((), (0, 0, 1)), "storage 'w': an order of an axis of 3 that is no permutation of it"),
        (((), (0, 1)), "storage 'w': an order of an axis of 3 that is no permutation of it"),
    ],
)
def test_orders_are_permutations_of_their_axes(orders: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(GraphError, match=f"^{re.escape(message)}$"):
        Storage("w", (2, 3), orders=orders)
