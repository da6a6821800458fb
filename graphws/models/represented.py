"""A model whose answer is a representation, with what it takes to learn one and to judge it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from graphws.graph import Mixed
from graphws.models.linear_probe import LinearProbe
from graphws.models.readout import perceptron


class Represented(nn.Module):
    """A model, the projection that contrastive learning compares instead of its answers, and a linear probe on these.

    Args:
        model: Gives the representation of each network, (batch, size).
        size: Of a representation.
        targets: How many properties the probe tells.
        projection: Widths of the projection's layers, the last one that of its output; empty: it changes nothing.

    Attributes:
        idle: Whether a batch may leave parameters of the model unused.
    """

    def __init__(self, model: nn.Module, size: int, targets: int, projection: Sequence[int] = ()) -> None:
        super().__init__()
        self.model = model
        *hidden, last = projection or (size,)
        self.projection = perceptron(size, last, hidden) if projection else nn.Identity()
        self.probe = LinearProbe(size, targets)
        self.idle = bool(getattr(model, "idle", False))

    def forward(self, weights: Mixed) -> Tensor:
        """The representation of each network."""
        embeddings: Tensor = self.model(weights)
        return embeddings

    def project(self, weights: Mixed) -> Tensor:
        """What is compared in training."""
        projected: Tensor = self.projection(self(weights))
        return projected
