"""The module that the model ``moments`` builds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from graphws.graph import NetworkGraph, Weights


class Moments(nn.Module):
    """Invariant: each moment of a parameter is a mean over its entries.

    Args:
        graph: Of the networks.
        powers: The highest power.
        readout: Makes the module that reads the moments, from their number.

    Shapes:
        Weights (batch) -> the answer of the readout (batch, ...).
    """

    def __init__(self, graph: NetworkGraph, powers: int, readout: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.powers = powers
        self.readout = readout(powers * len(graph.parameters))

    def forward(self, weights: Weights) -> Tensor:
        """Reads the moments."""
        flat = [tensor.flatten(1) for _, tensor in weights.items()]
        moments = [(x**power).mean(1) for x in flat for power in range(1, self.powers + 1)]
        answer: Tensor = self.readout(torch.stack(moments, dim=1))
        return answer
