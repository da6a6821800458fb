from __future__ import annotations

import torch

from graphws.operations import AttentionLayer, attention_graph, attention_pool_graph, mlp_graph, run_values
from graphws.operations.latents import carriers, latents
from tests.graph import samples


def test_a_layer_carries_its_activations_and_the_input_itself() -> None:
    graph = mlp_graph([3, 5, 4, 2], ["tanh", "relu"], output_activation="sigmoid")
    assert carriers(graph) == {"input": "x0", "hidden1": "x1", "hidden2": "x2", "output": "x3"}
    weights, x = samples.random_weights(graph, 2), torch.randn(7, 3, dtype=torch.float64)
    found = latents(graph, weights, x)
    assert {name: tuple(t.shape) for name, t in found.items()} == {
        "input": (2, 7, 3), "hidden1": (2, 7, 5), "hidden2": (2, 7, 4), "output": (2, 7, 2)
    }  # fmt: skip
    torch.testing.assert_close(found["hidden1"], torch.tanh(x @ weights["W1"].mT + weights["b1"].unsqueeze(1)))


def test_attention_carries_tokens_queries_and_what_heads_attended_to() -> None:
    layers = [AttentionLayer(4, 3, 5, query_dim=2), AttentionLayer(2, 2, 6)]
    graph = attention_graph(4, layers, output=3, positions=6)
    found = carriers(graph)
    assert found["model1"] == "p1"  # with its positions
    assert (found["query1"], found["value1"]) == ("q1", "h1")  # keys carry the dual of the space
    assert (found["model2"], found["value2"], found["output"]) == ("t2", "h2", "y")
    x = torch.randn(3, 6, 4, dtype=torch.float64)
    weights = samples.random_weights(graph, 2)
    assert latents(graph, weights, x)["value2"].shape == (2, 18, 4)


def test_shared_values_are_carried_before_they_are_attended_to() -> None:
    graph = attention_graph(4, [AttentionLayer(4, 3, 5, query_dim=2, key_value_heads=2)], output=3)
    found = carriers(graph)
    assert found["value1"] == "v1"
    assert found["asker1"] == "a1"  # its attention maps
    assert "query1" not in found  # queries come once for each asker: no value has one for each
    assert latents(graph, samples.random_weights(graph, 1), torch.randn(2, 6, 4).double())["value1"].shape == (1, 12, 6)


def test_a_group_element_moves_latents_as_it_moves_its_spaces() -> None:
    graphs = [
        (mlp_graph([3, 5, 4, 2], ["tanh", "relu"]), (3,)),
        (attention_graph(4, [AttentionLayer(2, 3, 5, query_dim=2), AttentionLayer(2, 2, 6)], output=3), (6, 4)),
        (attention_pool_graph(3, 6, [8, 5, 4], heads=2, activation=["tanh", "gelu"], patch=2), (3, 4, 6)),
    ]
    for graph, shape in graphs:
        weights, x = samples.random_weights(graph, 1), torch.randn(5, *shape, dtype=torch.float64)
        element = graph.group().random(torch.Generator().manual_seed(0), actions="rich")
        before, after = latents(graph, weights, x), latents(graph, element.act(weights), x)
        moving = [space.name for space in graph.spaces if space.moves and space.role != "head"]
        assert set(moving) <= set(before)
        for name in moving:
            expected = element.maps[name].apply(before[name], 2, 1)
            torch.testing.assert_close(after[name], expected, rtol=1e-8, atol=1e-8)


def test_every_carrier_is_a_value_of_the_computation() -> None:
    graph = mlp_graph([3, 5, 2], "tanh")
    values = run_values(graph, samples.random_weights(graph, 1), torch.randn(7, 3, dtype=torch.float64))
    assert set(carriers(graph).values()) <= set(values)
