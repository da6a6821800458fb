"""What the target ``louder`` builds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection

from graphws.graph import Mixed, NetworkGraph, Weights
from graphws.operations.query_points import fixed_points
from graphws.tasks import ChangedNetworks, Metric


class Louder(ChangedNetworks):
    """Squared error against a multiple of what the given network computes.

    Args:
        deviation: See `graphws.tasks.ChangedNetworks`.
        graph: See there.
        restore: See there.
        networks: See there.
        factor: What outputs are multiplied by.
        points: At how many points.
    """

    chosen_by = Metric("mse", higher_is_better=False)

    def __init__(
        self,
        deviation: Tensor,
        graph: NetworkGraph,
        restore: Callable[[Weights], Weights],
        networks: int,
        factor: float,
        points: int,
    ) -> None:
        super().__init__(deviation, graph, restore, networks)
        self.factor, self.points = factor, fixed_points(graph, points)

    def prepare(self, weights: Mixed, targets: Tensor, generator: torch.Generator) -> tuple[Mixed, Tensor]:
        """The networks, and what they were."""
        assert isinstance(weights, Weights)
        return weights, weights.flatten()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over points."""
        found, given = self.raw(outputs), self.raw(targets)
        points = [x.to(given.device, given.floating) for x in self.points]
        with torch.no_grad():
            wanted = self.factor * self.run(given, points, several=1)
        return (self.run(found, points) - wanted).square().flatten(1).mean(1)

    def metrics(self, together: bool = True) -> MetricCollection:
        """The mean squared error."""
        error = MeanMetric(nan_strategy="disable", sync_on_compute=together)
        return MetricCollection({"mse": error}, compute_groups=False)

    def update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch to the accumulators."""
        metrics.update(self.losses(outputs.float(), targets))
