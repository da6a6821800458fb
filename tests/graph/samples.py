"""Graphs that tests share: every kind of space, action, axis and storage occurs in one of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from graphws.graph import Action, Axis, Constant, NetworkGraph, Operation, Parameter, Space, Storage, Value, Weights
from graphws.operations import mlp_graph


def heads() -> NetworkGraph:
    """Heads with dimensions inside (moving and free ones), a fused tensor, a tied one, a repeated space, scalars."""
    spaces = (
        Space("x", 2, "free"),
        Space("d", 4, action=Action.MONOMIAL),
        Space("h", 3, action=Action.SIGNED),
        Space("k", 2, "nested", "h", action=Action.LINEAR),
        Space("r", 2, "free", "h"),
    )
    parameters = (
        Parameter("Q", "k d*", storage=Storage("qr.weight", (12, 4), ((0, 6), (0, 4)))),
        Parameter("R", "r d*", storage=Storage("qr.weight", (12, 4), ((6, 12), (0, 4)))),
        Parameter("E", "d x*", storage=Storage("embed", (8,), aliases=("head",))),
        Parameter("W", "d d*", role="residual"),
        Parameter("T", "h k* x"),
        Parameter("b", "k", kind="bias"),
        Parameter("v", (Axis("d", 2),), kind="variance"),
        Parameter("s", (), kind="scalar"),
        Parameter("n", (), kind="scalar"),
    )
    return NetworkGraph(spaces, parameters)


def rich_mlp() -> NetworkGraph:
    """An MLP whose hidden layers have all five actions."""
    activations = ["relu", "sine", "power", "identity", "sigmoid"]
    return mlp_graph([2, 4, 5, 4, 3, 4, 2], activations, omega=3.0, exponent=3)


def computing() -> NetworkGraph:
    """A graph that runs, with constants, described values, and attributes of every type."""
    steps = (
        Operation("add", ("x0", "c0"), ("x1",), {"alpha": 2}),
        Operation("masked_fill", ("x1", "c1"), ("x2",), {"value": -math.inf}),
        Operation("nan_to_num", ("x2",), ("x3",), {"neginf": -1.5}),
        Operation("full", (), ("x4",), {"size": ("n", 2), "fill_value": math.nan, "dtype": "weights"}),
        Operation("nan_to_num", ("x4",), ("x5",), {"nan": 0.25}),
        Operation("cat", ("x3", "x5", "c2"), ("x6",), {"dim": -1}),
        Operation("linear", ("x6", "W"), ("x7",)),
        Operation("gelu", ("x7",), ("x8",), {"approximate": "tanh"}),
        Operation("sum", ("x8",), ("x9",), {"dim": (1,), "keepdim": True}),
        Operation("real", ("c3",), ("x10",)),
        Operation("mul", ("x9", "x10"), ("x11",)),
    )
    constants = (
        Constant("c0", torch.tensor([0.5, -0.0, 1e-30], dtype=torch.float64), follows=True),
        Constant("c1", torch.tensor([[False, False, True]])),
        Constant("c2", torch.empty(0)),
        Constant("c3", torch.tensor(3 - 4j, dtype=torch.complex128)),
    )
    values = (Value("x0", ("n", 3), ("", "in")), Value("x7", ("n", 4), ("", "h")), Value("x10", (), (), "float64"))
    return NetworkGraph(
        (Space("in", 3, "free"), Space("all", 5, "free"), Space("h", 4)),
        (Parameter("W", "h all*"),),  # type: ignore[arg-type]
        steps,
        ("x0",),
        ("x11",),
        constants,
        values,
    )


def random_weights(graph: NetworkGraph, batch: int = 2, seed: int = 0, dtype: torch.dtype = torch.float64) -> Weights:
    """Normal numbers."""
    rng = torch.Generator().manual_seed(seed)
    return Weights.unflatten(graph, torch.randn(batch, graph.numel, generator=rng, dtype=dtype))


def odd_weights() -> Weights:
    """Two networks of `heads` in several types, with the numbers that get lost most easily."""
    tensors = dict(random_weights(heads(), dtype=torch.float32).tensors)
    tensors["s"] = torch.tensor([-0.0, float("nan")])
    tensors["n"] = torch.tensor([2**62 + 1, -3])
    tensors["b"] = tensors["b"].to(torch.bfloat16)
    tensors["v"][0, :3] = torch.tensor([float("inf"), 1e-45, -0.0])
    tensors["T"] = tensors["T"].double()
    return Weights(heads(), tensors)


def same_bits(first: Weights, second: Weights) -> bool:
    """Whether two batches have the same graph, types and bits."""
    return first.graph == second.graph and all(bits(x, second[name]) for name, x in first.items())


def bits(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors agree in type, shape and every bit."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    return torch.equal(first.reshape(-1).view(torch.uint8), second.reshape(-1).view(torch.uint8))
