"""What all tasks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from matplotlib.figure import Figure
from torch import Tensor
from torchmetrics import MetricCollection

from graphws.graph import Mixed, NetworkGraph, Weights
from graphws.shown import Shown
from graphws.tasks.answers import Answers
from graphws.zoo import Zoo
from graphws.zoo.augmentations import Spread

Figures = dict[str, tuple[str, Figure]]
"""By name: the caption and the figure."""


@dataclass(frozen=True, repr=False)
class Metric(Shown):
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


@dataclass(frozen=True, repr=False)
class Trivial(Shown):
    """How good an answer is that looks at no network, beside which every model is read.

    Attributes:
        answer: What it says, in words.
        value: Its score on the test split, by the metric that ranks models.
    """

    answer: str
    value: float


@dataclass(frozen=True, eq=False, repr=False)
class TaskData(Shown):
    """What a task may look at when it is made.

    Attributes:
        targets: One row a network of the data, in the units of the table.
        training: Which networks are for training.
        deviation: Of every flat weight as the model sees it: what noise is measured by; empty where the answers are no
            networks.
        graph: Of the networks, where they are the answer.
        restore: From networks as the model sees them to networks that can be run.
        measure: Mean and deviation of every weight of networks of any graph, as the model sees them.
    """

    targets: Tensor
    training: Int64[Tensor, " training"]
    deviation: Float[Tensor, " weights"]
    graph: NetworkGraph | None = None
    restore: Callable[[Weights], Weights] | None = None
    measure: Spread | None = None


class Task(ABC):
    """What is to be read from the weights."""

    chosen_by: Metric

    def check(self, targets: Tensor) -> None:
        """Looks, before any training, at what else must fit the networks and their targets; by default nothing.

        Args:
            targets: One row a network of the data, in the units of the table.

        Raises:
            DataError: Where something does not.
        """
        return

    def prepare(self, weights: Mixed, targets: Tensor, generator: torch.Generator) -> tuple[Mixed, Tensor]:
        """What the model sees and what it should answer; `generator` lives on the device of the weights."""
        return weights, targets

    def prepare_training(self, weights: Mixed, targets: Tensor, generator: torch.Generator) -> tuple[Mixed, Tensor]:
        """`prepare` for a batch that is learnt from; the same, unless a task says otherwise."""
        return self.prepare(weights, targets, generator)

    def apply(self, model: Callable[[Mixed], Any], weights: Mixed) -> Tensor:
        """The model's outputs as one tensor, a row a network."""
        outputs: Tensor = model(weights)
        return outputs

    def ask(
        self, model: Any, weights: Mixed, targets: Tensor, generator: torch.Generator, training: bool
    ) -> tuple[Tensor, Tensor]:
        """A model's outputs for a batch, as losses and metrics take them, and what they should be.

        Args:
            model: As a section of a spec completes it (`graphws.spec.TaskSection.completed`).
            weights: Networks as the model sees them.
            targets: One row a network.
            generator: Lives on the device of the weights.
            training: Whether the model learns from the batch; else it is judged.
        """
        prepare = self.prepare_training if training else self.prepare
        weights, targets = prepare(weights, targets, generator)
        return self.apply(model, weights), targets

    def settle(self, model: Any, networks: Iterator[tuple[Mixed, Tensor]]) -> None:
        """Finish a model before it is judged; nothing by default, and then no network is drawn.

        Args:
            model: In evaluation; its buffers may be changed.
            networks: The training networks as the model sees them, unchanged, and their targets, batch by batch; of
                several processes each has some, and all settle together.
        """
        return

    def wanted(self, targets: Tensor) -> Tensor:
        """The outputs that a model should give for these targets: numbers, or whole numbers that name classes."""
        return targets

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, " batch"]:
        """One loss a network."""

    def joint_losses(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, " batch"]:
        """One loss a network in a batch that several processes share, which all ask at the same point.

        Only a loss that compares networks with each other differs from `losses`.
        """
        return self.losses(outputs, targets)

    @abstractmethod
    def predictions(self, outputs: Tensor) -> Tensor:
        """Outputs in the units of the target."""

    @abstractmethod
    def metrics(self, together: bool = True) -> MetricCollection:
        """Fresh accumulators of the validation metrics; `together`: they add up over all processes."""

    def update(self, metrics: MetricCollection, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch to the accumulators."""
        metrics.update(self.predictions(outputs), targets)

    def judge(
        self, metrics: MetricCollection, outputs: Tensor, targets: Tensor, together: bool = False
    ) -> Float[Tensor, " batch"]:
        """The losses of a batch that is not learnt from, which is added to the accumulators.

        A task whose losses and metrics come of the same work does it once here.

        Args:
            metrics: Of `metrics`.
            outputs: Of the model.
            targets: What they should be.
            together: Whether all processes ask at the same point (`joint_losses`).
        """
        self.update(metrics, outputs, targets)
        return self.joint_losses(outputs, targets) if together else self.losses(outputs, targets)

    def answer(self, outputs: Tensor) -> Tensor:
        """Outputs as an exported model gives them: the predictions, in the units of the target."""
        return self.predictions(outputs)

    def returned(self, outputs: Tensor, seen: Weights, restore: Callable[[Weights], Weights]) -> Weights:
        """The networks that outputs stand for, where the answers are networks; those for one next to each other.

        Args:
            outputs: Of the model, a row a network; unless a task says otherwise flat networks as the model sees them.
            seen: The networks that it was asked about.
            restore: From networks as the model sees them to networks as they are stored.
        """
        return restore(Weights.unflatten(seen.graph, outputs.reshape(-1, seen.graph.numel)))

    def columns(self, outputs: Tensor, classes: Sequence[str] | None, probabilities: bool) -> dict[str, list[Any]]:
        """Outputs as columns of a table, one row a network, in the units of the target.

        Args:
            outputs: Of the model.
            classes: Names of the classes, where the target is one and they are known.
            probabilities: Whether to give the probability of every class, where the target is one.
        """
        found = self.predictions(outputs)
        columns = found.reshape(len(found), -1).T.tolist()
        return {"prediction" if not k else f"prediction_{k}": column for k, column in enumerate(columns)}

    def trivial(self, training: Tensor, test: Tensor) -> Trivial | None:
        """The best answer that is the same for every network; None where the task knows none.

        Args:
            training: The targets of the training networks.
            test: Those of the test networks.
        """
        return None

    def figures(self, answers: Mapping[str, Answers], zoo: Zoo) -> Figures:
        """What a report shows of the answers for the test split, beside the scores; nothing unless a task says so.

        Args:
            answers: Of each model by its name, the run's own first.
            zoo: Where the networks are from.
        """
        return {}
