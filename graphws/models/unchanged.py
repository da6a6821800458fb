"""The baseline that changes nothing: what a task that gives networks back is worth without it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphws.graph import Mixed, Weights
from graphws.models.given import given_network


class Unchanged(nn.Module):
    """Answers every network with zeros, no change, and learns nothing.

    Args:
        networks: How many networks are returned for one.

    Shapes:
        Weights (batch) -> Weights (batch · networks).
    """

    def __init__(self, networks: int = 1) -> None:
        super().__init__()
        self.networks = networks

    def fit(self, weights: Mixed, targets: Tensor) -> None:
        """Nothing to learn."""

    def forward(self, weights: Weights) -> Weights:
        """No change."""
        return given_network(self, weights).map(lambda x: torch.zeros_like(x).repeat_interleave(self.networks, 0))
