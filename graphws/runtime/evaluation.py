"""Evaluation: what a trained model answers for each network, and how good the answers are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import DataError
from graphws.runtime.batches import Networks, batches
from graphws.runtime.environment import Processes
from graphws.runtime.learner import Learner


@dataclass(frozen=True, eq=False)
class Answers:
    """A model's answers for the networks of a split.

    Attributes:
        metrics: ``loss`` and the task's metrics.
        predictions: In the units of the target, one row a network.
        targets: What they should have been.
        index: Which network of the data each row is.
    """

    metrics: dict[str, float]
    predictions: Tensor
    targets: Tensor
    index: Tensor


def evaluate(learner: Learner, networks: Networks, device: torch.device, batch_size: int = 1024) -> Answers:
    """Ask a model about every network of a split, without augmentation or dropout.

    Raises:
        DataError: When the split is empty.
    """
    if not len(networks):
        raise DataError("the split to evaluate has no networks")
    learner = learner.to(device).eval()
    metrics = learner.task.metrics(together=False).to(device)
    losses, predictions, targets, index = [], [], [], []
    with torch.no_grad():
        for number, batch in enumerate(batches(networks, batch_size, Processes(), None)):
            moved = batch.to(device)
            outputs, wanted = learner.answer(moved, learner.generator(-1, number), augment=False)
            losses.append(learner.task.losses(outputs, wanted).cpu())
            learner.task.update(metrics, outputs, wanted)
            predictions.append(learner.task.predictions(outputs).cpu())
            targets.append(wanted.cpu())
            index.append(batch.index.cpu())
    values = {"loss": float(torch.cat(losses).mean())}
    values |= {name: float(value) for name, value in metrics.compute().items()}
    return Answers(values, torch.cat(predictions), torch.cat(targets), torch.cat(index))
