"""Attention networks run from the graph alone, and their group is the one claimed."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.errors import GraphError, VerificationError
from graphws.graph import Action, GroupElement, LinearMap, Monomial, NetworkGraph, Space, Weights
from graphws.operations import AttentionLayer, attention_graph, forward, multihead_graph, run_values, verify
from tests.graph import samples

PAPER = attention_graph(
    4, [AttentionLayer(4, 3, width=5), AttentionLayer(2, 2, width=6), AttentionLayer(1, 3, width=4)]
)
STANDARD = attention_graph(
    4, [AttentionLayer(2, 3, query_dim=2), AttentionLayer(3, 2, 5, query_dim=4)], output=3, bias=True, positions=6
)
GROUPED = attention_graph(
    4,
    [AttentionLayer(4, 3, 5, 2, key_value_heads=2), AttentionLayer(3, 2, 6, 3, key_value_heads=1)],
    output=4,
    bias=True,
)
LINEAR = attention_graph(4, [AttentionLayer(2, 3, 5), AttentionLayer(2, 3, 4, query_dim=2)], output=2, scores="linear")
GROUPED_FORM = attention_graph(4, [AttentionLayer(4, 3, 5, key_value_heads=2)], output=4, positions=6)
PICTURES = attention_graph(2, [AttentionLayer(2, 3, 5)], output=3, patch=2, positions=6, bias=True)
GRAPHS = {
    "paper": PAPER,
    "standard": STANDARD,
    "grouped": GROUPED,
    "linear": LINEAR,
    "grouped matrix form": GROUPED_FORM,
    "pictures": PICTURES,
}
each_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def points(graph: NetworkGraph, count: int = 3, seed: int = 1) -> Tensor:
    shape = (2, 4, 6) if graph is PICTURES else (6, 4)
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def slow(graph: NetworkGraph, weights: Weights, network: int, point: Tensor) -> Tensor:
    """The textbook formulas with loops over heads, queries and keys; grouped heads in the order (group, query)."""
    w = {name: tensor[network] for name, tensor in weights.items()}
    x = point
    if graph is PICTURES:
        rows = [
            torch.stack([point[c, 2 * i + a, 2 * j + b] for c in range(2) for a in range(2) for b in range(2)])
            for i in range(2)
            for j in range(3)
        ]
        x = torch.stack(rows)
    softmax = any(o.kind == "softmax" for o in graph.operations)
    depth = sum(name.startswith("V") for name in w)
    for i in range(1, depth + 1):
        if f"O{i}" in w:
            x = x @ w[f"O{i}"].flatten(1).T + w.get(f"bO{i}", 0)
        if i == 1 and "P" in w:
            x = x + w["P"]
        scale = next(float(o.attribute("scale", 1.0)) for o in graph.operations if o.outputs[0] == f"s{i}")
        groups = graph.space(f"head{i}").size
        askers = w[f"A{i}"] if f"A{i}" in w else w[f"Q{i}"]
        heads = len(askers) if askers.ndim == 3 else groups
        values = (x @ w[f"V{i}"].T + w.get(f"bV{i}", 0)).reshape(len(x), groups, -1)
        written = []
        for j in range(heads):
            group = j // (heads // groups)
            score = torch.zeros(len(x), len(x), dtype=x.dtype)
            for s in range(len(x)):
                for t in range(len(x)):
                    if f"A{i}" in w:
                        score[s, t] = scale * (x[s] @ w[f"A{i}"][j] @ x[t])
                        continue
                    q_bias = w[f"bQ{i}"].reshape(heads, -1)[j] if f"bQ{i}" in w else 0
                    q = w[f"Q{i}"].reshape(heads, -1, x.shape[1])[j] @ x[s] + q_bias
                    k = (w[f"K{i}"] @ x[t] + w.get(f"bK{i}", 0)).reshape(groups, -1)[group]
                    score[s, t] = scale * (q @ k)
            if softmax:
                score = torch.exp(score) / torch.exp(score).sum(1, keepdim=True)
            written.append(score @ values[:, group])
        x = torch.cat(written, -1)
        if f"O{i + 1}" in w and i == depth:
            x = x @ w[f"O{i + 1}"].flatten(1).T + w.get(f"bO{i + 1}", 0)
    return x


@each_graph
def test_the_graph_computes_the_formulas(graph: NetworkGraph) -> None:
    weights, x = samples.random_weights(graph, 2).map(lambda t: 0.5 * t), points(graph)
    got = forward(graph, weights, x)
    wanted = torch.stack([torch.stack([slow(graph, weights, k, point) for point in x]) for k in range(2)])
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)
    own = torch.stack([points(graph, 3, seed) for seed in (5, 6)])
    for k in range(2):
        torch.testing.assert_close(forward(graph, weights, own)[k], forward(graph, weights.select([k]), own[k])[0])


@each_graph
@pytest.mark.parametrize("actions", ["permutation", "rich"])
def test_the_group_leaves_the_function_alone_and_the_control_does_not(graph: NetworkGraph, actions: str) -> None:
    weights = samples.random_weights(graph, 2).map(lambda t: 0.5 * t)
    rng = torch.Generator().manual_seed(3)
    found = verify(graph, weights, points(graph), generator=rng, actions=actions, tolerance=1e-12)  # type: ignore[arg-type]
    assert found.control > 1e-2


@pytest.mark.parametrize(
    ("graph", "claim"),
    [
        (STANDARD, Space("token", 6)),  # tokens have learned encodings, so no relabelling is allowed
        (STANDARD, Space("output", 3)),
        (LINEAR, Space("head1", 2, action=Action.SIGNED)),  # the sign of a head's scores is no symmetry
        (LINEAR, Space("value1", 6, action=Action.LINEAR)),  # matrices that mix heads are none
    ],
    ids=["tokens", "output", "signed heads", "mixed heads"],
)
def test_a_false_claim_about_a_space_is_caught(graph: NetworkGraph, claim: Space) -> None:
    spaces = tuple(claim if space.name == claim.name else space for space in graph.spaces)
    false = NetworkGraph(spaces, graph.parameters, graph.operations, graph.inputs, graph.outputs)
    weights = samples.random_weights(false, 1).map(lambda t: 0.5 * t)
    with pytest.raises(VerificationError, match=r"^a random rich element changes the outputs by"):
        verify(false, weights, points(graph), generator=torch.Generator().manual_seed(0), actions="rich")


def test_heads_in_standard_form_carry_two_general_linear_groups() -> None:
    graph = attention_graph(4, [AttentionLayer(3, 2, query_dim=5)], output=4)
    assert [str(s) for s in graph.spaces if s.kind == "nested"] == [
        "value1: nested in head1, 2, linear",
        "query1: nested in head1, 5, linear",
    ]
    weights, x = samples.random_weights(graph, 1), points(graph)
    rng = torch.Generator().manual_seed(2)
    before = forward(graph, weights, x)
    for name, d in (("value1", 2), ("query1", 5)):
        blocks = [torch.randn(d, d, generator=rng, dtype=torch.float64) for _ in range(3)]
        element = GroupElement(graph, {name: LinearMap(torch.block_diag(*blocks))})
        assert graph.group().contains(element)
        moved = element.act(weights)
        torch.testing.assert_close(forward(graph, moved, x), before, rtol=1e-8, atol=1e-8)
        dense = LinearMap(torch.randn(3 * d, 3 * d, generator=rng, dtype=torch.float64))
        mixed = GroupElement(graph, {name: dense})  # mixes the heads: outside of the group
        assert not graph.group().contains(mixed)
        assert (forward(graph, mixed.act(weights), x) - before).norm() > 1e-2 * before.norm()


def test_queries_and_keys_are_permuted_together() -> None:
    """Paper D, section 5.4: one permutation of the columns of both projections."""
    graph = attention_graph(4, [AttentionLayer(1, 3, query_dim=5)], output=4)
    weights, x = samples.random_weights(graph, 1), points(graph)
    perm = torch.tensor([3, 0, 4, 1, 2])
    moved = GroupElement(graph, {"query1": Monomial(perm)}).act(weights)
    assert torch.equal(moved["Q1"][0], weights["Q1"][0][perm])
    assert torch.equal(moved["K1"][0], weights["K1"][0][perm])
    assert torch.equal(moved["V1"], weights["V1"])
    torch.testing.assert_close(forward(graph, moved, x), forward(graph, weights, x))
    apart = Weights(graph, {**weights.tensors, "Q1": moved["Q1"]})
    assert (forward(graph, apart, x) - forward(graph, weights, x)).abs().max() > 1e-2


def test_paper_one_ends_in_one_head_whose_values_are_free() -> None:
    assert [str(PAPER.space(name)) for name in ("head3", "output")] == ["head3: set, 1, permutation", "output: free, 3"]
    assert [str(p) for p in PAPER.parameters if p.name.endswith("2")] == [
        "O2[model2, value1*]",
        "A2[head2, model2*, model2*]",
        "V2[value2, model2*]",
    ]
    graph = attention_graph(4, [AttentionLayer(1, 3, query_dim=5)])
    assert graph.space("query1").action is Action.LINEAR
    weights = samples.random_weights(graph, 1)
    verify(graph, weights, points(graph), generator=torch.Generator().manual_seed(0), actions="rich")
    several = attention_graph(4, [AttentionLayer(2, 3, query_dim=5)])
    assert [space.kind for space in several.spaces] == ["free"] * 4  # outputs say which head is which
    weights = samples.random_weights(several, 1)
    torch.testing.assert_close(
        forward(several, weights, points(several))[0, 0], slow(several, weights, 0, points(several)[0])
    )


def test_the_number_of_tokens_is_free_without_positions() -> None:
    weights = samples.random_weights(PAPER, 2)
    for tokens in (1, 4, 9):
        assert forward(PAPER, weights, torch.zeros(2, tokens, 4, dtype=torch.float64)).shape == (2, 2, tokens, 3)


def test_tokens_may_be_permuted_where_there_are_no_positions() -> None:
    weights, x = samples.random_weights(PAPER, 1), points(PAPER)
    perm = torch.tensor([2, 0, 1, 5, 3, 4])
    torch.testing.assert_close(forward(PAPER, weights, x[:, perm]), forward(PAPER, weights, x)[:, :, perm])
    weights = samples.random_weights(STANDARD, 1)
    moved, before = forward(STANDARD, weights, x[:, perm]), forward(STANDARD, weights, x)[:, :, perm]
    assert (moved - before).abs().max() > 1e-2


@pytest.mark.parametrize("bias", [True, False])
def test_pytorchs_multihead_attention_computes_the_same_and_comes_back(bias: bool) -> None:
    torch.manual_seed(0)
    chain = nn.ModuleList(nn.MultiheadAttention(12, heads, bias=bias, batch_first=True) for heads in (3, 4)).double()
    for name, tensor in chain.named_parameters():
        if "bias" in name:
            nn.init.normal_(tensor)
    graph = multihead_graph(list(chain))  # type: ignore[arg-type]
    state = chain.state_dict()
    weights = Weights.from_state_dict(graph, state)
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    wanted, maps = x, []
    for module in chain:
        wanted, attention = module(wanted, wanted, wanted, average_attn_weights=False)
        maps.append(attention)
    torch.testing.assert_close(forward(graph, weights, x)[0], wanted)
    steps = run_values(graph, weights, x)
    torch.testing.assert_close(steps["a1"][0], maps[0])
    torch.testing.assert_close(steps["a2"][0], maps[1])
    back = weights.to_state_dict()
    assert sorted(back) == sorted(state)
    assert all(samples.bits(back[key], state[key]) for key in state)
    verify(graph, weights, x, generator=torch.Generator().manual_seed(0), actions="rich")


def test_scaled_dot_product_attention_agrees() -> None:
    graph = attention_graph(8, [AttentionLayer(4, 3, query_dim=5, key_value_heads=2)], output=6)
    weights = samples.random_weights(graph, 1)
    x = torch.randn(2, 7, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w = {name: tensor[0] for name, tensor in weights.items()}
    queries, keys, values = (
        (x @ w[n].reshape(-1, 8).T).unflatten(-1, (h, -1)).transpose(1, 2) for n, h in (("Q1", 4), ("K1", 2), ("V1", 2))
    )
    heads = functional.scaled_dot_product_attention(queries, keys, values, enable_gqa=True)
    wanted = heads.transpose(1, 2).flatten(2) @ w["O2"].flatten(1).T
    torch.testing.assert_close(forward(graph, weights, x)[0], wanted)


def test_grouped_heads_change_places_inside_their_group_and_with_it() -> None:
    graph = attention_graph(8, [AttentionLayer(6, 3, query_dim=5, key_value_heads=2)], output=6)
    assert [str(p) for p in graph.parameters if p.name in ("Q1", "K1", "O2")] == [
        "Q1[asker1, ~query1, input*]",
        "K1[query1*, input*]",
        "O2[output, asker1*, ~value1*]",
    ]
    assert graph.group().factors == ("S_2", "S_3 wr S_2", "S_3 wr S_2", "S_5 wr S_2")
    weights = samples.random_weights(graph, 1)
    x = torch.randn(2, 7, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = forward(graph, weights, x)
    inside = GroupElement(graph, {"asker1": Monomial(torch.tensor([2, 0, 1, 3, 5, 4]))})
    across = GroupElement(graph, {"asker1": Monomial(torch.tensor([0, 1, 3, 2, 4, 5]))})
    assert graph.group().contains(inside)
    assert not graph.group().contains(across)
    torch.testing.assert_close(forward(graph, inside.act(weights), x), before)
    assert (forward(graph, across.act(weights), x) - before).norm() > 1e-2 * before.norm()


def test_patches_are_those_of_a_convolution() -> None:
    weights, x = samples.random_weights(PICTURES, 1), points(PICTURES)
    embedded = run_values(PICTURES, weights, x)["t1"][0]
    convolution = functional.conv2d(x, weights["O1"][0].reshape(5, 2, 2, 2), weights["bO1"][0], stride=2)
    torch.testing.assert_close(embedded, convolution.flatten(2).mT)


def test_gradients_reach_weights_and_inputs() -> None:
    graph = attention_graph(2, [AttentionLayer(2, 2, query_dim=2), AttentionLayer(2, 1, 2)], output=1, bias=True)
    x = torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    flat = samples.random_weights(graph, 2).flatten().mul(0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda f, p: forward(graph, Weights.unflatten(graph, f), p), (flat, x))


def test_the_default_scale_is_that_of_each_form() -> None:
    by_layer = {o.outputs[0]: o.attribute("scale", 0.0) for o in LINEAR.operations if "scores" in o.kind}
    assert by_layer == {"s1": 1.0, "s2": pytest.approx(1 / math.sqrt(2))}


@each_graph
def test_json_comes_back(graph: NetworkGraph) -> None:
    assert NetworkGraph.from_json(graph.to_json()) == graph


def test_errors_say_what_is_allowed() -> None:
    layer = AttentionLayer(2, 3)
    cases = [
        (lambda: AttentionLayer(0, 3), r"^attention layer: heads must be at least 1, got 0$"),
        (
            lambda: AttentionLayer(4, 3, key_value_heads=3),
            r"^attention layer: 4 heads do not divide into 3 groups$",
        ),
        (lambda: attention_graph(4, []), r"^an attention network needs at least one layer$"),
        (
            lambda: attention_graph(4, [layer], scores="sotfmax"),  # type: ignore[arg-type]
            r"^scores must be softmax or linear, got 'sotfmax'; did you mean 'softmax'\?$",
        ),
        (
            lambda: attention_graph(4, [layer, layer]),
            r"^attention layer 2: needs a width, into which the layer below is projected$",
        ),
        (
            lambda: attention_graph(4, [AttentionLayer(4, 3, key_value_heads=2)]),
            r"^grouped queries in the last layer need an output projection: give output=\.\.\.$",
        ),
        (
            lambda: forward(PAPER, samples.random_weights(PAPER), torch.zeros(3, 4)),
            r"^inputs of shape \(3, 4\): this graph reads \(points, \?, 4\) or \(batch, points, \?, 4\)$",
        ),
        (
            lambda: forward(STANDARD, samples.random_weights(STANDARD), torch.zeros(3, 5, 4).double()),
            r"^got 5 tokens, the positional encoding is for 6$",
        ),
        (
            lambda: forward(PICTURES, samples.random_weights(PICTURES), torch.zeros(3, 2, 5, 4).double()),
            r"^pictures of 5x4 do not divide into patches of 2x2$",
        ),
        (lambda: multihead_graph([]), r"^no attention module given$"),
        (
            lambda: multihead_graph([nn.MultiheadAttention(4, 2), nn.MultiheadAttention(6, 2)]),
            r"^attention module 1: its width and biases must be those of the first$",
        ),
        (
            lambda: multihead_graph(nn.MultiheadAttention(4, 2, kdim=3)),
            r"^attention module 0: keys or values of a width of their own \(kdim, vdim\) are not read$",
        ),
        (
            lambda: multihead_graph(nn.MultiheadAttention(4, 2, add_zero_attn=True)),
            r"^attention module 0: add_bias_kv and add_zero_attn are not read$",
        ),
    ]
    for call, message in cases:
        with pytest.raises(GraphError, match=message):
            call()
