"""Gauge fixing: the function stays, one representative of each gauge class, permutations pass through."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graphws.graph import Action, Axis, GroupElement, Monomial, NetworkGraph, Parameter, Space, Weights
from graphws.operations import forward, mlp_graph
from graphws.operations.canonical_gauge import canonical_element, canonical_gauge

BATCH = 5
CASES = [(activation, bias) for activation in ("sine", "tanh", "relu", "power", "gelu") for bias in (True, False)]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def networks(graph: NetworkGraph) -> Weights:
    return Weights.unflatten(graph, 0.5 * torch.randn(BATCH, graph.numel, generator=rng(), dtype=torch.float64))


def regauged(weights: Weights) -> Weights:
    """The same functions in a random gauge: signs and scales without permutations."""
    element = weights.graph.group().random(rng(5), BATCH, "rich")
    maps = {}
    for name, here in element.maps.items():
        assert isinstance(here, Monomial)
        maps[name] = Monomial(torch.arange(here.size).expand(BATCH, -1), here.scale)
    return GroupElement(weights.graph, maps).act(weights)


def difference(one: Weights, other: Weights) -> float:
    scale = one.flatten().abs().max()
    return float((one.flatten() - other.flatten()).abs().max() / scale)


@pytest.mark.parametrize(("activation", "bias"), CASES)
def test_laws(activation: str, bias: bool) -> None:
    graph = mlp_graph([2, 8, 6, 7, 2], activation=activation, bias=bias)
    weights = networks(graph)
    fixed = canonical_gauge(weights)
    x = torch.randn(30, 2, generator=rng(1), dtype=torch.float64)
    before, after = forward(graph, weights, x), forward(graph, fixed, x)
    assert (after - before).abs().max() < 1e-12 * before.abs().max()
    assert difference(canonical_gauge(fixed), fixed) < 1e-12
    assert difference(canonical_gauge(regauged(weights)), fixed) < 1e-12
    moved = graph.group().random(rng(2), BATCH)
    assert difference(canonical_gauge(moved.act(weights)), moved.act(fixed)) < 1e-12
    assert graph.group().contains(canonical_element(weights))
    if activation != "gelu":
        assert difference(regauged(weights), weights) > 0.1  # the laws above are not empty
        assert difference(fixed, weights) > 0.1


def test_signed_spaces_get_positive_biases() -> None:
    fixed = canonical_gauge(networks(mlp_graph([2, 8, 6, 1], activation="sine")))
    assert fixed["b1"].min() >= 0
    assert fixed["b2"].min() >= 0
    assert fixed["b3"].min() < 0  # the output has no gauge


def test_scaling_spaces_get_unit_rows() -> None:
    graph = mlp_graph([2, 8, 6, 1], activation="relu")
    weights = networks(graph)
    weights["W1"][0, 3] = 0  # a constant neuron: its bias decides
    weights["W1"][1, 2], weights["b1"][1, 2] = 0, 0  # a dead one: left alone
    fixed = canonical_gauge(weights)
    norms = fixed["W1"].norm(dim=2)
    assert torch.allclose(norms[2:], torch.ones(3, 8, dtype=torch.float64))
    assert norms[0, 3] == 0
    assert fixed["b1"][0, 3].abs() == 1
    assert torch.equal(fixed["W2"][1, :, 2].sign(), weights["W2"][1, :, 2].sign())
    assert torch.isfinite(fixed.flatten()).all()
    x = torch.randn(30, 2, generator=rng(1), dtype=torch.float64)
    assert torch.allclose(forward(graph, fixed, x), forward(graph, weights, x), atol=1e-12)
    assert difference(canonical_gauge(fixed), fixed) < 1e-12


def test_a_bias_of_zero_leaves_the_choice_to_sums() -> None:
    graph = mlp_graph([2, 8, 6, 1], activation="tanh")
    weights = networks(graph)
    weights["b1"][:, :3] = 0
    weights["b2"][:, 2:] = 0
    fixed = canonical_gauge(weights)
    assert (fixed["W1"][:, :3].sum(2) > 0).all()
    assert (fixed["W2"][:, 2:].sum(2) > 0).all()
    assert difference(canonical_gauge(regauged(weights)), fixed) < 1e-12
    assert difference(canonical_gauge(fixed), fixed) < 1e-12
    moved = graph.group().random(rng(2), BATCH)
    assert difference(canonical_gauge(moved.act(weights)), moved.act(fixed)) < 1e-12


def test_where_incoming_weights_cancel_outgoing_ones_decide() -> None:
    graph = mlp_graph([2, 8, 6, 1], activation="tanh")
    weights = networks(graph)
    weights["b1"][:, 1] = 0
    weights["W1"][:, 1] = torch.tensor([1.0, -1.0], dtype=torch.float64)
    fixed = canonical_gauge(weights)
    assert (fixed["W2"][:, :, 1].sum(1) > 0).all()
    assert difference(canonical_gauge(regauged(weights)), fixed) < 1e-12
    assert difference(canonical_gauge(fixed), fixed) < 1e-12


def test_incoming_weights_decide_before_outgoing_ones_in_whatever_order_parameters_are() -> None:
    graph = NetworkGraph(
        (Space("input", 3, "free"), Space("hidden", 8, action=Action.SIGNED), Space("output", 2, "free")),
        (Parameter("out", "output hidden*"), Parameter("in", "hidden input*")),
    )
    weights = networks(graph)
    assert bool((weights["in"].sum(2).sign() != weights["out"].sum(1).sign()).any())
    fixed = canonical_gauge(weights)
    assert bool((fixed["in"].sum(2) > 0).all())
    assert not bool((fixed["out"].sum(1) > 0).all())


def test_a_network_of_zeros_stays() -> None:
    graph = mlp_graph([2, 3, 1], activation="power")
    zeros = networks(graph).map(torch.zeros_like)
    assert not canonical_gauge(zeros).flatten().any()


def test_any_graph_nested_spaces_and_repeated_axes() -> None:
    """Heads with signed dimensions inside, and a residual weight that a signed space labels twice."""
    graph = NetworkGraph(
        (
            Space("in", 3, "free"),
            Space("head", 2),
            Space("dim", 4, "nested", parent="head", action=Action.SIGNED),
            Space("d", 5, action=Action.SCALING),
            Space("r", 3, action=Action.SIGNED),
        ),
        (
            Parameter("Q", "dim in*"),  # type: ignore[arg-type]
            Parameter("V", "d dim*"),  # type: ignore[arg-type]
            Parameter("c", "d", "bias"),  # type: ignore[arg-type]
            Parameter("R", "r r*"),  # type: ignore[arg-type]
            Parameter("U", (Axis("r"), Axis("d", -1))),
        ),
    )
    weights = networks(graph)
    fixed = canonical_gauge(weights)
    assert (fixed["Q"].sum(2) >= 0).all()
    assert torch.allclose(fixed["V"].norm(dim=2), torch.ones(BATCH, 5, dtype=torch.float64))
    assert (fixed["U"].sum(2) >= 0).all()
    assert difference(canonical_gauge(regauged(weights)), fixed) < 1e-12
    moved = graph.group().random(rng(2), BATCH)
    assert difference(canonical_gauge(moved.act(weights)), moved.act(fixed)) < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_and_input_are_kept(dtype: torch.dtype) -> None:
    weights = networks(mlp_graph([2, 8, 6, 1], activation="relu")).to(dtype=dtype)
    before: Tensor = weights.flatten().clone()
    assert canonical_gauge(weights).dtype == dtype
    assert torch.equal(weights.flatten(), before)
