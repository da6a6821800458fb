"""Networks of every kind of symmetry, as graphs: what layers with grades are tried on."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

import graphws
from graphws.graph import Action, NetworkGraph, Parameter, Space
from graphws.operations import AttentionLayer, attention_graph, mlp_graph
from graphws.testing import GradedLayerTests


class ConvNet(nn.Module):
    """Convolutions with batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 3, 3), nn.BatchNorm2d(3)
        self.linear = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.conv1(x)))
        x = torch.relu(self.norm2(self.conv2(x)))
        return self.linear(x.mean((2, 3)))


class LowRank(nn.Module):
    """A pair of low-rank matrices beside a weight, before a ReLU: the rank may change its basis."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Linear(5, 6)
        self.down, self.up = nn.Linear(5, 2, bias=False), nn.Linear(2, 6, bias=False)
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.weight(x) + self.up(self.down(x))))


class Experts(nn.Module):
    """A mixture of experts in a list, each with neurons of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(4, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.gate(x), -1)
        return torch.stack([expert(x) for expert in self.experts], -1) @ weights.unsqueeze(-1)


def converted(module: nn.Module, *inputs: int) -> NetworkGraph:
    """The graph of a module, in evaluation mode."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        graph: NetworkGraph = graphws.convert(module.eval(), torch.randn(*inputs)).graph
    return graph


def stacked_experts() -> NetworkGraph:
    """Experts in one tensor, each with a family of neurons of its own: an inner axis."""
    spaces = (
        Space("in", 2, "free"), Space("d", 3), Space("e", 2),
        Space("h", 3, "nested", "e", Action.SCALING), Space("out", 2, "free"),
    )  # fmt: skip
    return NetworkGraph(
        spaces,
        (
            Parameter("embed", "d in*"),  # type: ignore[arg-type]
            Parameter("gate", "e d*"),  # type: ignore[arg-type]
            Parameter("up", "e d* ~h"),  # type: ignore[arg-type]
            Parameter("bias", "h", "bias"),  # type: ignore[arg-type]
            Parameter("down", "e ~h* d"),  # type: ignore[arg-type]
            Parameter("head", "out d*"),  # type: ignore[arg-type]
        ),
    )


def residual(action: Action) -> NetworkGraph:
    """A d × d weight between neurons of one space."""
    spaces = (Space("in", 2, "free"), Space("d", 4, action=action), Space("out", 2, "free"))
    axes = {"W": "d in*", "A": "d d*", "b": "d", "V": "out d*"}
    return NetworkGraph(spaces, tuple(Parameter(name, text) for name, text in axes.items()))  # type: ignore[arg-type]


def bottleneck() -> NetworkGraph:
    """ReLU neurons written by a bottleneck that ReLU neurons write: their sizes go through a matrix of any basis."""
    spaces = (
        Space("in", 3, "free"), Space("a", 4, action=Action.SCALING), Space("r", 2, action=Action.LINEAR),
        Space("b", 5, action=Action.SCALING), Space("out", 2, "free"),
    )  # fmt: skip
    axes = {"W": "a in*", "D": "r a*", "U": "b r*", "c": "b", "V": "out b*"}
    return NetworkGraph(spaces, tuple(Parameter(name, text) for name, text in axes.items()))  # type: ignore[arg-type]


_MAKES: dict[str, Callable[[], NetworkGraph]] = {
    "SIREN": lambda: mlp_graph([2, 4, 3, 1], activation="sine"),
    "tanh MLP": lambda: mlp_graph([2, 4, 3, 1], activation="tanh"),
    "ReLU MLP": lambda: mlp_graph([2, 4, 3, 1], activation="relu"),
    "GELU MLP": lambda: mlp_graph([2, 4, 3, 1], activation="gelu"),
    "CNN with batch norms": lambda: converted(ConvNet(), 2, 1, 9, 9),
    "attention, merged heads": lambda: attention_graph(3, [AttentionLayer(2, 3)], 2),
    "attention, queries and keys": lambda: attention_graph(3, [AttentionLayer(2, 3, query_dim=2)], 2, bias=True),
    "grouped queries": lambda: attention_graph(3, [AttentionLayer(4, 3, query_dim=2, key_value_heads=2)], 2),
    "transformer block": lambda: converted(nn.TransformerEncoderLayer(6, 2, 5, batch_first=True), 2, 3, 6),
    "low-rank pair": lambda: converted(LowRank(), 3, 5),
    "experts in a list": lambda: converted(Experts(), 3, 4),
    "experts in one tensor": stacked_experts,
    "residual": lambda: residual(Action.PERMUTATION),
    "residual, signs": lambda: residual(Action.SIGNED),
    "residual, scales": lambda: residual(Action.SCALING),
    "residual, matrices": lambda: residual(Action.LINEAR),
    "bottleneck": bottleneck,
}
NETWORKS = {name: cache(make) for name, make in _MAKES.items()}
"""By what they are; each is converted once."""


class EachNetwork(GradedLayerTests):
    """Tests of a layer with grades on a network by its name: subclasses are parametrised over `NETWORKS`."""

    @pytest.fixture(autouse=True)
    def _case(self, name: str) -> None:
        self.graph = NETWORKS[name]()
