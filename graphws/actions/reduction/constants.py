"""The layer of a space, where it is as simple as in an MLP, and how far its neurons are from constant.

One linear map writes such a space, at most one activation follows, and linear maps with biases read the result.  A
neuron whose weights are zero then has the value σ(b), whatever its bias b and whatever the input: the norm of its row
says how far it is from that.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from graphws.actions.reduction.rules import typical
from graphws.actions.reduction.slices import Tensors
from graphws.graph import NetworkGraph, Operation


@dataclass(frozen=True)
class Layer:
    """How a space is made and read, where it is so simply.

    Args:
        weight: The parameter whose rows are the space's elements.
        bias: Its bias, or None.
        activation: The step that follows, or None.
        readers: For each parameter that reads the space, the bias added to what it gives, or None.
    """

    weight: str
    bias: str | None
    activation: Operation | None
    readers: dict[str, str | None]


def layer_of(graph: NetworkGraph, space: str) -> Layer | None:
    """The layer of a space: a linear map, an activation, and linear maps that read it; None where it is not that."""
    linear = {o.outputs[0]: named for o in graph.operations if (named := _linear(graph, o)) is not None}
    makers = [value for value, (weight, _, _) in linear.items() if graph.parameter(weight).axes[0].space == space]
    if len(makers) != 1:
        return None
    value, activation = makers[0], None
    users = graph.readers(value)
    if len(users) == 1 and users[0].row.pointwise:
        activation, value = users[0], users[0].outputs[0]
        users = graph.readers(value)
    read = [linear.get(o.outputs[0]) for o in users]
    if value in graph.outputs or not users or any(named is None or named[2] != value for named in read):
        return None
    readers = {named[0]: named[1] for named in read if named is not None}
    biases = [bias for bias in readers.values() if bias is not None]
    labelled = [p.name for p in graph.parameters if space in p.spaces]
    weight, bias, _ = linear[makers[0]]
    known = {weight, *readers} | ({bias} if bias is not None else set())
    if set(labelled) != known or len(set(biases)) != len(biases):
        return None
    return Layer(weight, bias, activation, readers)


def _linear(graph: NetworkGraph, operation: Operation) -> tuple[str, str | None, str] | None:
    """Weight, bias and input of a linear map of parameters as they are stored; None for any other step."""
    if operation.kind != "linear":
        return None
    read = operation.operands
    weight, bias = graph.weights_behind(read["weight"]), read.get("bias")
    if len(weight) != 1 or (bias is not None and len(graph.weights_behind(bias)) != 1):
        return None
    return weight[0].name, None if bias is None else graph.weights_behind(bias)[0].name, read["x"]


def constant_figures(layer: Layer, tensors: Tensors) -> torch.Tensor:
    """How far each neuron is from constant: the norm of its row, in units of the layer's typical one."""
    norms = tensors[layer.weight].flatten(1).norm(dim=1)
    figures: torch.Tensor = norms / typical(norms)
    return figures
