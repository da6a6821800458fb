"""Which class a network belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from graphws.errors import DataError
from graphws.report import answered_pictures, confusion_matrix
from graphws.tasks.answers import Answers
from graphws.tasks.task import Figures, Metric, Task, Trivial
from graphws.zoo import Zoo
from graphws.zoo.reconstruction import drawn, draws_pictures

SHOWN = 36
"""How many test networks are shown as the pictures that they draw."""


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

    def answer(self, outputs: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
        """The probability of each class."""
        return outputs.float().softmax(dim=-1)

    def columns(self, outputs: Tensor, classes: Sequence[str] | None, probabilities: bool) -> dict[str, list[Any]]:
        """The class, its name where it is known and, if asked for, the probability of every class."""
        numbers = self.predictions(outputs).tolist()
        names = [f"class_{k}" for k in range(self.classes)] if classes is None else list(classes)
        found: dict[str, list[Any]] = {"class": numbers}
        if classes is not None:
            found["name"] = [names[number] for number in numbers]
        if probabilities:
            shares = self.answer(outputs).T.tolist()
            found |= {f"probability of {name}": column for name, column in zip(names, shares, strict=True)}
        return found

    def trivial(self, training: Int64[Tensor, " training"], test: Int64[Tensor, " test"]) -> Trivial:
        """The commonest class of the training networks."""
        commonest = training.bincount(minlength=self.classes).argmax()
        return Trivial("always naming the commonest class", float((test == commonest).double().mean()))

    def figures(self, answers: Mapping[str, Answers], zoo: Zoo) -> Figures:
        """The confusion matrix of the run's own model; networks of pictures under its answers."""
        own, found = next(iter(answers.items()))
        matrix = confusion_matrix(found.targets.numpy(), found.predictions.numpy(), self.classes, f"{own}, test split")
        figures = {"confusion": (f"What {own} takes each class for.", matrix)}
        if draws_pictures(zoo):
            caption = f"What {own} read: test networks as the pictures that they draw, under its answer for each."
            figures["networks"] = (caption, _networks(zoo, found))
        return figures


def _networks(zoo: Zoo, answers: Answers) -> Figure:
    """Some test networks, evenly spread, as the pictures that they draw."""
    chosen = torch.linspace(0, len(answers.index) - 1, min(SHOWN, len(answers.index))).long()
    pictures = drawn(zoo, zoo.weights(answers.index[chosen]))
    targets, predictions = answers.targets[chosen].numpy(), answers.predictions[chosen].numpy()
    return answered_pictures(pictures, targets, predictions, zoo.provenance["signal"]["classes"])


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


def several_classes(values: Int64[Tensor, " training"], name: str) -> None:
    """Labels of the training networks that can be told apart.

    Raises:
        DataError: Where they are all the same.
    """
    if len(values) and bool((values == values[0]).all()):
        raise DataError(f"the label {name!r} is {int(values[0])} for every training network: nothing to learn")
