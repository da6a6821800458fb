"""Evaluation: what a trained model answers for each network, and how good the answers are."""

from __future__ import annotations

import torch

from graphws.errors import DataError
from graphws.runtime.batches import Networks, batches
from graphws.runtime.environment import Processes
from graphws.runtime.learner import Learner
from graphws.tasks import Answers


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
            losses.append(learner.task.judge(metrics, outputs, wanted).cpu())
            predictions.append(learner.task.predictions(outputs).cpu())
            targets.append(wanted.cpu())
            index.append(batch.index.cpu())
    values = {"loss": float(torch.cat(losses).mean())}
    values |= {name: float(value) for name, value in metrics.compute().items()}
    return Answers(values, torch.cat(predictions), torch.cat(targets), torch.cat(index))
