"""A network from a noisy one, judged as a function: the mean of several networks' outputs against the clean one's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from graphws.graph import Mixed, NetworkGraph, Weights
from graphws.operations.query_points import fixed_points
from graphws.operations.runner import outputs_of
from graphws.tasks.denoising import Denoising, of_one_graph
from graphws.tasks.functional import answered
from graphws.tasks.task import Metric


class FunctionDenoising(Denoising):
    """The function of a network without the noise that was added to its weights.

    The model answers with `networks` corrections, each in units of each orbit's spread.  The corrected networks are
    run, and the mean of their outputs is compared with what the clean network gives at the same points.

    Args:
        deviation: Standard deviation of each flat weight's orbit over the training split.
        noise: Standard deviation of the noise in the same units.
        dropout: Share of weights that are set to zero.
        graph: Of the networks.
        restore: From the weights that the model sees to those that are run.
        networks: How many the model answers with.
        points: At how many points functions are compared: a regular grid where networks have 2 inputs, else seeded
            draws; see `graphws.operations.query_points`.

    Raises:
        UsageError: On networks that do not run, and a grid that is not square.
    """

    chosen_by = Metric("function_mse", higher_is_better=False)

    def __init__(
        self,
        deviation: Float[Tensor, " weights"],
        noise: float,
        dropout: float,
        graph: NetworkGraph,
        restore: Callable[[Weights], Weights],
        networks: int,
        points: int = 64,
    ) -> None:
        super().__init__(deviation, noise, dropout)
        self.graph, self.restore, self.networks = graph, restore, networks
        self.points = fixed_points(graph, points)

    def apply(self, model: Callable[[Mixed], Any], weights: Mixed) -> Float[Tensor, "batch corrected"]:
        """The corrected weights of all networks that answer for one, flat, one network after the other."""
        weights = of_one_graph(weights)
        noisy = weights.flatten()
        return (noisy[:, None] + answered(model, weights, self.deviation, self.networks)).flatten(1)

    def function(self, networks: Float[Tensor, "batch weights"]) -> Float[Tensor, "batch numbers"]:
        """Outputs at the points of networks whose flat weights are as the model sees them."""
        weights = self.restore(Weights.unflatten(self.graph, networks))
        return outputs_of(self.graph, weights, self._points(weights)).flatten(1).to(networks)

    def _points(self, weights: Weights) -> list[Tensor]:
        kind = weights.floating
        return [x.to(weights.device, kind if x.is_floating_point() else x.dtype) for x in self.points]

    def losses(self, outputs: Float[Tensor, "batch corrected"], targets: Float[Tensor, "batch weights"]) -> Tensor:
        """Mean squared error of the mean function, in the units of the networks' outputs."""
        found = self.function(outputs.reshape(-1, targets.shape[1]).to(targets))
        with torch.no_grad():
            wanted = self.function(targets)
        mean: Tensor = found.unflatten(0, (-1, self.networks)).mean(1)
        return (mean - wanted).square().mean(dim=-1)
