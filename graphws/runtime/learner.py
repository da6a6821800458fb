"""The learner: a model and a task, as Lightning trains them.

Randomness is a function of (seed, epoch, batch, process) alone, never of what ran before: a run that continues after a
kill draws the noise that it would have drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR
from torchmetrics import MeanMetric

from graphws.graph import Mixed, Weights, change_each
from graphws.runtime.batches import Batch
from graphws.tasks import Task

Transform = Callable[[Weights, torch.Generator], Weights]


@dataclass(frozen=True)
class Optimisation:
    """How the parameters move.

    Attributes:
        kind: One of `OPTIMIZERS`.
        lr: Learning rate; the highest one where there is a schedule.
        weight_decay: Decoupled for ``adamw``.
        schedule: One of `SCHEDULES`.
        epochs: How many epochs the schedule spans.
        seed: Of the order of batches, augmentation and dropout.
    """

    kind: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 5e-4
    schedule: str = "none"
    epochs: int = 100
    seed: int = 0


Parameters = Iterable[nn.Parameter]

OPTIMIZERS: dict[str, Callable[[Parameters, Optimisation], Optimizer]] = {
    "adamw": lambda p, how: torch.optim.AdamW(p, how.lr, weight_decay=how.weight_decay, fused=True),
    "adam": lambda p, how: torch.optim.Adam(p, how.lr, weight_decay=how.weight_decay, fused=True),
    "sgd": lambda p, how: torch.optim.SGD(p, how.lr, momentum=0.9, weight_decay=how.weight_decay),
}
"""By the name that `train.optimizer.kind` gives."""

SCHEDULES: dict[str, Callable[[Optimizer, Optimisation, int], LRScheduler] | None] = {
    "none": None,
    "cosine": lambda optimizer, how, steps: CosineAnnealingLR(optimizer, steps),
    "onecycle": lambda optimizer, how, steps: OneCycleLR(optimizer, how.lr, total_steps=steps, cycle_momentum=False),
}
"""By the name that `train.schedule` gives: over so many steps, one a batch."""


class Learner(pl.LightningModule):
    """A model, a task and how to optimise.

    Args:
        model: Takes `Weights`, or a list of those of several graphs, and gives what the task reads.
        task: Losses, predictions and metrics.
        optimisation: How the parameters move.
        augment: Changes training batches only.
        normalise: Changes every batch, last of all.
        steps_per_epoch: Optimisation steps in an epoch.
        reference: The training networks in a fixed order, for a task that finishes the model before each validation.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        optimisation: Optimisation,
        steps_per_epoch: int,
        augment: Transform | None = None,
        normalise: Callable[[Weights], Weights] | None = None,
        reference: Iterable[Batch] = (),
    ) -> None:
        super().__init__()
        self.model, self.task, self.optimisation, self.steps_per_epoch = model, task, optimisation, steps_per_epoch
        self.augment, self.normalise, self.reference = augment, normalise, reference
        self.train_loss, self.val_loss = MeanMetric(nan_strategy="disable"), MeanMetric(nan_strategy="disable")
        self.val_metrics = task.metrics()
        self.trained = False  # whether a batch was learnt from since the learner was made

    def generator(self, *numbers: int) -> torch.Generator:
        """A generator that depends on the seed, the process and the given numbers only."""
        seed = self.optimisation.seed
        for number in (*numbers, self.global_rank):
            seed = (seed * 1_000_003 + number + 1) % (1 << 62)
        return torch.Generator(device=self.device).manual_seed(seed)

    def answer(self, batch: Batch, generator: torch.Generator, augment: bool) -> tuple[Tensor, Tensor]:
        """Outputs for a batch, and what they should be; networks of any floating type are read in the model's."""
        weights = self._seen(batch, generator if augment else None)
        return self.task.ask(self.model, weights, batch.targets, generator, augment)

    def _seen(self, batch: Batch, augmenting: torch.Generator | None) -> Mixed:
        """Networks as the model sees them, augmented where there is a generator."""
        dtype = next((p.dtype for p in self.model.parameters()), torch.get_default_dtype())
        weights, change = change_each(batch.weights, lambda part: part.to(dtype=dtype)), self.augment
        if augmenting is not None and change is not None:  # graph by graph, with one generator
            weights = change_each(weights, lambda part: change(part, augmenting))
        return weights if self.normalise is None else change_each(weights, self.normalise)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        self.trained = True
        generator = self.generator(self.current_epoch, batch_idx)
        _seed_dropout(generator.initial_seed(), self.device)
        outputs, targets = self.answer(batch, generator, augment=True)
        losses = self.task.joint_losses(outputs, targets)
        self.train_loss.update(losses.detach())
        return losses.sum() * batch.share

    def on_validation_epoch_start(self) -> None:
        """Let the task finish the model."""
        moved = (batch.to(self.device) for batch in self.reference)
        with self.trainer.precision_plugin.forward_context():
            self.task.settle(self.model, ((self._seen(batch, None), batch.targets) for batch in moved))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the validation metrics."""
        outputs, targets = self.answer(batch, self.generator(-1, batch_idx), augment=False)
        self.val_loss.update(self.task.judge(self.val_metrics, outputs, targets, together=True))

    def on_validation_epoch_end(self) -> None:
        """Publish the metrics of the epoch, which ends with its validation."""
        optimizer = self.optimizers(use_pl_optimizer=False)
        assert isinstance(optimizer, torch.optim.Optimizer)
        validation = {"loss": self.val_loss.compute(), **self.val_metrics.compute()}
        values = {f"val_{name}": value for name, value in validation.items()}
        self.log_dict({"train_loss": self.train_loss.compute(), "lr": optimizer.param_groups[0]["lr"], **values})
        for metric in (self.train_loss, self.val_loss, self.val_metrics):
            metric.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and, if any, its schedule, stepped every batch."""
        how = self.optimisation
        optimizer = OPTIMIZERS[how.kind](self.model.parameters(), how)
        make = SCHEDULES[how.schedule]
        if make is None:
            return optimizer
        schedule: Any = make(optimizer, how, max(1, how.epochs * self.steps_per_epoch))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _seed_dropout(seed: int, device: torch.device) -> None:
    """Dropout has no generator of its own: it draws from torch's, which `Trial.run` puts back at the end."""
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
