"""The module that the head ``bounded`` ends with."""

from __future__ import annotations

from torch import Tensor, nn


class Bounded(nn.Module):
    """x -> bound · tanh(x)."""

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound

    def forward(self, x: Tensor) -> Tensor:
        """Numbers within the bound."""
        return self.bound * x.tanh()
