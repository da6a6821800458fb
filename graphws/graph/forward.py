"""Running a batch of networks straight from their graph and weights.

>>> import torch
>>> from graphws.graph import Weights, forward, mlp_graph
>>> graph = mlp_graph([2, 8, 1], activation="tanh")
>>> weights = Weights(graph, {p.name: torch.zeros(5, *graph.shape(p.name)) for p in graph.parameters})
>>> forward(graph, weights, torch.zeros(10, 2)).shape
torch.Size([5, 10, 1])
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from graphws.errors import GraphError, nearest
from graphws.graph.network import NetworkGraph
from graphws.graph.operation import Operation
from graphws.graph.space import Action
from graphws.graph.weights import Weights


def _linear(operation: Operation, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (batch, points, in) times weight (batch, out, in), plus bias (batch, out)."""
    if bias is None:
        return torch.matmul(x, weight.mT)
    return torch.baddbmm(bias.unsqueeze(1), x.expand(weight.shape[0], -1, -1), weight.mT)


def _add(operation: Operation, *terms: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(*terms)).sum(0)


def _sine(operation: Operation, x: Tensor) -> Tensor:
    return torch.sin(float(operation.attribute("omega", 1.0)) * x)


def _power(operation: Operation, x: Tensor) -> Tensor:
    return x ** int(operation.attribute("exponent", 2))


def _plain(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda operation, x: function(x)


ACTIVATIONS: dict[str, tuple[Callable[..., Tensor], Action]] = {
    "relu": (_plain(torch.relu), Action.SCALING),
    "leaky_relu": (
        lambda operation, x: functional.leaky_relu(x, float(operation.attribute("slope", 0.01))),
        Action.SCALING,
    ),
    "tanh": (_plain(torch.tanh), Action.SIGNED),
    "sine": (_sine, Action.SIGNED),
    "hardtanh": (_plain(functional.hardtanh), Action.SIGNED),
    "softsign": (_plain(functional.softsign), Action.SIGNED),
    "tanhshrink": (_plain(functional.tanhshrink), Action.SIGNED),
    "power": (_power, Action.MONOMIAL),
    "identity": (_plain(lambda x: x), Action.LINEAR),
    "sigmoid": (_plain(torch.sigmoid), Action.PERMUTATION),
    "gelu": (_plain(functional.gelu), Action.PERMUTATION),
    "gelu_tanh": (_plain(lambda x: functional.gelu(x, approximate="tanh")), Action.PERMUTATION),
    "silu": (_plain(functional.silu), Action.PERMUTATION),
    "elu": (_plain(functional.elu), Action.PERMUTATION),
    "selu": (_plain(functional.selu), Action.PERMUTATION),
    "softplus": (_plain(functional.softplus), Action.PERMUTATION),
    "mish": (_plain(functional.mish), Action.PERMUTATION),
    "hardswish": (_plain(functional.hardswish), Action.PERMUTATION),
    "relu6": (_plain(functional.relu6), Action.PERMUTATION),
}
"""Pointwise activations by name: how each is computed and the intertwiners that it leaves (paper I, section 5.1)."""

OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "linear": _linear,
    "add": _add,
    **{name: function for name, (function, _) in ACTIVATIONS.items()},
}
"""How each kind of operation is computed: (operation, *inputs) -> output, with the batch of networks leading."""


def forward(graph: NetworkGraph, weights: Weights, inputs: Tensor) -> Tensor:
    """The outputs of every network of a batch, differentiable in weights and inputs.

    Args:
        graph: The graph; its operations must be of the kinds in `OPERATIONS`.
        weights: A batch of its networks.
        inputs: (points, d_in) for all networks, or (batch, points, d_in) for each its own.

    Returns:
        Tensor: (batch, points, d_out).

    Raises:
        GraphError: On a graph without operations, with several inputs, or of a kind that graphws cannot run itself.
    """
    if not graph.operations or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise GraphError("this graph cannot be run by itself: it needs operations, one input and one output")
    x = inputs.unsqueeze(0) if inputs.ndim == 2 else inputs
    values: dict[str, Tensor] = {**weights.tensors, graph.inputs[0]: x}
    for operation in graph.operations:
        if operation.kind not in OPERATIONS:
            raise GraphError(
                f"operation {operation.kind!r} cannot be run from the graph" + nearest(operation.kind, OPERATIONS)
            )
        values[operation.outputs[0]] = OPERATIONS[operation.kind](operation, *(values[n] for n in operation.inputs))
    result = values[graph.outputs[0]]
    return result.expand(weights.batch, *result.shape[1:])
