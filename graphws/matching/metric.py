"""How much each parameter counts in a comparison of weights, and along which directions of its inputs.

Without data every layer counts the same: the tensors that write one set of spaces (a weight and its bias) are divided
by their joint squared norm.  With data, a weight matters only on the activations that reach it: <A, B> becomes
<A Σ, B>, where Σ is the second moment of the values that the axis reads (axes of power -1): as they are, or about
their mean, as a search for actions takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Parameter, Weights


@dataclass(frozen=True, eq=False)
class Metric:
    """A weighting of parameters and of the directions that they read.

    Args:
        importance: Factor of each parameter, 1 where it is missing.
        moments: Second moment Σ of the values on a space, (extent, extent), symmetric; used on axes of power -1.
    """

    importance: Mapping[str, float] = field(default_factory=dict)
    moments: Mapping[str, Tensor] = field(default_factory=dict)

    def of(self, parameter: str) -> float:
        """The factor of a parameter."""
        return self.importance.get(parameter, 1.0)

    def weigh(self, parameter: Parameter, tensor: Tensor) -> Tensor:
        """The (batch, *axes) tensor with Σ on every axis that reads a space whose moment is known."""
        for k, axis in enumerate(parameter.axes):
            moment = self.moments.get(axis.space) if axis.power == -1 else None
            if moment is not None:
                moment = moment.to(tensor.dtype)
                tensor = torch.movedim(torch.tensordot(tensor, moment, dims=([k + 1], [0])), -1, k + 1)
        return tensor


def balanced_metric(weights: Weights, moments: Mapping[str, Tensor] | None = None) -> Metric:
    """Every layer counts 1: its tensors are divided by their joint squared norm, as `moments` measure it.

    A layer is what writes the same spaces: a weight goes with its bias.  Of a norm's scales and statistics only what
    differs from channel to channel counts (`telling`), or ones would drown the kernel.

    Args:
        weights: The network (or networks) to measure.
        moments: Second moments of the values on spaces; see `Metric`.
    """
    graph, metric = weights.graph, Metric(moments=moments or {})
    sums: dict[frozenset[str], float] = {}
    for parameter in graph.parameters:
        tensor = weights[parameter.name]
        layer = written_spaces(graph, parameter)
        here = telling(parameter, tensor)
        sums[layer] = sums.get(layer, 0.0) + float((metric.weigh(parameter, here) * here).sum()) / max(1, weights.batch)
    importance = {}
    for parameter in graph.parameters:
        total = sums[written_spaces(graph, parameter)]
        importance[parameter.name] = 1.0 / total if total > 0 else 0.0
    return Metric(importance, moments or {})


def telling(parameter: Parameter, tensor: Tensor) -> Tensor:
    """What of a (batch, *axes) tensor a relabelling can change: all of it, or a norm's numbers about their mean."""
    if len(parameter.axes) == 1 and parameter.kind in ("scale", "buffer") and tensor.is_floating_point():
        return tensor - tensor.mean(-1, keepdim=True)
    return tensor


def written_spaces(graph: NetworkGraph, parameter: Parameter) -> frozenset[str]:
    """The moving spaces that a parameter writes (scales or not), or where there are none all that it writes."""
    moving = {axis.space for axis in parameter.axes if axis.power >= 0 and graph.space(axis.space).moves}
    return frozenset(moving or {axis.space for axis in parameter.axes if axis.power > 0})


def agreement(first: Weights, second: Weights, metric: Metric) -> dict[str, float]:
    """1 - ‖A - B‖² / (‖A‖² + ‖B‖²) of each parameter, in the metric: 1 where they are equal, 0 where unrelated.

    Args:
        first: One network, a batch of one.
        second: Another network of the same graph.
        metric: Only its moments are used.

    Raises:
        GraphError: Where the graphs differ.
    """
    if first.graph != second.graph:
        raise GraphError("networks of different graphs cannot be compared parameter by parameter")
    result = {}
    for parameter in first.graph.parameters:
        a, b = first[parameter.name], second[parameter.name]
        both = float((metric.weigh(parameter, a) * a).sum() + (metric.weigh(parameter, b) * b).sum())
        gap = float((metric.weigh(parameter, a - b) * (a - b)).sum())
        result[parameter.name] = 1.0 - gap / both if both > 0 else 1.0
    return result
