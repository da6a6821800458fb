"""The baseline that sees outputs alone: every network is run at the same points, and what it gives there is read.

It knows nothing of weights, so that all symmetries of the networks leave it alone, and architectures do not matter.  It
reads weights as they are: scaled weights are another function.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.models.given import given_networks
from graphws.models.points import Points, common_length
from graphws.models.readout import BatchNorm, MakeReadout, readout_of
from graphws.operations.query_points import on_a_plane
from graphws.operations.runner import outputs_of

LARGEST = 1e6
"""Outputs beyond it, and infinite ones, are read as it; what is no number as 0."""


class Queries(nn.Module):
    """Outputs of networks at points, read by a perceptron or a small CNN.

    Args:
        graph: Of the networks, or several.
        outputs: Length of the output; or what makes the module that reads the last hidden layer, from its width.
        points: How many.
        learned: Whether the points are learned.
        readout: ``mlp``, or ``cnn`` for networks that draw pictures, on the grid.
        layers: Hidden layers, each of a linear map or a 3×3 convolution, batch normalisation and ReLU.
        width: Their width; channels of a CNN.
        grid: Whether networks with 2 inputs are asked on a regular grid.
        seed: Of points that are drawn.

    Shapes:
        Weights (batch), or a list of them -> (batch, outputs).

    Raises:
        UsageError: On networks that do not run, outputs of different lengths, and what `Points` refuses.
    """

    def __init__(
        self,
        graph: NetworkGraph | Sequence[NetworkGraph],
        outputs: int | MakeReadout,
        points: int = 64,
        learned: bool = False,
        readout: str = "mlp",
        layers: int = 2,
        width: int = 256,
        grid: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        graphs = [graph] if isinstance(graph, NetworkGraph) else list(graph)
        if min(points, layers, width) < 1:
            raise UsageError(f"queries need points, layers and a width of at least 1; got {points}, {layers}, {width}")
        if readout not in ("mlp", "cnn"):
            raise UsageError(f"queries are read by an mlp or a cnn, got {readout!r}")
        if readout == "cnn":
            _check_pictures(graphs, grid, learned)
        self.points = Points(graphs, points, grid, learned, seed)
        self.length = common_length(graphs, self.points)
        self.norm = BatchNorm(self.length)
        if readout == "cnn":
            side = math.isqrt(points)
            if self.length % points:
                raise UsageError(f"a cnn reads as many numbers of each point, got {self.length} at {points} points")
            self.read: nn.Module = Convolutions(self.length // points, side, layers, width)
        else:
            widths = [self.length, *[width] * layers]
            self.read = nn.Sequential(
                *(module for a, b in pairwise(widths) for module in (nn.Linear(a, b), BatchNorm(b), nn.ReLU()))
            )
        self.head = readout_of(outputs)(width)

    def forward(self, weights: Weights | Sequence[Weights]) -> Tensor:
        """Runs and reads; see the class for shapes."""
        parts = given_networks(self, weights)
        rows = torch.cat([self.answers(part) for part in parts])
        result: Tensor = self.head(self.read(self.norm(rows)))
        return result

    def answers(self, weights: Weights) -> Float[Tensor, "batch numbers"]:
        """What networks give at the points, flat.

        Raises:
            GraphError: On networks that do not run.
            UsageError: On networks for which there are no points, or that give more or fewer numbers.
        """
        like = self.norm.weight
        kind = weights.floating
        points = {n: x.to(kind) if x.is_floating_point() else x for n, x in self.points.of(weights.graph).items()}
        found = outputs_of(weights.graph, weights, points).flatten(1).to(like)
        if found.shape[1] != self.length:
            what = f"these networks give {found.shape[1]} numbers at the points"
            raise UsageError(f"{what}, the model reads {self.length}")
        return torch.nan_to_num(found, 0.0, LARGEST, -LARGEST).clamp(-LARGEST, LARGEST)


class Convolutions(nn.Module):
    """3×3 convolutions on a grid of outputs, each followed by batch normalisation and ReLU; then the mean.

    Between them, as long as the grid has 4 rows, 2×2 neighbours are averaged.

    Args:
        channels: Outputs of a network at a point.
        side: Rows and columns of the grid.
        layers: Convolutions.
        width: Channels behind each.

    Shapes:
        (batch, side · side · channels) -> (batch, width).
    """

    def __init__(self, channels: int, side: int, layers: int, width: int) -> None:
        super().__init__()
        self.side = side
        widths = [channels, *[width] * layers]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(BatchNorm(b) for b in widths[1:])

    def forward(self, rows: Tensor) -> Tensor:
        """The features."""
        x: Tensor = rows.unflatten(1, (self.side, self.side, -1)).movedim(-1, 1)
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            if number and x.shape[-1] >= 4:
                x = functional.avg_pool2d(x, 2)
            x = layer(x)
            last = x.movedim(1, -1)
            x = functional.relu(norm(last.flatten(0, -2)).reshape(last.shape)).movedim(-1, 1)
        return x.mean((-2, -1))


def _check_pictures(graphs: Sequence[NetworkGraph], grid: bool, learned: bool) -> None:
    """Outputs stand on a grid."""
    if learned or not grid:
        raise UsageError("a cnn reads a grid of outputs: take `grid: true` and `learned: false`, or `readout: mlp`")
    if not all(on_a_plane(graph) for graph in graphs):
        raise UsageError("a cnn reads pictures, that is, networks with 2 inputs; take `readout: mlp`")
