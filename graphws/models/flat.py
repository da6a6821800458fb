"""The baseline that knows no symmetry: a multilayer perceptron on all weights in a row (paper D, section 7)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from graphws.errors import UsageError, nearest
from graphws.graph import NetworkGraph, Weights
from graphws.layers.activations import ACTIVATIONS
from graphws.layers.norm import NORMS, moments


class _Pointwise(nn.Module):
    """An activation of the layers as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)


class _BatchNorm(nn.BatchNorm1d):
    """Batch normalisation with the statistics of the whole batch, also where several processes share it."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        found = moments([(input, None)])
        with torch.no_grad():
            unbiased = found.variance * (found.count / max(found.count - 1, 1))
            assert self.momentum is not None
            for running, new in ((self.running_mean, found.mean), (self.running_var, unbiased)):
                assert running is not None
                running.lerp_(new.to(running.dtype), self.momentum)
        normal = (input - found.mean) * torch.rsqrt(found.variance + self.eps)
        return torch.addcmul(self.bias, normal, self.weight)


class FlatMLP(nn.Module):
    """Linear, norm, activation, …, linear on the flattened weights.

    Args:
        graph: Graph of the networks.
        outputs: Length of the output; None: networks of the same graph.
        layers: Linear layers.
        width: Hidden width.
        activation: One of `graphws.layers.ACTIVATIONS`.
        norm: ``batch``, ``layer`` or ``none``.
        dropout: Share of features set to zero in training.
        head_hidden: Widths of further hidden layers between those and the output.
        head_dropout: Share of features set to zero in training in those.

    Shapes:
        Weights (batch) -> (batch, outputs), or Weights (batch).
    """

    def __init__(
        self,
        graph: NetworkGraph,
        outputs: int | None,
        layers: int = 4,
        width: int = 128,
        activation: str = "relu",
        norm: str = "batch",
        dropout: float = 0.0,
        head_hidden: Sequence[int] = (),
        head_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if layers < 1 or width < 1:
            raise UsageError(f"an MLP needs at least one layer and a width of at least 1, got {layers} and {width}")
        if activation not in ACTIVATIONS:
            raise UsageError(f"unknown activation {activation!r}" + nearest(activation, ACTIVATIONS))
        if norm not in NORMS:
            raise UsageError(f"norm must be one of {', '.join(NORMS)}; got {norm!r}" + nearest(norm, NORMS))
        self.graph, self.equivariant = graph, outputs is None
        body = [graph.numel, *[width] * (layers - 1)]
        widths = [*body, *head_hidden, graph.numel if outputs is None else outputs]
        steps: list[nn.Module] = []
        for k, (a, b) in enumerate(pairwise(widths)):
            if k:
                norms = {"batch": _BatchNorm, "layer": nn.LayerNorm}
                steps += [norms[norm](a)] if norm in norms else []
                steps += [_Pointwise(activation), nn.Dropout(dropout if k < len(body) else head_dropout)]
            steps.append(nn.Linear(a, b))
        self.steps = nn.Sequential(*steps)

    def forward(self, weights: Weights) -> Tensor | Weights:
        """Applies the network; see the class for shapes."""
        output: Tensor = self.steps(weights.flatten())
        return Weights.unflatten(self.graph, output) if self.equivariant else output


def width_for(
    graph: NetworkGraph,
    outputs: int | None,
    layers: int,
    parameters: int,
    norm: str = "batch",
    head_hidden: Sequence[int] = (),
) -> int:
    """The hidden width at which a `FlatMLP` has about so many parameters (the nearest; at least 1)."""
    each = 2 if norm != "none" else 0

    def count(width: int) -> int:
        body = [graph.numel, *[width] * (layers - 1)]
        widths = [*body, *head_hidden, graph.numel if outputs is None else outputs]
        return sum(a * b + b for a, b in pairwise(widths)) + each * sum(widths[1:-1])

    low, high = 1, 2
    while count(high) < parameters and layers > 1:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    return min((low, high), key=lambda width: abs(count(width) - parameters))
