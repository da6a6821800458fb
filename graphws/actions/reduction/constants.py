"""Neurons that always have the same value: their column, times that value, belongs into the next bias.

A neuron whose weights are zero has the value σ(b), whatever its bias b and whatever the input.  Where σ(b) = 0 it is
silent; elsewhere what reads it must have a bias that takes the constant over.  To see that, the computation must be
known: one linear map writes the space, at most one activation follows, and linear maps with biases read the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from graphws.actions.reduction.edit import Folding
from graphws.actions.reduction.maps import Step
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

    def value(self, bias: torch.Tensor) -> torch.Tensor:
        """σ(b)."""
        found: torch.Tensor = bias if self.activation is None else self.activation(bias)
        return found


def layer_of(graph: NetworkGraph, space: str) -> Layer | None:
    """The layer of a space: a linear map, an activation, and linear maps that read it; None where it is not that."""
    makers = [o for o in graph.operations if o.kind == "linear" and graph.parameter(o.inputs[1]).axes[0].space == space]
    if len(makers) != 1:
        return None
    value, activation = makers[0].outputs[0], None
    users = [o for o in graph.operations if value in o.inputs]
    if len(users) == 1 and users[0].row.pointwise:
        activation, value = users[0], users[0].outputs[0]
        users = [o for o in graph.operations if value in o.inputs]
    if value in graph.outputs or not users or any(o.kind != "linear" or o.inputs[0] != value for o in users):
        return None
    readers = {o.inputs[1]: o.inputs[2] if len(o.inputs) > 2 else None for o in users}
    biases = [bias for bias in readers.values() if bias is not None]
    labelled = [p.name for p in graph.parameters if space in p.spaces]
    known = {makers[0].inputs[1], *makers[0].inputs[2:], *readers}
    if set(labelled) != known or len(set(biases)) != len(biases):
        return None
    bias = makers[0].inputs[2] if len(makers[0].inputs) > 2 else None
    return Layer(makers[0].inputs[1], bias, activation, readers)


def constant_figures(layer: Layer, tensors: Tensors) -> torch.Tensor:
    """How far each neuron is from constant: the norm of its row, in units of the layer's typical one."""
    norms = tensors[layer.weight].flatten(1).norm(dim=1)
    figures: torch.Tensor = norms / typical(norms)
    return figures


def constants(layer: Layer, tensors: Tensors, tolerance: float) -> tuple[dict[int, Step], Folding, int]:
    """The constant neurons of a layer, where their constants go, and how many have nowhere to go.

    Returns:
        tuple: Steps; for each reader its bias; the number of constant neurons that must stay.
    """
    figures = constant_figures(layer, tensors)
    bias = tensors[layer.bias] if layer.bias is not None else torch.zeros_like(figures)
    values = layer.value(bias)
    folding = {name: bias for name, bias in layer.readers.items() if bias is not None}
    steps, stuck = {}, 0
    for j in (figures <= tolerance).nonzero().flatten().tolist():
        if len(folding) == len(layer.readers) or float(values[j]) == 0:
            value = float(values[j])
            steps[j] = Step("constant" if value else "silent", float(figures[j]), value=value)
        else:
            stuck += 1
    return steps, folding, stuck
