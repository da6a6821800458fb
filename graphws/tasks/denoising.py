"""A network from a noisy one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from graphws.errors import DataError
from graphws.graph import Mixed, Weights
from graphws.tasks.by_loss import ByLoss
from graphws.tasks.task import Metric

ONE_GRAPH = "a task that gives networks back reads networks of one architecture, and these are of {}"


class Denoising(ByLoss):
    """The weights of a network without the noise that was added to them.

    The model, whose head is equivariant, sees ``clean + noise`` and gives a correction in units of each orbit's spread;
    a model that gives zero scores the variance of the noise.

    Args:
        deviation: Standard deviation of each flat weight's orbit over the training split.
        noise: Standard deviation of the noise in the same units.
        dropout: Share of weights that are set to zero.
    """

    chosen_by = Metric("mse", higher_is_better=False)

    def __init__(self, deviation: Float[Tensor, " weights"], noise: float, dropout: float = 0.0) -> None:
        self.deviation, self.noise, self.dropout = deviation, noise, dropout

    def prepare(self, weights: Mixed, targets: Tensor, generator: torch.Generator) -> tuple[Mixed, Tensor]:
        """Noisy weights, and the clean ones as targets."""
        weights = of_one_graph(weights)
        clean = weights.flatten()
        noise = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
        noisy = clean + self.noise * self.deviation.to(clean) * noise
        if self.dropout:
            noisy = noisy * (torch.rand(clean.shape, generator=generator, device=clean.device) >= self.dropout)
        return Weights.unflatten(weights.graph, noisy), clean

    def apply(self, model: Callable[[Mixed], Any], weights: Mixed) -> Float[Tensor, "batch weights"]:
        """The corrected weights, flat."""
        weights = of_one_graph(weights)
        noisy = weights.flatten()
        correction: Tensor = model(weights).flatten()
        return noisy + self.deviation.to(noisy) * correction

    def losses(self, outputs: Float[Tensor, "batch weights"], targets: Float[Tensor, "batch weights"]) -> Tensor:
        """Mean squared error in units of each orbit's spread."""
        return ((outputs - targets) / self.deviation.to(outputs)).square().mean(dim=-1)

    def predictions(self, outputs: Float[Tensor, "batch weights"]) -> Float[Tensor, "batch weights"]:
        """The cleaned weights themselves."""
        return outputs.float()


def of_one_graph(weights: Mixed) -> Weights:
    """Flat weights of several graphs would not stand in one tensor."""
    if isinstance(weights, list):
        raise DataError(ONE_GRAPH.format(len(weights)))
    return weights
