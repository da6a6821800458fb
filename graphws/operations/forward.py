"""Running a batch of networks straight from their graph and weights: MLPs and attention networks.

A *point* is what the network sees at once: a vector of features for an MLP, tokens (tokens, features) for an attention
network, a picture (channels, height, width) where that begins with patches.  Values carry the batch of networks first,
then the points.

>>> import torch
>>> from graphws.graph import Weights
>>> from graphws.operations import forward, mlp_graph
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
from graphws.operations import attention_operations as attention


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
    "linear": attention.linear,
    "add": _add,
    "shift": attention.shift,
    "position": attention.position,
    "token": attention.token,
    "patches": attention.patches,
    "bilinear_scores": attention.bilinear_scores,
    "dot_scores": attention.dot_scores,
    "softmax": attention.softmax,
    "attend": attention.attend,
    "attend_matrix": attention.attend_matrix,
    "flatten_tokens": attention.flatten_tokens,
    "mean_tokens": attention.mean_tokens,
    **{name: function for name, (function, _) in ACTIVATIONS.items()},
}
"""How each kind of operation is computed: (operation, *inputs) -> output, with the batch of networks leading."""


def point_axes(graph: NetworkGraph) -> int:
    """How many axes one point of the graph's input has: 1 features, 2 tokens of features, 3 a picture.

    The first step that cares decides; pointwise and linear steps work for all.
    """
    return next((attention.POINT_AXES[o.kind] for o in graph.operations if o.kind in attention.POINT_AXES), 1)


def forward(graph: NetworkGraph, weights: Weights, inputs: Tensor) -> Tensor:
    """The outputs of every network of a batch, differentiable in weights and inputs.

    Args:
        graph: The graph; its operations must be of the kinds in `OPERATIONS`.
        weights: A batch of its networks.
        inputs: (points, d_in) for all networks, or (batch, points, d_in) for each its own; tokens in the place of d_in
            are (tokens, d_in), pictures (channels, height, width).

    Returns:
        Tensor: (batch, points, d_out), or (batch, points, tokens, d_out).

    Raises:
        GraphError: On a graph without operations, with several inputs, or of a kind that graphws cannot run itself; on
            inputs of the wrong number of axes.
    """
    result = run_steps(graph, weights, inputs)[graph.outputs[0]]
    return result.expand(weights.batch, *result.shape[1:])


def run_steps(graph: NetworkGraph, weights: Weights, inputs: Tensor) -> dict[str, Tensor]:
    """Every value of the computation by its name: attention maps, hidden activations, the outputs.

    Args:
        graph: As in `forward`.
        weights: As in `forward`.
        inputs: As in `forward`.

    Returns:
        dict[str, Tensor]: Values (batch or 1, points, ...): the batch is 1 before the first parameter.
    """
    if not graph.operations or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise GraphError("this graph cannot be run by itself: it needs operations, one input and one output")
    axes = point_axes(graph)
    if inputs.ndim not in (axes + 1, axes + 2):
        point = ("features", "tokens, features", "channels, height, width")[axes - 1]
        raise GraphError(
            f"inputs of shape {tuple(inputs.shape)}: this graph reads (points, {point}) or (batch, points, {point})"
        )
    values = {graph.inputs[0]: inputs.unsqueeze(0) if inputs.ndim == axes + 1 else inputs}
    for operation in graph.operations:
        if operation.kind not in OPERATIONS:
            raise GraphError(
                f"operation {operation.kind!r} cannot be run from the graph" + nearest(operation.kind, OPERATIONS)
            )
        read = (values[name] if name in values else weights[name] for name in operation.inputs)
        values[operation.outputs[0]] = OPERATIONS[operation.kind](operation, *read)
    return values
