"""Networks that the tests of the runner convert and run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.graph import NetworkGraph, Weights
from graphws.operations import AttentionLayer, attention_graph, mlp_graph
from graphws_converters.modules.conversion import convert_module
from tests.graph import samples

Run = Callable[..., tuple[Tensor, ...]]


class SmallCNN(nn.Module):
    """A convolution with batch norm, a pooling, a convolution in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 4, 3, 2, 1), nn.BatchNorm2d(4)
        self.second, self.out = nn.Conv2d(4, 6, 3, padding=1, groups=2), nn.Linear(6, 3)
        nn.init.uniform_(self.norm.running_mean, -1, 1)  # type: ignore[arg-type]
        nn.init.uniform_(self.norm.running_var, 0.5, 2)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.leaky_relu(self.norm(self.first(x)), 0.2), 2)
        return self.out(functional.elu(self.second(x), alpha=2.0).mean((2, 3)))


class TinyViT(nn.Module):
    """A class token, learned positions, one block."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.token = nn.Conv2d(1, 8, 2, 2), nn.Parameter(torch.randn(1, 1, 8))
        self.positions = nn.Parameter(torch.randn(1, 5, 8))
        self.norm, self.attention = nn.LayerNorm(8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.up, self.down, self.out = nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).mT
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.out((x + self.down(functional.gelu(self.up(x))))[:, 0])


class Recurrent(nn.Module):
    """An LSTM in both directions, read at the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 4, batch_first=True, bidirectional=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0][:, -1])


class TwoByTwo(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = nn.Linear(3, 5), nn.Linear(2, 5), nn.Linear(5, 2)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.left(a)) * torch.sigmoid(self.right(b))
        return self.out(hidden), hidden.sum(-1)


class Masked(nn.Module):
    """Causal attention with a mask and a table of positions that are constants."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(4, 4) for _ in range(4))
        self.register_buffer("mask", torch.full((5, 5), -1e9).triu(1), persistent=False)
        self.register_buffer("places", torch.linspace(0, 1, 5).unsqueeze(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + torch.sin(3 * self.places)  # type: ignore[operator]
        scores = self.q(x) @ self.k(x).mT / 2 + self.mask
        return self.out(scores.softmax(-1) @ self.v(x))


@dataclass(frozen=True, eq=False)
class Source:
    """A graph, a batch of three of its networks, inputs, and each network's own module where there is one."""

    graph: NetworkGraph
    weights: Weights
    inputs: tuple[Tensor, ...]
    modules: tuple[nn.Module, ...] = ()


SHAPES: dict[str, tuple[type[nn.Module], tuple[tuple[int, ...], ...]]] = {
    "cnn": (SmallCNN, ((4, 2, 8, 8),)),
    "vit": (TinyViT, ((4, 1, 4, 4),)),
    "lstm": (Recurrent, ((4, 6, 3),)),
    "two by two": (TwoByTwo, ((4, 3), (4, 2))),
    "masked": (Masked, ((4, 5, 4),)),
}
NAMES = ("mlp", "attention", *SHAPES)


def _normal(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@cache
def source(name: str) -> Source:
    """The network of that name; converted once."""
    if name == "mlp":
        graph = mlp_graph([3, 6, 5, 2], ["tanh", "gelu"])
        return Source(graph, samples.random_weights(graph, 3), (_normal((4, 3), 1),))
    if name == "attention":
        graph = attention_graph(4, [AttentionLayer(4, 3, 6, 2, key_value_heads=2)], output=3, bias=True, positions=5)
        return Source(graph, samples.random_weights(graph, 3).map(lambda t: 0.5 * t), (_normal((4, 5, 4), 1),))
    make, shapes = SHAPES[name]
    inputs = tuple(_normal(shape, k) for k, shape in enumerate(shapes))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        modules = tuple(make().double().eval() for _ in range(3))
    found = convert_module(modules[0], inputs, generator=torch.Generator().manual_seed(0))
    graph = found.weights.graph
    weights = Weights.cat([Weights.from_state_dict(graph, module.state_dict()) for module in modules])
    return Source(graph, weights, inputs, modules)
