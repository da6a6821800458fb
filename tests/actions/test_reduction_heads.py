"""Reduction of attention heads, of convolution channels, and of what a network's code does not let go."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graphws import convert
from graphws.actions.reduction import reduce
from graphws.actions.reduction.shrink import resized
from graphws.errors import GraphError
from graphws.graph import Axis, NetworkGraph, Parameter, Space, Storage, Weights
from graphws.operations import forward
from graphws.operations.builders.attention import AttentionLayer, attention_graph


def rng(seed):
    return torch.Generator().manual_seed(seed)


def attention(seed, **layer):
    """Two layers of attention; the second reads what the first writes."""
    layers = [AttentionLayer(4, 3, width=8, **layer), AttentionLayer(4, 3, width=8, **layer)]
    graph = attention_graph(8, layers, output=5)
    flat = torch.randn(1, graph.numel, generator=rng(seed), dtype=torch.float64)
    return Weights(graph, {n: x / x.shape[-1] ** 0.5 for n, x in Weights.unflatten(graph, flat).items()})


def head(weights, name, j):
    """The slice of head j of a parameter."""
    tensor = weights[name][0]
    axis = next(k for k, a in enumerate(weights.graph.parameter(name).spaces) if "1" in a and a != "model1")
    size = tensor.shape[axis] // 4
    return tensor.narrow(axis, j * size, size)


TOKENS = torch.randn(7, 5, 8, generator=rng(9), dtype=torch.float64)


def agree(first, second):
    a, b = forward(first.graph, first, TOKENS), forward(second.graph, second, TOKENS)
    return torch.allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("form", [{}, {"query_dim": 2}])
def test_a_copied_head_in_another_basis_merges(form):
    weights = attention(0, **form)
    before = reduce(weights, TOKENS)
    assert before.removed == 0
    mix = torch.randn(3, 3, generator=rng(1), dtype=torch.float64)
    turn = torch.randn(2, 2, generator=rng(2), dtype=torch.float64)
    head(weights, "V1", 2).copy_(mix @ head(weights, "V1", 0))
    if form:
        head(weights, "Q1", 2).copy_(turn @ head(weights, "Q1", 0))
        head(weights, "K1", 2).copy_(torch.linalg.inv(turn).mT @ head(weights, "K1", 0))
    else:
        head(weights, "A1", 2).copy_(head(weights, "A1", 0))
    found = reduce(weights, TOKENS)
    assert found.graph.space("head1").size == 3
    assert [(r.element, r.reason, r.of) for r in found.maps["head1"].removals] == [(2, "head", 0)]
    assert agree(weights, found.weights)
    assert agree(weights, found.equivalent())
    assert reduce(found.weights, TOKENS).removed == 0


def test_heads_that_attend_alike_but_write_too_much_stay():
    """Two heads with the same attention and unrelated values write rank 6, more than one head of dimension 3 can."""
    weights = attention(0)
    head(weights, "A1", 2).copy_(head(weights, "A1", 0))
    assert reduce(weights, TOKENS).removed == 0


@pytest.mark.parametrize("form", [{}, {"query_dim": 2}])
def test_heads_with_equal_values_that_attend_otherwise_stay(form):
    weights = attention(0, **form)
    head(weights, "V1", 2).copy_(head(weights, "V1", 0))
    if form:  # the same queries with other keys
        head(weights, "Q1", 2).copy_(head(weights, "Q1", 0))
    assert reduce(weights, TOKENS).removed == 0


def test_nearly_thin_heads_stay():
    weights = attention(4)
    for j in range(4):
        head(weights, "V1", j)[2] = head(weights, "V1", j)[0] + 1e-6 * head(weights, "V1", j)[2]
    assert reduce(weights, TOKENS).graph.space("value1").size == 3
    assert reduce(weights, TOKENS, tolerance=1e-4).graph.space("value1").size == 2


@pytest.mark.parametrize("form", [{}, {"query_dim": 2}])
def test_a_head_that_writes_nothing_goes(form):
    """Its keys are no way out: in standard form they are read by its queries only."""
    weights = attention(3, **form)
    head(weights, "O2", 1).zero_()
    found = reduce(weights, TOKENS)
    assert found.graph.space("head1").size == 3
    assert found.maps["head1"].removals[0].reason == "unread"
    assert agree(weights, found.weights)


def test_low_rank_heads_shrink_together():
    weights = attention(4)
    for j in range(4):
        thin = torch.randn(3, 2, generator=rng(j), dtype=torch.float64)
        head(weights, "V1", j).copy_(thin @ head(weights, "V1", j)[:2].clone())
    found = reduce(weights, TOKENS)
    assert found.graph.space("value1").size == 2
    assert agree(weights, found.weights)
    assert agree(weights, found.equivalent())
    one_full = attention(4)
    for j in range(3):
        head(one_full, "V1", j)[2].zero_()
    assert reduce(one_full, TOKENS).graph.space("value1").size == 3


class Attention(nn.Module):
    """Attention as models write it, for any number of heads of dimension 3, with biases."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(a, b) for a, b in ((8, 12), (8, 12), (8, 12), (12, 8)))

    def forward(self, x):
        q, k, v = (layer(x).view(*x.shape[:2], -1, 3).transpose(1, 2) for layer in (self.q, self.k, self.v))
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.o(y.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("basis", ["same", "another"])
def test_copied_heads_of_a_traced_module(basis):
    """Keys undo what queries do, so no sum of keys stands for two heads: a copied head's own go."""
    torch.manual_seed(0)
    module = Attention().double()
    turn, mix = (torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64)).Q for _ in range(2))
    if basis == "same":
        turn = mix = torch.eye(3, dtype=torch.float64)
    with torch.no_grad():
        for layer, matrix in ((module.q, turn), (module.k, turn), (module.v, mix)):
            layer.weight[9:], layer.bias[9:] = matrix @ layer.weight[:3], matrix @ layer.bias[:3]
        module.o.weight[:, 3:6] = 0.0
    converted = convert(module, TOKENS)
    found = reduce(converted.weights, run=converted.run)
    (name,) = (m.space for m in found.maps.values() if m.size == 4)
    assert [(r.element, r.reason, r.of) for r in found.maps[name].removals] == [(1, "unread", None), (3, "head", 0)]
    assert name not in found.left_alone
    assert found.change < 1e-9
    small = Attention().double()
    small.q, small.k, small.v, small.o = (nn.Linear(a, b).double() for a, b in ((8, 6), (8, 6), (8, 6), (6, 8)))
    small.load_state_dict(found.weights.to_state_dict())
    torch.testing.assert_close(small(TOKENS), module(TOKENS))
    other = converted.weights.map(lambda x: x.clone())
    keys = next(p.name for p in converted.graph.parameters if p.storage.key == "k.weight")
    other[keys][0, 9:] += 0.1
    assert reduce(other, run=converted.run).maps[name].reduced == 3  # only the unread one


class Pictures(nn.Module):
    """Two convolutions with a batch norm, then a linear layer on the flattened channels."""

    def __init__(self, padding: int = 0) -> None:
        super().__init__()
        self.one = nn.Conv2d(2, 6, 3, padding=padding)
        self.norm = nn.BatchNorm2d(6)
        self.two = nn.Conv2d(6, 5, 3, padding=padding)
        self.out = nn.Linear(5 * (5 + padding * 4 - 1) ** 2, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.one(x)))
        return self.out(torch.relu(self.two(x)).flatten(1))


def pictures():
    torch.manual_seed(0)
    module = Pictures().eval().double()
    module.norm.running_mean.normal_()
    module.norm.running_var.uniform_(0.5, 2)
    return module, torch.randn(4, 2, 8, 8, dtype=torch.float64)


def channels(graph):
    return [s.size for s in graph.spaces if s.moves]


def test_channels_of_a_convolution():
    """A dead channel and a copied one, batch norm and all; a flattened axis of channels × pixels shrinks too."""
    module, x = pictures()
    with torch.no_grad():
        module.two.weight[:, 3] = 0.0
        for tensor in (module.one.weight, module.one.bias, module.norm.weight, module.norm.bias):
            tensor[5] = tensor[1]
        for tensor in (module.norm.running_mean, module.norm.running_var):
            tensor[5] = tensor[1]
        module.two.weight[4], module.two.bias[4] = 2.0 * module.two.weight[0], 2.0 * module.two.bias[0]
    converted = convert(module, x)
    assert channels(converted.graph) == [6, 5]
    found = reduce(converted.weights, run=converted.run)
    assert channels(found.graph) == [4, 4], found
    assert found.change < 1e-9
    smaller = Pictures().eval().double()
    smaller.one, smaller.norm = nn.Conv2d(2, 4, 3).double(), nn.BatchNorm2d(4).eval().double()
    smaller.two, smaller.out = nn.Conv2d(4, 4, 3).double(), nn.Linear(4 * 16, 3).double()
    state = found.weights.to_state_dict()
    smaller.load_state_dict({**state, **{k: v for k, v in smaller.state_dict().items() if k not in state}})
    assert torch.allclose(module(x), smaller(x), atol=1e-10)


def test_channels_with_other_statistics_are_no_copies():
    """Equal kernels behind a batch norm: a running variance of its own makes another function, if there is a shift."""
    module, x = pictures()
    with torch.no_grad():
        module.norm.bias.normal_()
        for tensor in (module.one.weight, module.one.bias, module.norm.weight, module.norm.bias):
            tensor[5] = tensor[1]
        module.norm.running_mean[5] = module.norm.running_mean[1]
    weights = convert(module, x).weights
    assert reduce(weights, x).removed == 0
    weights["norm.running_var"][0, 5] = weights["norm.running_var"][0, 1]
    assert channels(reduce(weights, x).graph) == [5, 5]


def test_a_norm_over_channels_keeps_its_size():
    """A layer norm averages over neurons, dead or not: the module's own code refuses, and the reason is told."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 2)).double()
    with torch.no_grad():
        module[3].weight[:, 2] = 0.0
    converted = convert(module, torch.randn(8, 3, dtype=torch.float64))
    found = reduce(converted.weights, run=converted.run)
    assert found.removed == 0
    (reason,) = [why for name, why in found.left_alone.items() if converted.graph.space(name).moves]
    assert reason.startswith("1 redundant elements had to stay: ")


def fused(size):
    """Queries, keys and values of one layer in one stored tensor."""
    spaces = (Space("in", 4, "free"), Space("h", size), Space("q", size), Space("out", 2, "free"))
    parameters = tuple(
        Parameter(
            n, (Axis(s), Axis("in", -1)), storage=Storage("qkv", (3 * size, 4), ((k * size, (k + 1) * size), (0, 4)))
        )
        for k, (n, s) in enumerate([("Q", "q"), ("K", "q"), ("V", "h")])
    )
    last = Parameter("O", (Axis("out"), Axis("h", -1)), storage=Storage("o", (2, size)))
    return NetworkGraph(spaces, (*parameters, last))


def test_fused_tensors_are_laid_out_anew():
    graph = fused(5)
    smaller = resized(graph, Space("q", 3))
    places = {p.name: p.storage for p in smaller.parameters}
    assert places["Q"].shape == (11, 4)
    assert [places[n].block[0] for n in "QKV"] == [(0, 3), (3, 6), (6, 11)]
    flat = Weights.unflatten(smaller, torch.randn(1, smaller.numel))
    back = Weights.from_state_dict(smaller, flat.to_state_dict())
    assert all(torch.equal(x, flat[name]) for name, x in back.items())


def test_tensors_that_cannot_be_stored_smaller_are_refused():
    spaces = (Space("c", 6), Space("out", 2, "free"))
    split = Parameter("w", (Axis("out"), Axis("c", -1)), storage=Storage("w", (2, 2, 3)))
    with pytest.raises(GraphError) as error:
        resized(NetworkGraph(spaces, (split,)), Space("c", 5))
    assert str(error.value) == "'w' splits one of its axes, so no smaller tensor can be stored in its place"


@pytest.mark.parametrize("noise", [1e-3, 1e-2])
def test_noisy_heads_and_ranks_show_a_gap(noise):
    """A copied head in another basis and heads of rank 2, with noise on every number: the gap is each rule's own."""
    generator = rng(7)
    weights = attention(0, query_dim=2)
    mix = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
    turn = torch.linalg.qr(torch.randn(2, 2, generator=generator, dtype=torch.float64)).Q
    head(weights, "V1", 2).copy_(mix @ head(weights, "V1", 0))
    head(weights, "Q1", 2).copy_(turn @ head(weights, "Q1", 0))
    head(weights, "K1", 2).copy_(turn @ head(weights, "K1", 0))
    for j in range(4):
        part = weights["V2"][0, 3 * j : 3 * j + 3]
        left = torch.linalg.svd(part).U[:, :2]
        part.copy_(left @ left.mT @ part)
    loud = weights.map(lambda x: x + noise * x.std() * torch.randn(x.shape, generator=generator, dtype=x.dtype))
    assert reduce(loud, TOKENS).removed == 0
    found = reduce(loud, TOKENS, tolerance="gap")
    assert (found.graph.space("head1").size, found.graph.space("head2").size) == (3, 4)
    assert (found.graph.space("value1").size, found.graph.space("value2").size) == (3, 2)
    assert [(r.element, r.reason, r.of) for r in found.maps["head1"].removals] == [(2, "head", 0)]
    assert {rule for rule, tolerance in found.tolerances.items() if tolerance.source == "gap"} == {"head", "rank"}
    assert noise / 10 < found.tolerances["head"].value < 30 * noise
    assert found.change < 10 * noise
