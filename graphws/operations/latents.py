"""What each space carries while a network runs: its latent space, in paper I's words.

A space is carried by the last value whose features it labels: the activations of a layer, not what goes into them; what
a head has attended to, not its values.  Readers of the space (axes of power -1) read that value.

>>> from graphws.operations import mlp_graph
>>> carriers(mlp_graph([2, 8, 1], activation="tanh"))
{'input': 'x0', 'hidden1': 'x1', 'output': 'z2'}
"""

from __future__ import annotations

from torch import Tensor

from graphws.graph.network import NetworkGraph
from graphws.graph.operation import Operation
from graphws.graph.weights import Weights
from graphws.operations.forward import ACTIVATIONS, run_steps

_PASSING = frozenset({*ACTIVATIONS, "add", "shift", "position", "mean_tokens", "flatten_tokens"})
_WRITTEN_AXIS = {"linear": 0, "token": 1, "attend_matrix": 1}
"""Which axis of its parameter says what a step writes."""


def carriers(graph: NetworkGraph) -> dict[str, str]:
    """The value that carries each space, for a graph that graphws can run; spaces that no value carries are missing."""
    labels: dict[str, str] = {}
    for operation in graph.operations:
        for name in operation.inputs:
            if name in graph.inputs and name not in labels:
                space = _read(graph, operation)
                if space is not None:
                    labels[name] = space
        label = _label(graph, operation, labels)
        if label is not None:
            labels[operation.outputs[0]] = label
    return {space: value for value, space in labels.items()}


def latents(graph: NetworkGraph, weights: Weights, inputs: Tensor) -> dict[str, Tensor]:
    """The values on every space, (batch, samples, extent): points, and the tokens of points, in a row.

    Args:
        graph: A graph that `graphws.operations.forward` can run.
        weights: A batch of its networks.
        inputs: As for `forward`.
    """
    values, found = run_steps(graph, weights, inputs), {}
    for space, name in carriers(graph).items():
        value = values[name]
        if value.shape[-1] == graph.extent(space):  # several tokens in a row are more features than the space has
            found[space] = value.flatten(1, -2).expand(weights.batch, -1, -1)
    return found


def _label(graph: NetworkGraph, operation: Operation, labels: dict[str, str]) -> str | None:
    """The space of the features that a step writes, if a space of power 1 labels them."""
    if operation.kind in _WRITTEN_AXIS:
        position = 2 if operation.kind == "attend_matrix" else 1
        parameter = graph.parameter(operation.inputs[position])
        axis = parameter.axes[_WRITTEN_AXIS[operation.kind]]
        several = any(other.inner and other.power == 1 for other in parameter.axes)  # queries of several askers
        return axis.space if axis.power == 1 and not several else None
    if operation.kind == "attend" and not operation.attribute("groups", 0):  # else values come once for each asker
        return labels.get(operation.inputs[1])
    return labels.get(operation.inputs[0]) if operation.kind in _PASSING else None


def _read(graph: NetworkGraph, operation: Operation) -> str | None:
    """The space of the features that a step reads from its first input, where its parameter says so."""
    if operation.kind == "position":
        return graph.parameter(operation.inputs[1]).axes[-1].space
    if operation.kind in ("linear", "bilinear_scores"):
        return graph.parameter(operation.inputs[-1 if operation.kind != "linear" else 1]).axes[-1].space
    return None
