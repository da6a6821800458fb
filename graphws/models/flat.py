"""The baseline that knows no symmetry: a multilayer perceptron on all weights in a row (paper D, section 7)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from graphws.errors import UsageError, nearest
from graphws.graph import NetworkGraph, Weights
from graphws.layers.activations import ACTIVATIONS
from graphws.layers.norm import NORMS


class _Pointwise(nn.Module):
    """An activation of the layers as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)


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
    ) -> None:
        super().__init__()
        if layers < 1 or width < 1:
            raise UsageError(f"an MLP needs at least one layer and a width of at least 1, got {layers} and {width}")
        if activation not in ACTIVATIONS:
            raise UsageError(f"unknown activation {activation!r}" + nearest(activation, ACTIVATIONS))
        if norm not in NORMS:
            raise UsageError(f"norm must be one of {', '.join(NORMS)}; got {norm!r}" + nearest(norm, NORMS))
        self.graph, self.equivariant = graph, outputs is None
        widths = [graph.numel, *[width] * (layers - 1), graph.numel if outputs is None else outputs]
        steps: list[nn.Module] = []
        for k, (a, b) in enumerate(pairwise(widths)):
            if k:
                norms = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
                steps += [norms[norm](a)] if norm in norms else []
                steps += [_Pointwise(activation), nn.Dropout(dropout)]
            steps.append(nn.Linear(a, b))
        self.steps = nn.Sequential(*steps)

    def forward(self, weights: Weights) -> Tensor | Weights:
        """Applies the network; see the class for shapes."""
        output: Tensor = self.steps(weights.flatten())
        return Weights.unflatten(self.graph, output) if self.equivariant else output


def width_for(graph: NetworkGraph, outputs: int | None, layers: int, parameters: int, norm: str = "batch") -> int:
    """The hidden width at which a `FlatMLP` has about so many parameters (the nearest; at least 1)."""

    def count(width: int) -> int:
        n, m = graph.numel, graph.numel if outputs is None else outputs
        if layers == 1:
            return n * m + m
        hidden = (layers - 2) * width * (width + 1) + (layers - 1) * width * (2 if norm != "none" else 0)
        return n * width + width + hidden + width * m + m

    low, high = 1, 2
    while count(high) < parameters and layers > 1:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    return min((low, high), key=lambda width: abs(count(width) - parameters))
