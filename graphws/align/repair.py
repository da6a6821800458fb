"""Neurons of merged networks rescaled, where no norm holds their statistics.

REPAIR (Jordan, Sedghi, Saukh, Entezari and Neyshabur 2023, "REPAIR: REnormalizing Permuted Activations for
Interpolation Repair"): what a neuron of a mean carries before its activation varies less than in the networks that were
merged.  Each neuron gets a factor and a shift such that mean and spread over some inputs are the means of theirs,

    E z = Σ_k share_k E z_k,        std z = Σ_k share_k std z_k,

from the first layer to the last, each behind the layers that were done before it.  Both go into the layer's weight and
bias, so the network keeps its graph.  A layer without a bias cannot be shifted: there the root mean square takes the
place of the spread.  Layers are left alone where their outputs are read by a norm that holds statistics or are no
moving neurons (the network's own outputs), and where their weights are used elsewhere too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from graphws.align.statistics import Norm, running_norms, settle, walk_through, write_statistics
from graphws.align.stored_entries import StoredEntries, batched, readers, single
from graphws.graph import NetworkGraph, Operation, Weights
from graphws.operations.labels import labels
from graphws.operations.plan import steps_to
from graphws.operations.runner import Inputs

_DEAD = 1e-6
"""A neuron that varies less than this share of what it should is left alone: its factor would only raise rounding."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer whose neurons can be rescaled.

    Attributes:
        value: What it writes.
        axis: The axis of its neurons, from the end.
        weight: Name of the operand.
        outward: The axis of the weight that its neurons index.
        weights: Where the weight is stored.
        bias: Name of the operand; None without one.
        biases: Where the bias is stored.
    """

    value: str
    axis: int
    weight: str
    outward: int
    weights: StoredEntries
    bias: str | None = None
    biases: StoredEntries | None = None

    def measured(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and spread of each neuron; without a bias mean 0 and the root mean square."""
        wide = value.to(torch.promote_types(value.dtype, torch.float32)).movedim(self.axis, 0).flatten(1)
        if self.bias is None:
            return torch.zeros_like(wide[:, 0]), wide.square().mean(1).sqrt()
        return wide.mean(1), wide.std(1, unbiased=False)


@lru_cache(maxsize=64)
def repairable_layers(graph: NetworkGraph) -> Mapping[Operation, Layer]:
    """The layers that `repair` rescales, by their operations."""
    steps = steps_to(graph, frozenset(graph.outputs), frozenset(graph.inputs))
    found = {}
    for step in steps:
        layer = _layer(graph, step.operation)
        if layer is not None:
            found[step.operation] = layer
    return found


def repair(merged: Weights, parts: Sequence[Weights], shares: Sequence[float], inputs: Inputs) -> Weights:
    """A merged network with its neurons rescaled, and with the statistics of its norms measured anew.

    Law: run on the inputs, each neuron of a repaired layer has the mean and the spread above.

    Args:
        merged: The mean of the parts, a batch of one.
        parts: The networks, each a batch of one, aligned.
        shares: The share of each in the mean.
        inputs: Points, as for `graphws.operations.forward`.

    Raises:
        GraphError: On a graph that does not run, or inputs that it does not know.
        DataError: On so few inputs that they have no variance.
    """
    layers, norms = repairable_layers(merged.graph), running_norms(merged.graph)
    if not layers and not norms:
        return merged
    wanted: dict[Operation, tuple[Tensor, Tensor]] = {}
    for part, share in zip(parts, shares, strict=True):
        for operation, each in _moments(part, layers, inputs).items():
            before = wanted.get(operation)
            now = (share * each[0], share * each[1])
            wanted[operation] = now if before is None else (before[0] + now[0], before[1] + now[1])
    return _rescaled(merged, layers, norms, wanted, inputs)


@torch.no_grad()
def _moments(
    weights: Weights, layers: Mapping[Operation, Layer], inputs: Inputs
) -> dict[Operation, tuple[Tensor, Tensor]]:
    found = {}
    for step, values, _ in walk_through(weights.graph, single(weights), inputs, weights.floating, weights.device):
        layer = layers.get(step.operation)
        if layer is not None:
            found[step.operation] = layer.measured(values[layer.value])
    return found


@torch.no_grad()
def _rescaled(
    weights: Weights,
    layers: Mapping[Operation, Layer],
    norms: Mapping[Operation, Norm],
    wanted: Mapping[Operation, tuple[Tensor, Tensor]],
    inputs: Inputs,
) -> Weights:
    graph, tensors = weights.graph, single(weights)
    statistics: dict[Norm, list[tuple[Tensor, Tensor]]] = {}
    for step, values, context in walk_through(graph, tensors, inputs, weights.floating, weights.device):
        norm, layer = norms.get(step.operation), layers.get(step.operation)
        if norm is not None:
            statistics.setdefault(norm, []).append(settle(norm, step, values, context))
        if layer is None:
            continue
        mean, spread = layer.measured(values[layer.value])
        target_mean, target_spread = wanted[step.operation]
        varies = spread > _DEAD * target_spread
        factor = torch.where(varies, target_spread / spread.clamp_min(torch.finfo(spread.dtype).tiny), 1.0)
        weight = values[layer.weight]
        sides = [-1 if k == layer.outward else 1 for k in range(weight.ndim)]
        layer.weights.write(tensors, weight * factor.reshape(sides).to(weight.dtype))
        values[layer.weight] = weight * factor.reshape(sides).to(weight.dtype)
        if layer.bias is not None and layer.biases is not None:
            bias = values[layer.bias]
            shifted = ((bias - mean) * factor + target_mean).to(bias.dtype)
            layer.biases.write(tensors, shifted)
            values[layer.bias] = shifted
        values.update(zip(step.operation.outputs, step.run(values, context), strict=False))
    write_statistics(tensors, statistics)
    return batched(graph, tensors)


def _layer(graph: NetworkGraph, operation: Operation) -> Layer | None:
    """The layer of an operation that multiplies by a stored weight, and adds a stored bias or nothing."""
    named = operation.operands
    weight, bias = named.get("weight"), named.get("bias")
    part = operation.row.part.name
    if part not in ("linear", "conv", "convtranspose") or not isinstance(weight, str):
        return None
    norms, value = running_norms(graph), operation.outputs[0]
    if any(each in norms for each in graph.readers(value)) or value in graph.outputs:
        return None
    if any(len(readers(graph, name)) != 1 for name in (weight, *([bias] if bias else []))):
        return None
    weights = StoredEntries.of(graph, weight)
    biases = StoredEntries.of(graph, bias) if isinstance(bias, str) else None
    if weights is None or (bias and biases is None) or len(weights.shape) < 2:
        return None
    if part == "convtranspose" and operation.attribute("groups") != 1:
        return None
    axis = 1 - len(weights.shape)
    axes = labels(graph).get(value, ())
    label = axes[axis] if len(axes) >= -axis else None
    if label is None or not graph.space(label.space).moves:
        return None
    outward = 1 if part == "convtranspose" else 0
    return Layer(value, axis, weight, outward, weights, bias or None, biases)
