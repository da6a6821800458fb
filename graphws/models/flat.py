"""The baseline that knows no symmetry: a multilayer perceptron on all weights in a row (paper D, section 7)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from graphws.errors import UsageError, nearest
from graphws.graph import NetworkGraph, Weights
from graphws.layers.activations import ACTIVATIONS
from graphws.layers.differences import difference
from graphws.models.given import given_network
from graphws.models.readout import BatchNorm, MakeReadout, readout_of


class _Pointwise(nn.Module):
    """An activation of the layers as a module."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: Tensor) -> Tensor:
        return ACTIVATIONS[self.name](x)


_NORMS: dict[str, Callable[[int], list[nn.Module]]] = {
    "batch": lambda width: [BatchNorm(width)],
    "layer": lambda width: [nn.LayerNorm(width)],
    "none": lambda width: [],
}


class FlatMLP(nn.Module):
    """Linear, norm, activation, …, linear on the flattened weights.

    Args:
        graph: Graph of the networks.
        outputs: Length of the output; or what makes the module that reads the last hidden layer, from its width; None:
            networks of the same graph.
        layers: Linear layers.
        width: Hidden width.
        activation: One of `graphws.layers.ACTIVATIONS`.
        norm: ``batch``, ``layer`` or ``none``.
        dropout: Share of features set to zero in training.
        networks: How many networks are returned for one, where networks are.

    Shapes:
        Weights (batch) -> (batch, outputs), or Weights (batch · networks), those for one network next to each other.

    Raises:
        UsageError: When called, on networks of another structure.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        outputs: int | MakeReadout | None,
        layers: int = 4,
        width: int = 128,
        activation: str = "relu",
        norm: str = "batch",
        dropout: float = 0.0,
        networks: int = 1,
    ) -> None:
        super().__init__()
        if layers < 1 or width < 1:
            raise UsageError(f"an MLP needs at least one layer and a width of at least 1, got {layers} and {width}")
        if networks < 1:
            raise UsageError(f"an MLP returns at least one network, got {networks}")
        if activation not in ACTIVATIONS:
            raise UsageError(f"unknown activation {activation!r}" + nearest(activation, ACTIVATIONS))
        if norm not in _NORMS:
            raise UsageError(f"norm must be one of {', '.join(_NORMS)}; got {norm!r}" + nearest(norm, _NORMS))
        self.graph, self.equivariant = graph, outputs is None
        widths = [graph.numel, *[width] * (layers - 1)]
        modules: list[nn.Module] = []
        for a, b in pairwise(widths):
            modules += [nn.Linear(a, b), *_NORMS[norm](b), _Pointwise(activation), nn.Dropout(dropout)]
        modules.append(
            nn.Linear(widths[-1], networks * graph.numel) if outputs is None else readout_of(outputs)(widths[-1])
        )
        self.layers = nn.Sequential(*modules)

    def forward(self, weights: Weights) -> Tensor | Weights:
        """Applies the network; see the class for shapes."""
        weights = given_network(self, weights)
        if weights.graph.structure != self.graph.structure:
            raise UsageError(f"this FlatMLP was built for another graph: {difference(self.graph, weights.graph)}")
        output: Tensor = self.layers(weights.flatten())
        return Weights.unflatten(self.graph, output.reshape(-1, self.graph.numel)) if self.equivariant else output


def width_for(count: Callable[[int], int], parameters: int, step: int = 1) -> int:
    """The width at which a model has about so many parameters: the nearest; at least `step`.

    Args:
        count: How many parameters there are at a width; it never falls.
        parameters: How many there should be.
        step: Widths are its multiples.
    """
    low, high = 1, 2
    while count(low * step) < count(high * step) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle * step) < parameters else (low, middle)
    return min((low * step, high * step), key=lambda width: abs(count(width) - parameters))
