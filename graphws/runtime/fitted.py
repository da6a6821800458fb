"""Models that fit themselves: grown once on the training networks, where others take epochs.

A model asks for it by a method ``fit(weights, targets)``, as `graphws.models.BoostedTrees` has it.  What it learns lies
in its buffers, so that the model file holds it; the trial's files are those of a training of one epoch.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from graphws.graph import Mixed, change_each
from graphws.runtime.batches import Networks
from graphws.runtime.callbacks import BestModel
from graphws.runtime.evaluation import evaluate
from graphws.runtime.files import write_csv
from graphws.runtime.learner import Learner


@runtime_checkable
class SelfFitting(Protocol):
    """A model that is fitted once."""

    def fit(self, weights: Mixed, targets: Tensor) -> None:
        """Learns from all training networks.

        Args:
            weights: The networks, or a list of those of each graph, scaled as the model asks for.
            targets: What the model should answer (`Task.wanted`), in the order of the networks.
        """


def fit_once(
    learner: Learner, training: Networks, validation: Networks, best: BestModel, history: Path, write: bool
) -> float:
    """Fits the learner's model and keeps it as the best one, of epoch 1.

    Args:
        learner: With a model that is `SelfFitting`; what it does to training batches alone is left out.
        training: Networks to learn from.
        validation: Networks that the metrics are of.
        best: Takes the model and its metrics.
        history: Table with one row.
        write: Whether files are written; in other processes than the first they are not.

    Returns:
        The seconds that it took.
    """
    since = time.perf_counter()
    model = learner.model
    assert isinstance(model, nn.Module)
    assert isinstance(model, SelfFitting)
    weights, index = training.collection.draw(training.members)
    if learner.normalise is not None:
        weights = change_each(weights, learner.normalise)
    targets = training.targets[index.to(training.targets.device)]
    weights, targets = learner.task.prepare(weights, targets, learner.generator(-1))
    model.fit(weights, learner.task.wanted(targets))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = evaluate(learner, validation, device).metrics
    loss = evaluate(learner, training, device).metrics["loss"]
    values = {f"val_{name}": value for name, value in found.items()}
    seconds = time.perf_counter() - since
    best.epoch, best.values = 1, values
    best.model = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if write:
        row = {"epoch": 1, "train_loss": loss, **dict(sorted(values.items())), "seconds": seconds}
        write_csv(history, list(row), [row])
        best.write()
    return seconds
