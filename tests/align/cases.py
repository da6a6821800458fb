"""Graphs and networks that the alignment tests share."""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.graph import Action, NetworkGraph, Parameter, Space, Weights
from graphws.operations import AttentionLayer, attention_graph, mlp_graph


def residual() -> NetworkGraph:
    """Two blocks on a residual stream: d × d weights, and a stream that every layer reads and writes."""
    spaces = (
        Space("x", 6, "free"),
        Space("d", 12),
        Space("f1", 20, action=Action.SCALING),
        Space("f2", 9, action=Action.SIGNED),
        Space("y", 3, "free"),
    )
    axes = {"E": "d x*", "W": "d d*", "U1": "f1 d*", "bU1": "f1", "D1": "d f1*", "U2": "f2 d*", "D2": "d f2*"}
    axes |= {"Y": "y d*"}
    return NetworkGraph(spaces, tuple(Parameter(n, a) for n, a in axes.items()))  # type: ignore[arg-type]


MLPS = {
    "one layer": mlp_graph([5, 16, 3], "relu"),
    "relu": mlp_graph([5, 16, 12, 3], "relu"),
    "without biases": mlp_graph([5, 16, 12, 3], "relu", bias=False),
    "deep tanh": mlp_graph([5, 16, 16, 16, 16, 16, 3], "tanh"),
    "sine": mlp_graph([2, 32, 32, 1], "sine"),
    "powers": mlp_graph([5, 8, 8, 3], "power", exponent=3),
    "gelu, wide and narrow": mlp_graph([5, 64, 10, 3], "gelu"),
    "linear": mlp_graph([5, 5, 4, 3], "identity"),
    "mixed": mlp_graph([5, 16, 12, 10, 3], ["relu", "tanh", "sigmoid"]),
}
ATTENTION = {
    "matrix form": attention_graph(6, [AttentionLayer(4, 3, 5), AttentionLayer(2, 2, 6), AttentionLayer(1, 3, 4)]),
    "standard form": attention_graph(
        6,
        [AttentionLayer(2, 3, query_dim=3), AttentionLayer(3, 2, 6, query_dim=4)],
        output=3,
        bias=True,
        positions=6,
    ),
}
ATTENTION["grouped queries"] = attention_graph(
    6,
    [AttentionLayer(6, 3, query_dim=4, key_value_heads=2), AttentionLayer(4, 2, 6, key_value_heads=2)],
    output=3,
    bias=True,
)
GRAPHS = {**MLPS, **ATTENTION, "residual": residual()}


def network(graph: NetworkGraph, seed: int = 0, batch: int = 1) -> Weights:
    rng = torch.Generator().manual_seed(seed)
    return Weights.unflatten(graph, torch.randn(batch, graph.numel, generator=rng, dtype=torch.float64))


def points(graph: NetworkGraph, count: int = 80) -> Tensor:
    shape = (count, 6, 6) if graph in ATTENTION.values() else (count, graph.space("input").size)
    return torch.randn(*shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def distance(first: Weights, second: Weights) -> float:
    """Largest relative distance of a parameter."""
    return max(float((x - second[name]).norm() / x.norm()) for name, x in first.items())
