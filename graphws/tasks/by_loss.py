"""Tasks whose metric is their loss: the mean over networks, under the name by which models are chosen."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torchmetrics import MeanMetric, MetricCollection

from graphws.tasks.task import Task


class ByLoss(Task):
    """A task that is judged by its loss, computed once."""

    def metrics(self, together: bool = True) -> MetricCollection:
        """The mean loss."""
        error = MeanMetric(nan_strategy="disable", sync_on_compute=together)
        return MetricCollection({self.chosen_by.name: error}, compute_groups=False)

    def update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch to the accumulators."""
        self.judge(metrics, outputs, targets)

    def judge(
        self, metrics: MetricCollection, outputs: Tensor, targets: Tensor, together: bool = False
    ) -> Float[Tensor, " batch"]:
        """The metric is the loss."""
        losses = self.losses(outputs.float(), targets)
        metrics.update(losses)
        return losses
