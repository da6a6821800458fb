"""Heads and dimensions of traced networks, whose operations count them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from graphws import convert
from graphws.actions.reduction import reduce
from graphws.actions.reduction.edit import merged, remove
from graphws.actions.reduction.maps import Step
from graphws.actions.reduction.refit import Kept, refitted
from graphws.checkpoints.network_file import save_network
from graphws.converting import load_graph_file
from graphws.errors import GraphError
from graphws.graph import Weights
from graphws.operations import forward

TOKENS = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
OTHERS = torch.randn(4, 5, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


class Separate(nn.Module):
    """Four heads of four, written with both numbers, or with the number of heads only."""

    def __init__(self, written: bool = True) -> None:
        super().__init__()
        self.dim = 4 if written else -1
        self.q, self.k, self.v, self.o = (nn.Linear(16, 16) for _ in range(4))

    def forward(self, x):
        q, k, v = (layer(x).view(*x.shape[:2], 4, self.dim).transpose(1, 2) for layer in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(q, k, v)
        return self.o(y.transpose(1, 2).reshape(*x.shape[:2], -1))


class Fused(nn.Module):
    """Queries, keys and values of one product, in halves or as axes."""

    def __init__(self, axes: bool) -> None:
        super().__init__()
        self.axes, self.qkv, self.o = axes, nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x):
        b, t, _ = x.shape
        if self.axes:
            q, k, v = self.qkv(x).reshape(b, t, 3, 4, 4).permute(2, 0, 3, 1, 4)
        else:
            q, k, v = (y.view(b, t, 4, 4).transpose(1, 2) for y in self.qkv(x).split(16, 2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(b, t, 16))


class Cross(nn.Module):
    """Two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x, y):
        return self.attention(x, y, y)[0]


def encoder():
    layer = nn.TransformerEncoderLayer(16, 4, 32, 0.0, "gelu", batch_first=True, norm_first=True)
    return layer, layer.self_attn.out_proj


NETWORKS = {
    "encoder": encoder,
    "separate": lambda: (m := Separate(), m.o),
    "heads only": lambda: (m := Separate(written=False), m.o),
    "as axes": lambda: (m := Fused(axes=True), m.o),
    "in parts": lambda: (m := Fused(axes=False), m.o),
    "cross": lambda: (m := Cross(), m.attention.out_proj),
}


def heads_of(found):
    return [(m.size, m.reduced) for name, m in found.maps.items() if name.endswith("heads")]


@pytest.mark.parametrize("name", NETWORKS)
def test_an_unread_head_goes(name):
    torch.manual_seed(0)
    module, out = NETWORKS[name]()
    module = module.double().eval()
    with torch.no_grad():
        out.weight[:, 8:12] = 0.0
    inputs = (TOKENS, OTHERS[:3]) if name == "cross" else (TOKENS,)
    converted = convert(module, inputs if len(inputs) > 1 else inputs[0])
    found = reduce(converted.weights, run=converted.run)
    assert heads_of(found) == [(4, 3)]
    assert found.refused, "no code that writes the number of heads down runs with fewer"
    fresh = (OTHERS[:3], TOKENS) if name == "cross" else (OTHERS[:3],)
    after = forward(found.graph, found.weights, fresh)
    with torch.no_grad():
        torch.testing.assert_close(after[0], module(*fresh), rtol=0, atol=1e-12)
    again = reduce(found.weights)
    assert again.removed == 0
    assert again.graph == found.graph


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_heads_with_one_value_for_all(shift):
    """No axis of what the output projection reads shows heads: what they add is followed, through attention too."""
    torch.manual_seed(0)
    module, _ = encoder()
    module = module.double().eval()
    with torch.no_grad():
        module.self_attn.in_proj_weight[36:40] = 0.0
        module.self_attn.in_proj_bias[36:40] = shift
    converted = convert(module, TOKENS)
    found = reduce(converted.weights)
    assert heads_of(found) == [(4, 3)]
    assert [r.reason for m in found.maps.values() for r in m.removals if m.size == 4] == [
        "constant" if shift else "silent"
    ]
    with torch.no_grad():
        torch.testing.assert_close(forward(found.graph, found.weights, OTHERS)[0], module(OTHERS))


def test_the_file_of_a_smaller_network_runs_by_itself(tmp_path):
    torch.manual_seed(0)
    module, out = encoder()
    module = module.double().eval()
    with torch.no_grad():
        out.weight[:, 4:8] = 0.0
        module.linear2.weight[:, 7] = 0.0
    converted = convert(module, TOKENS)
    found = reduce(converted.weights, run=converted.run)
    save_network(type(converted)(found.graph, found.weights, reason="made by a test"), tmp_path / "small.safetensors")
    back = load_graph_file(tmp_path / "small.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(forward(back.graph, back.weights, OTHERS)[0], module(OTHERS))


@pytest.mark.parametrize(("part", "rank"), [("v", 1), ("q", 2)])
def test_dimensions_of_thin_heads_go(part, rank):
    """Scores are divided by the root of the number of dimensions: the number before stays in the graph."""
    torch.manual_seed(0)
    module = Separate().double()
    layer = getattr(module, part)
    with torch.no_grad():
        for h in range(4):
            thin = torch.randn(4, rank, dtype=torch.float64) @ torch.randn(rank, 16, dtype=torch.float64)
            layer.weight[4 * h : 4 * h + 4] = thin
        layer.bias.zero_()
    converted = convert(module, TOKENS)
    found = reduce(converted.weights)
    assert {(m.size, m.reduced) for m in found.maps.values() if m.size > m.reduced} == {(16, 4 * rank)}
    with torch.no_grad():
        torch.testing.assert_close(forward(found.graph, found.weights, OTHERS)[0], module(OTHERS))


def test_one_thin_head_among_others_is_told():
    torch.manual_seed(0)
    module = Separate().double()
    with torch.no_grad():
        module.v.weight[8:12] = torch.randn(4, 1, dtype=torch.float64) @ torch.randn(1, 16, dtype=torch.float64)
        module.v.bias[8:12] = 0.0
    found = reduce(convert(module, TOKENS).weights)
    assert found.removed == 0
    assert found.left_alone["v/head"] == (
        "parents 2 of 4 need no more than 1 of 4 dimensions, but others need all, and all are equally wide"
    )


def test_no_numbers_make_a_layer_norm_forget_a_neuron():
    """The refitting itself refuses: a norm over fewer neurons is another function."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 2)).double()
    converted = convert(module, torch.randn(8, 3, dtype=torch.float64))
    tensors = {name: x[0] for name, x in converted.weights.items()}
    (name,) = (space.name for space in converted.graph.spaces if space.moves)
    steps = {2: Step("unread", 0.0)}
    zeroed = merged(converted.graph, tensors, name, steps)
    smaller, made = remove(converted.graph, zeroed, name, steps)
    with pytest.raises(GraphError, match=r"^operation .* = layer_norm\(.*\) does something else with fewer of them$"):
        refitted(converted.graph, zeroed, smaller, made, Kept(6, (0, 1, 3, 4, 5)))


def test_entries_of_a_product_axis():
    """An axis of 12 that lost a quarter: three factors around, or inside, or none."""
    kept = Kept(4, (0, 1, 3))
    assert [index.tolist() for index in kept.along(8, 6)] == [[0, 1, 3, 4, 5, 7], [0, 1, 2, 3, 6, 7]]
    assert list(kept.along(6, 4)) == []


def test_several_outputs():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.one, self.two = nn.Linear(4, 6), nn.Linear(6, 2), nn.Linear(6, 3)

        def forward(self, x):
            h = functional.gelu(self.first(x))
            return self.one(h), self.two(h)

    torch.manual_seed(0)
    module = Two().double()
    with torch.no_grad():
        module.one.weight[:, [1, 3]] = 0.0
        module.two.weight[:, 3] = 0.0
    x = torch.randn(9, 4, dtype=torch.float64)
    converted = convert(module, x)
    found = reduce(converted.weights, run=converted.run)
    assert [(r.element, r.reason) for r in found.maps["first"].removals] == [(3, "unread")]
    small = Weights(found.graph, dict(found.weights.items()))
    for before, after in zip(module(x), forward(found.graph, small, x), strict=True):
        torch.testing.assert_close(after[0], before)


def grouped(**sizes):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=20, hidden_size=16, intermediate_size=24, num_hidden_layers=1, head_dim=4, **sizes
    )
    return transformers.LlamaModel(config).double().eval()


IDS = torch.randint(0, 20, (2, 5), generator=torch.Generator().manual_seed(0))


def test_a_group_of_queries_and_a_gated_neuron_of_llama():
    """The state dict loads into the class with fewer heads."""
    module = grouped(num_attention_heads=4, num_key_value_heads=2)
    layer = module.layers[0]
    with torch.no_grad():
        layer.self_attn.o_proj.weight[:, 8:] = 0.0
        layer.mlp.up_proj.weight[3] = 0.0
    converted = convert(module, IDS)
    found = reduce(converted.weights, run=converted.run)
    assert heads_of(found) == [(2, 1)]
    assert [m.reduced for name, m in found.maps.items() if "gate_proj" in name] == [23]
    smaller = grouped(num_attention_heads=2, num_key_value_heads=1)
    smaller.layers[0].mlp = type(layer.mlp)(type(module.config)(**{**module.config.to_dict(), "intermediate_size": 23}))
    smaller = smaller.double()
    smaller.load_state_dict(found.weights.to_state_dict())
    with torch.no_grad():
        torch.testing.assert_close(smaller(IDS)[0], module(IDS)[0], rtol=0, atol=1e-6)


def test_a_query_head_of_one_key():
    module = grouped(num_attention_heads=4, num_key_value_heads=1)
    with torch.no_grad():
        module.layers[0].self_attn.o_proj.weight[:, 4:8] = 0.0
    converted = convert(module, IDS)
    found = reduce(converted.weights, run=converted.run)
    assert {(m.size, m.reduced) for m in found.maps.values() if m.size > m.reduced} == {(4, 3)}
    with torch.no_grad():
        torch.testing.assert_close(forward(found.graph, found.weights, IDS)[0], module(IDS)[0], rtol=0, atol=1e-6)


def test_thin_values_beside_queries_and_keys_stay_with_a_reason():
    """Queries, keys and values are one tensor of three equal parts, so values alone cannot be narrower."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, 0.0, "gelu", batch_first=True, norm_first=True).double().eval()
    with torch.no_grad():
        for head in range(4):
            rows = slice(32 + 4 * head, 36 + 4 * head)
            layer.self_attn.in_proj_weight[rows] = torch.randn(4, 2).double() @ torch.randn(2, 16).double()
            layer.self_attn.in_proj_bias[rows] = 0.0
    converted = convert(layer, torch.randn(3, 5, 16, dtype=torch.float64))
    found = reduce(converted.weights, run=converted.run)
    key = "self_attn.in_proj_weight"
    assert found.left_alone[f"{key}/head_2"] == (
        f"in fewer dimensions: '{key}[2]' is one part of a tensor whose parts are equally large, and '{key}[0]' and "
        f"'{key}[1]' would have to shrink with it"
    )
