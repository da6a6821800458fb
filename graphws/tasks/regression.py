"""Properties of a network as real numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torchmetrics import MeanSquaredError, MetricCollection, R2Score
from torchmetrics.regression import MeanAbsoluteError

from graphws.errors import DataError
from graphws.report import predicted_against_true
from graphws.tasks.answers import Answers
from graphws.tasks.kendall import KendallTau
from graphws.tasks.task import Figures, Metric, Task, Trivial
from graphws.zoo import Zoo

METRICS: dict[str, tuple[Callable[..., Any], bool]] = {
    "mse": (MeanSquaredError, False),
    "mae": (MeanAbsoluteError, False),
    "r2": (R2Score, True),
    "kendall": (KendallTau, True),
}
"""What makes each, and whether more of it is better."""


class Regression(Task):
    """Real numbers, learned standardised and reported in their own units.

    Args:
        mean: Of each target over the training split.
        deviation: Standard deviation of each target over the training split.
        names: Of the targets.
        metric: By which models are chosen and compared, one of `METRICS`.
    """

    def __init__(
        self,
        mean: Float[Tensor, " outputs"],
        deviation: Float[Tensor, " outputs"],
        names: tuple[str, ...],
        metric: str = "mse",
    ) -> None:
        self.mean, self.deviation, self.names = mean, deviation, names
        self.chosen_by = Metric(metric, higher_is_better=METRICS[metric][1])

    @classmethod
    def of(cls, targets: Float[Tensor, "networks outputs"], names: tuple[str, ...], metric: str = "mse") -> Regression:
        """The task with the standardisation of the given training targets.

        Raises:
            DataError: When a target is the same for every network, so that there is nothing to learn.
        """
        deviation = targets.std(dim=0, unbiased=False)
        for name, value in zip(names, deviation.tolist(), strict=True):
            if value == 0.0:
                raise DataError(f"the target {name!r} is the same for every training network: nothing to learn")
        return cls(targets.mean(dim=0), deviation, names, metric)

    def wanted(self, targets: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch outputs"]:
        """The targets, standardised."""
        return (targets - self.mean.to(targets)) / self.deviation.to(targets)

    def losses(self, outputs: Float[Tensor, "batch outputs"], targets: Float[Tensor, "batch outputs"]) -> Tensor:
        """Mean squared error of the standardised targets."""
        return (outputs - self.wanted(targets)).square().mean(dim=-1)

    def predictions(self, outputs: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch outputs"]:
        """The targets in their own units."""
        outputs = outputs.float()
        return outputs * self.deviation.to(outputs) + self.mean.to(outputs)

    def metrics(self, together: bool = True) -> MetricCollection:
        """Mean squared error, mean absolute error, R² and Kendall's τ; of several targets, the average."""
        found = {name: kind(sync_on_compute=together) for name, (kind, _) in METRICS.items()}
        return MetricCollection(found, compute_groups=False)

    def columns(self, outputs: Tensor, classes: Sequence[str] | None, probabilities: bool) -> dict[str, list[Any]]:
        """A column a target, in its own units."""
        return dict(zip(self.names, self.predictions(outputs).T.tolist(), strict=True))

    def trivial(self, training: Float[Tensor, "training outputs"], test: Float[Tensor, "test outputs"]) -> Trivial:
        """The mean of the training networks."""
        found = METRICS[self.chosen_by.name][0](sync_on_compute=False)
        found.update(self.mean.to(test).expand_as(test), test)
        return Trivial("always answering the mean", float(found.compute()))

    def figures(self, answers: Mapping[str, Answers], zoo: Zoo) -> Figures:
        """Predictions of every model against the truth."""
        predictions = {name: found.predictions.numpy().astype(np.float64) for name, found in answers.items()}
        truth = next(iter(answers.values())).targets.numpy().astype(np.float64)
        figure = predicted_against_true(truth, predictions, self.names)
        return {"predictions": ("Test split: the closer to the diagonal, the better.", figure)}
