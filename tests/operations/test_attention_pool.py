from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from graphws.errors import GraphError
from graphws.graph import NetworkGraph
from graphws.operations import attention_pool_graph, forward, run_values, verify
from tests.graph import samples


def graph(activation: str = "tanh") -> NetworkGraph:
    return attention_pool_graph(3, 6, [8, 5, 4], heads=2, activation=[activation, "gelu"], patch=2)


def pictures() -> torch.Tensor:
    return torch.randn(5, 3, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_it_is_a_patch_convolution_torchs_attention_and_an_mlp() -> None:
    weights, x = samples.random_weights(graph(), 2), pictures()
    for network in range(2):
        w = {name: tensor[network] for name, tensor in weights.items()}
        keys, values = (
            functional.conv2d(x, w[f"E{m}"].reshape(8, 3, 2, 2), stride=2).flatten(2).mT + w[f"P{m}"] for m in "KV"
        )
        q, k, v = w["T"].expand(5, 1, 8) @ w["Q1"].T, keys @ w["K1"].T, values @ w["V1"].T + w["bV1"]
        q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in (q, k, v))
        pooled = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1)
        hidden = functional.gelu(pooled.tanh() @ w["W2"].T + w["bW2"])
        wanted = hidden @ w["W3"].T + w["bW3"]
        torch.testing.assert_close(forward(graph(), weights, x)[network], wanted)
    maps = run_values(graph(), weights, x)["a1"]
    assert maps.shape == (2, 5, 2, 1, 6)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 5, 2, 1, dtype=torch.float64))


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "identity"])
def test_its_group_leaves_it_alone(activation: str) -> None:
    weights = samples.random_weights(graph(activation), 1).map(lambda t: 0.5 * t)
    rng = torch.Generator().manual_seed(0)
    found = verify(graph(activation), weights, pictures(), generator=rng, actions="rich", tolerance=1e-12)
    assert found.control > 1e-2


def test_without_patches_it_reads_tokens() -> None:
    tokens = attention_pool_graph(12, 6, [8, 5, 4], heads=2, activation=["tanh", "gelu"])
    weights, x = samples.random_weights(graph(), 1), pictures()
    cut = run_values(graph(), weights, x)["t0"][0]
    same = type(weights)(tokens, weights.tensors)
    torch.testing.assert_close(forward(tokens, same, cut), forward(graph(), weights, x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 6, [8], 2), r"^needs the attention layer's width and that of the outputs at least; got \[8\]$"),
        ((3, 6, [8, 4], 3), r"^3 heads do not divide 8 features$"),
        ((3, 6, [8, 4], 2, ["relu", "relu"]), r"^2 layers need 1 activations, got 2$"),
        ((3, 6, [8, 4], 2, "geluu"), r"^unknown activation 'geluu'; did you mean 'gelu'\?$"),
        ((3, 6, [8, 4], 2, "power"), r"^unknown activation 'power'$"),
    ],
)
def test_errors(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        attention_pool_graph(*arguments)  # type: ignore[arg-type]
