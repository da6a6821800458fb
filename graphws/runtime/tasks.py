"""Tasks: what is to be read from the weights, how wrong an answer is, and how good a model is.

A task gives each network a loss (so that batches split over processes average correctly), names the validation metric
by which a model is chosen, and turns outputs into predictions.

=================  ==========================  ===========================  ==================
kind               target                      loss                         chosen by
=================  ==========================  ===========================  ==================
`Classification`   class index                 cross-entropy                accuracy (highest)
`Regression`       one or more real numbers    squared error, standardised  mse (lowest)
`Denoising`        the weights without noise   squared error, standardised  mse (lowest)
=================  ==========================  ===========================  ==================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanMetric, MeanSquaredError, MetricCollection, R2Score
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.regression import MeanAbsoluteError

from graphws.errors import DataError
from graphws.graph import Weights


@dataclass(frozen=True)
class Metric:
    """The name of a number that ranks models, and which way is better."""

    name: str
    higher_is_better: bool

    def better(self, value: float, than: float | None) -> bool:
        """Whether `value` beats `than` (None: nothing yet). NaN beats nothing."""
        if value != value:
            return False
        if than is None or than != than:
            return True
        return value > than if self.higher_is_better else value < than


class Task(ABC):
    """What is to be read from the weights."""

    chosen_by: Metric

    def prepare(self, weights: Weights, targets: Tensor, generator: torch.Generator) -> tuple[Weights, Tensor]:
        """What the model sees and what it should answer; `generator` lives on the device of the weights."""
        return weights, targets

    def apply(self, model: Callable[[Weights], Any], weights: Weights) -> Tensor:
        """The model's outputs as one tensor, a row a network."""
        outputs: Tensor = model(weights)
        return outputs

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, " batch"]:
        """One loss a network."""

    @abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """Outputs in the units of the target."""

    @abstractmethod
    def metrics(self, together: bool = True) -> MetricCollection:
        """Fresh accumulators of the validation metrics; `together`: they add up over all processes."""

    def update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch to the accumulators."""
        metrics.update(self.predictions(outputs), targets)


class Classification(Task):
    """Which of `classes` classes a network belongs to."""

    chosen_by = Metric("accuracy", higher_is_better=True)

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def losses(self, outputs: Float[Tensor, "batch classes"], targets: Int64[Tensor, " batch"]) -> Tensor:
        """Cross-entropy."""
        return functional.cross_entropy(outputs, targets, reduction="none")

    def predictions(self, outputs: Float[Tensor, "batch classes"]) -> Int64[Tensor, " batch"]:
        """The most likely class."""
        return outputs.argmax(dim=-1)

    def metrics(self, together: bool = True) -> MetricCollection:
        """Accuracy."""
        hits = MulticlassAccuracy(self.classes, average="micro", validate_args=False, sync_on_compute=together)
        return MetricCollection({"accuracy": hits}, compute_groups=False)


class Regression(Task):
    """Real numbers, learned standardised and reported in their own units.

    Args:
        mean: Of each target over the training split.
        deviation: Standard deviation of each target over the training split.
    """

    chosen_by = Metric("mse", higher_is_better=False)

    def __init__(self, mean: Float[Tensor, " outputs"], deviation: Float[Tensor, " outputs"]) -> None:
        self.mean, self.deviation = mean, deviation

    @classmethod
    def of(cls, targets: Float[Tensor, "networks outputs"], names: tuple[str, ...]) -> Regression:
        """The task with the standardisation of the given training targets.

        Raises:
            DataError: When a target is the same for every network, so that there is nothing to learn.
        """
        deviation = targets.std(dim=0, unbiased=False)
        for name, value in zip(names, deviation.tolist(), strict=True):
            if value == 0.0:
                raise DataError(f"the target {name!r} is the same for every training network: nothing to learn")
        return cls(targets.mean(dim=0), deviation)

    def losses(self, outputs: Float[Tensor, "batch outputs"], targets: Float[Tensor, "batch outputs"]) -> Tensor:
        """Mean squared error of the standardised targets."""
        wanted = (targets - self.mean.to(targets)) / self.deviation.to(targets)
        return (outputs - wanted).square().mean(dim=-1)

    def predictions(self, outputs: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch outputs"]:
        """The targets in their own units."""
        outputs = outputs.float()
        return outputs * self.deviation.to(outputs) + self.mean.to(outputs)

    def metrics(self, together: bool = True) -> MetricCollection:
        """Mean squared error, mean absolute error and R²; of several targets, the average."""
        kinds = {"mse": MeanSquaredError, "mae": MeanAbsoluteError, "r2": R2Score}
        found = {name: kind(sync_on_compute=together) for name, kind in kinds.items()}
        return MetricCollection(found, compute_groups=False)


class Denoising(Task):
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

    def prepare(self, weights: Weights, targets: Tensor, generator: torch.Generator) -> tuple[Weights, Tensor]:
        """Noisy weights, and the clean ones as targets."""
        clean = weights.flatten()
        noise = torch.randn(clean.shape, generator=generator, device=clean.device, dtype=clean.dtype)
        noisy = clean + self.noise * self.deviation.to(clean) * noise
        if self.dropout:
            noisy = noisy * (torch.rand(clean.shape, generator=generator, device=clean.device) >= self.dropout)
        return Weights.unflatten(weights.graph, noisy), clean

    def apply(self, model: Callable[[Weights], Any], weights: Weights) -> Float[Tensor, "batch weights"]:
        """The corrected weights, flat."""
        noisy = weights.flatten()
        correction: Tensor = model(weights).flatten()
        return noisy + self.deviation.to(noisy) * correction

    def losses(self, outputs: Float[Tensor, "batch weights"], targets: Float[Tensor, "batch weights"]) -> Tensor:
        """Mean squared error in units of each orbit's spread."""
        return ((outputs - targets) / self.deviation.to(outputs)).square().mean(dim=-1)

    def predictions(self, outputs: Float[Tensor, "batch weights"]) -> Float[Tensor, "batch weights"]:
        """The cleaned weights themselves."""
        return outputs.float()

    def metrics(self, together: bool = True) -> MetricCollection:
        """Mean squared error in units of each orbit's spread."""
        error = MeanMetric(nan_strategy="disable", sync_on_compute=together)
        return MetricCollection({"mse": error}, compute_groups=False)

    def update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch to the accumulators."""
        metrics.update(self.losses(outputs.float(), targets))


def class_targets(values: Int64[Tensor, " networks"], classes: int, name: str) -> Int64[Tensor, " networks"]:
    """Labels checked against the number of outputs of the head.

    Raises:
        DataError: When a label is negative or the head has no output for it.
    """
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= classes:
        raise DataError(
            f"the labels {name!r} run from {low} to {high}, but head.outputs is {classes}: "
            f"it must be at least {high + 1} and labels must start at 0"
        )
    return values
