"""What the task ``median`` builds."""

from __future__ import annotations

from torch import Tensor
from torchmetrics import MetricCollection
from torchmetrics.regression import MeanAbsoluteError

from graphws.tasks import Metric, Task


class Median(Task):
    """Absolute error.

    Args:
        middle: Median of the training targets.
        spread: Their deviation.
    """

    chosen_by = Metric("mae", higher_is_better=False)

    def __init__(self, middle: Tensor, spread: Tensor) -> None:
        self.middle, self.spread = middle, spread

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Absolute error of each network, in units of the deviation."""
        wanted = (targets - self.middle.to(targets)) / self.spread.to(targets)
        return (outputs - wanted).abs().mean(dim=-1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """The property in its own units."""
        outputs = outputs.float()
        return outputs * self.spread.to(outputs) + self.middle.to(outputs)

    def metrics(self, together: bool = True) -> MetricCollection:
        """The mean absolute error."""
        return MetricCollection({"mae": MeanAbsoluteError(sync_on_compute=together)}, compute_groups=False)
