from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from graphws.errors import GraphError
from graphws.graph import Action, GroupElement, LinearMap, NetworkGraph, Operation, Parameter, Space, Weights
from graphws.operations import (
    AttentionLayer,
    attention_graph,
    attention_pool_graph,
    forward,
    merge_qk,
    merge_vo,
    mlp_graph,
    multihead_graph,
    verify,
)
from tests.graph import samples

LAYERS = [AttentionLayer(2, 3, 5, query_dim=2), AttentionLayer(3, 2, 6, query_dim=4)]
GROUPED = [AttentionLayer(4, 3, 5, query_dim=2, key_value_heads=2), AttentionLayer(2, 2, 6, 3, key_value_heads=1)]
GRAPHS = {
    f"{name}, {scores}{', biased' if bias else ''}": attention_graph(
        4, layers, 3, scores=scores, bias=bias, positions=6
    )  # type: ignore[arg-type]
    for name, layers in (("plain", LAYERS), ("grouped", GROUPED))
    for scores in ("softmax", "linear")
    for bias in (False, True)
}
each_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def points() -> Tensor:
    return torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def networks(graph: NetworkGraph, batch: int = 2) -> Weights:
    return samples.random_weights(graph, batch).map(lambda t: 0.5 * t)


def matrices(graph: NetworkGraph, name: str, seed: int = 0) -> GroupElement:
    """A random invertible matrix for every head of one space, and nothing elsewhere."""
    rng = torch.Generator().manual_seed(seed)
    d, heads = graph.space(name).size, graph.extent(name) // graph.space(name).size
    blocks = torch.randn(heads, d, d, generator=rng, dtype=torch.float64)
    return GroupElement(graph, {name: LinearMap(torch.block_diag(*blocks))})


def largest(first: Weights, second: Weights) -> float:
    return max(float((x - second[name]).norm() / x.norm().clamp_min(1e-9)) for name, x in first.items())


@each_graph
def test_merging_keeps_the_function_and_the_result_runs_and_verifies(graph: NetworkGraph) -> None:
    weights = networks(graph)
    before = forward(graph, weights, points())
    merged = {"qk": merge_qk(weights), "vo": merge_vo(weights), "both": merge_vo(merge_qk(weights))}
    for after in merged.values():
        torch.testing.assert_close(forward(after.graph, after, points()), before, rtol=1e-11, atol=1e-11)
        rng = torch.Generator().manual_seed(0)
        verify(after.graph, after, points(), generator=rng, actions="rich", tolerance=1e-11)
        assert NetworkGraph.from_json(after.graph.to_json()) == after.graph
    again = merge_qk(merge_vo(weights))
    assert set(again.tensors) == set(merged["both"].tensors)
    assert largest(again, merged["both"]) < 1e-12
    assert not [space for space in again.graph.spaces if space.role in ("query", "value")]


@each_graph
def test_matrices_inside_heads_are_divided_out_and_nothing_else_is(graph: NetworkGraph) -> None:
    weights = networks(graph)
    for merge, role in ((merge_qk, "query"), (merge_vo, "value")):
        merged = merge(weights)
        for i in (1, 2):
            moved = matrices(graph, f"{role}{i}").act(weights)
            assert largest(moved, weights) > 0.1
            assert largest(merge(moved), merged) < 1e-9
            other = matrices(graph, f"{'value' if role == 'query' else 'query'}{i}").act(weights)
            assert largest(merge(other), merged) > 0.1


@pytest.mark.parametrize("merge", [merge_qk, merge_vo])
def test_heads_of_full_rank_with_one_product_differ_by_one_matrix(merge: object) -> None:
    """The fibre of the merge has dimension d² a head: the rank of its derivative says so."""
    graph = attention_graph(4, [AttentionLayer(2, 2, query_dim=3)], output=5)
    weights = networks(graph, 1)

    def product(flat: Tensor) -> Tensor:
        return merge(Weights.unflatten(graph, flat.unsqueeze(0))).flatten()[0]  # type: ignore[operator]

    jacobian = torch.autograd.functional.jacobian(product, weights.flatten()[0])
    lost = graph.numel - int(torch.linalg.matrix_rank(jacobian))
    assert lost == 2 * (3 * 3 if merge is merge_qk else 2 * 2)


def test_the_products_are_those_of_the_paper() -> None:
    graph = attention_graph(4, LAYERS, 3)
    weights = networks(graph, 1)
    both = merge_vo(merge_qk(weights))
    for j in range(2):
        q, k, v = (weights[n][0, j * d : (j + 1) * d] for n, d in (("Q1", 2), ("K1", 2), ("V1", 3)))
        torch.testing.assert_close(both["A1"][0, j], q.T @ k)
        torch.testing.assert_close(both["M1"][0, j], weights["O2"][0][:, 3 * j : 3 * j + 3] @ v)
    assert [str(p) for p in both.graph.parameters] == [
        "O1[model1, input*]",
        "A1[head1, model1*, model1*]",
        "M1[head1, model2, model1*]",
        "A2[head2, model2*, model2*]",
        "M2[head2, output, model2*]",
    ]


def test_under_a_softmax_the_biases_without_effect_go() -> None:
    softmax = merge_vo(merge_qk(networks(GRAPHS["plain, softmax, biased"])))
    linear = merge_vo(merge_qk(networks(GRAPHS["plain, linear, biased"])))
    assert [p.name for p in softmax.graph.parameters if p.kind == "bias"] == ["bO1", "uA1", "bO2", "uA2", "bO3"]
    assert {"wA1", "cA1", "cM1"} <= set(linear.tensors)
    weights = networks(GRAPHS["plain, softmax, biased"])
    louder = Weights(weights.graph, {**weights.tensors, "bK1": weights["bK1"] + 7})
    assert largest(merge_qk(louder), merge_qk(weights)) == 0


def test_pytorchs_attention_merges_and_the_rest_of_its_state_dict_stays() -> None:
    torch.manual_seed(0)
    module = nn.MultiheadAttention(6, 2, batch_first=True).double()
    nn.init.normal_(module.in_proj_bias)
    weights = Weights.from_state_dict(multihead_graph(module), module.state_dict())
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    merged = merge_qk(weights)
    torch.testing.assert_close(forward(merged.graph, merged, x)[0], module(x, x, x)[0])
    assert sorted(merged.to_state_dict()) == ["A1", "V1", "bV1", "out_proj.bias", "out_proj.weight", "uA1"]


def test_attention_to_other_tokens_merges() -> None:
    graph = attention_pool_graph(3, 6, [8, 5, 4], heads=2, activation=["identity", "gelu"], patch=2)
    weights = networks(graph)
    x = torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    merged = merge_qk(weights)
    assert str(merged.graph.parameter("A1")) == "A1[head1, asker*, keys*]"
    torch.testing.assert_close(forward(merged.graph, merged, x), forward(graph, weights, x))
    with pytest.raises(GraphError, match=r"^no linear space of values inside heads: nothing to merge$"):
        merge_vo(weights)  # tokens are joined to one vector between values and the next weight


def test_labels_are_enough_where_the_steps_are_foreign() -> None:
    for name in ("plain, softmax, biased", "grouped, softmax, biased"):
        check_foreign(GRAPHS[name])


def check_foreign(graph: NetworkGraph) -> None:
    steps = (Operation("opaque", ("x0",), ("y",), {"name": "foreign"}),)
    foreign = NetworkGraph(graph.spaces, graph.parameters, steps, ("x0",), ("y",))
    weights = Weights(foreign, networks(graph).tensors)
    merged = merge_vo(merge_qk(weights))
    assert merged.graph.operations == ()
    assert {"A1", "uA1", "wA1", "cA1", "M1", "cM1"} <= set(merged.tensors)
    for role in ("query1", "value2"):
        moved = matrices(foreign, role).act(weights)
        assert largest(merge_vo(merge_qk(moved)), merged) < 1e-9


def test_biases_that_could_belong_to_several_queries_are_not_guessed() -> None:
    spaces = (Space("x", 4, "free"), Space("h", 2), Space("k", 3, "nested", "h", Action.LINEAR))
    axes = {"first": "k x*", "second": "k x*", "bias": "k", "key": "k* x*"}
    graph = NetworkGraph(spaces, tuple(Parameter(name, text) for name, text in axes.items()))  # type: ignore[arg-type]
    with pytest.raises(GraphError, match=r"^no linear space of queries and keys inside heads: nothing to merge$"):
        merge_qk(networks(graph))
    plain = NetworkGraph(spaces, tuple(p for p in graph.parameters if p.name != "bias"))
    assert [p.name for p in merge_qk(networks(plain)).graph.parameters] == ["first|key", "second|key"]


def test_a_value_that_something_else_reads_is_left_alone() -> None:
    graph = attention_graph(4, [AttentionLayer(2, 3, query_dim=2)], output=4)
    for seen in ("q1", "k1"):
        watched = NetworkGraph(graph.spaces, graph.parameters, graph.operations, graph.inputs, (seen,))
        with pytest.raises(GraphError, match=r"^no linear space of queries"):
            merge_qk(Weights(watched, networks(graph).tensors))
    for seen in ("v1", "h1"):
        watched = NetworkGraph(graph.spaces, graph.parameters, graph.operations, graph.inputs, (seen,))
        with pytest.raises(GraphError, match=r"^no linear space of values"):
            merge_vo(Weights(watched, networks(graph).tensors))


def test_networks_without_heads_have_nothing_to_merge() -> None:
    weights = samples.random_weights(mlp_graph([2, 3, 1], "identity"))
    with pytest.raises(GraphError, match=r"^no linear space of queries and keys inside heads: nothing to merge$"):
        merge_qk(weights)
    with pytest.raises(GraphError, match=r"^no linear space of values inside heads: nothing to merge$"):
        merge_vo(weights)
