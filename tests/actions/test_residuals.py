"""An action as an approximate automorphism: residuals of weights, errors of parameters, and both on the graph."""

from __future__ import annotations

import math

import pytest
import torch

from graphws.actions import find_actions
from graphws.actions.measures.residuals import mark_residuals, parameter_errors, residuals
from graphws.graph import GroupElement, Monomial, Weights, from_networkx, to_networkx
from graphws.operations import mlp_graph
from graphws.operations.builders.attention import AttentionLayer, attention_graph
from tests.actions.planting import pictures, rng

SHAPE = (1, 4, 4)
GRAPH = mlp_graph([16, 8, 8, 16], "tanh")


def slow_residuals(weights: Weights, elements: list[GroupElement]) -> dict[str, torch.Tensor]:
    """max_g |θ[i, j] - s_i θ[p_i, q_j] / t_j|, number by number, for weights and biases of an MLP."""
    found = {}
    for parameter in weights.graph.parameters:
        here = weights[parameter.name][0]
        worst = torch.zeros_like(here)
        for element in elements:
            for at in [tuple(t) for t in torch.ones_like(here).nonzero().tolist()]:
                value, read = 1.0, []
                for axis, index in zip(parameter.axes, at, strict=True):
                    moved = element.maps.get(axis.space)
                    assert moved is None or isinstance(moved, Monomial)
                    scale = None if moved is None else moved.scale
                    read.append(index if moved is None else int(moved.perm[index]))
                    value *= 1.0 if scale is None else float(scale[index]) ** axis.power
                worst[at] = max(float(worst[at]), abs(value * float(here[tuple(read)]) - float(here[at])))
        found[parameter.name] = worst
    return found


def test_residuals_are_the_largest_changes() -> None:
    case = pictures(GRAPH, "rotations:4", SHAPE)
    elements = [GroupElement(GRAPH, maps) for maps in case.planted.actions]
    noisy = case.planted.noisy(0.1, rng(1))
    found, wanted = residuals(noisy, elements), slow_residuals(noisy, elements)
    for name, tensor in wanted.items():
        torch.testing.assert_close(found[name], tensor)
        assert float(tensor.max()) > 0
    exact = residuals(case.planted.weights, elements)
    assert max(float(tensor.max()) for tensor in exact.values()) < 1e-12


def test_errors_grow_with_noise_and_are_about_one_for_a_stranger() -> None:
    case = pictures(GRAPH, "mirror", SHAPE)
    elements = [GroupElement(GRAPH, maps) for maps in case.planted.actions]
    assert max(parameter_errors(case.planted.weights, elements).values()) < 1e-12
    noisy = parameter_errors(case.planted.noisy(0.1, rng(1)), elements)
    assert all(0.03 < noisy[name] < 0.2 for name in ("W1", "W2", "W3"))
    stranger = parameter_errors(case.planted.weights, [GRAPH.group().random(rng(2))])
    assert all(0.5 < stranger[name] < 1.5 for name in ("W1", "W2", "W3"))
    empty = case.planted.weights.map(torch.zeros_like)
    assert set(parameter_errors(empty, elements).values()) == {0.0}


def test_the_neuron_graph_carries_residuals() -> None:
    case = pictures(GRAPH, "mirror", SHAPE)
    noisy = case.planted.noisy(0.05, rng(1))
    found = find_actions(noisy, "mirror", SHAPE, decoys=0)
    view, wanted = found.to_networkx(), residuals(noisy, found.elements)
    edges = [edge for _, _, edge in view.edges(data=True) if edge["parameter"] == "W2"]
    assert len(edges) == 64
    for edge in edges:
        assert edge["residual"] == pytest.approx(float(wanted["W2"][edge["index"]]))
    assert view.nodes[("hidden1", 3)]["residuals"] == {"b1": pytest.approx(float(wanted["b1"][3]))}
    back = from_networkx(view)
    assert isinstance(back, Weights)
    assert all(torch.equal(tensor, back[name]) for name, tensor in noisy.items())


def test_the_typed_graph_carries_orbits_and_errors() -> None:
    case = pictures(GRAPH, "mirror", SHAPE)
    noisy = case.planted.noisy(0.05, rng(1))
    found = find_actions(noisy, "mirror", SHAPE, decoys=0)
    view, errors = found.typed_networkx(), parameter_errors(noisy, found.elements)
    assert view.nodes[("space", "hidden1")]["orbits"] == found.orbits()["hidden1"].count
    assert view.nodes[("space", "hidden1")]["k_error"] == found.layer("hidden1").k_error
    assert view.nodes[("space", "input")]["k_error"] is None
    assert view.nodes[("parameter", "W2")]["error"] == errors["W2"] > 0
    assert from_networkx(view) == GRAPH


def test_weights_of_three_neurons_carry_theirs() -> None:
    graph = attention_graph(4, [AttentionLayer(2, 2, query_dim=2)], output=4)
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng(0), dtype=torch.float64))
    swap = GroupElement(
        graph, {"head1": Monomial(torch.tensor([1, 0])), "query1": Monomial(torch.tensor([2, 3, 0, 1]))}
    )
    errors, found = parameter_errors(weights, [swap]), residuals(weights, [swap])
    assert errors["V1"] == 0.0
    assert errors["Q1"] == pytest.approx(
        float((weights["Q1"][0] - weights["Q1"][0].roll(2, 0)).norm() / weights["Q1"].norm() / math.sqrt(2))
    )
    torch.testing.assert_close(found["Q1"], (weights["Q1"][0] - weights["Q1"][0].roll(2, 0)).abs())


def test_tuples_of_three_neurons_are_nodes_with_residuals() -> None:
    graph = attention_graph(4, [AttentionLayer(2, 2)], output=4)
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng(0), dtype=torch.float64))
    swap = GroupElement(
        graph, {"head1": Monomial(torch.tensor([1, 0])), "value1": Monomial(torch.tensor([2, 3, 0, 1]))}
    )
    view, found = to_networkx(weights), residuals(weights, [swap])
    mark_residuals(view, found)
    triples = {node: values for node, values in view.nodes(data=True) if "parameter" in values}
    assert len(triples) == 2 * 4 * 4
    for (name, at), values in triples.items():
        assert values["residual"] == pytest.approx(float(found[name][at]))
        assert values["residual"] == pytest.approx(float((weights[name][0] - weights[name][0].flip(0)).abs()[at]))
