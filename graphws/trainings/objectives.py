"""What a network of an experiment is trained for: returning its picture, or naming the picture's class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn import functional


class Objective(ABC):
    """The loss ℓ of paper I's equation 22, and how the group acts on what the network answers.

    Attributes:
        metric: The name of the number that says how well the network does.
        output_action: ``same``: outputs move as inputs do; ``invariant``: they stay.
    """

    metric: ClassVar[str]
    output_action: ClassVar[Literal["same", "invariant"]]

    @abstractmethod
    def outputs(self, inputs: int, classes: int) -> int:
        """How many numbers the network answers with."""

    @abstractmethod
    def loss(self, outputs: Tensor, crops: Tensor, labels: Tensor) -> Tensor:
        """ℓ(f(x), y), the mean over the batch."""

    @abstractmethod
    def score(self, outputs: Tensor, crops: Tensor, labels: Tensor) -> Tensor:
        """The metric; higher is better."""

    @abstractmethod
    def sentence(self, score: float) -> str:
        """The metric on the test pictures in words."""


class Autoencoder(Objective):
    """Return the picture: mean squared error, and the share of the pixels' variance that is returned."""

    metric = "r2"
    output_action = "same"

    def outputs(self, inputs: int, classes: int) -> int:
        """A number for every pixel."""
        return inputs

    def loss(self, outputs: Tensor, crops: Tensor, labels: Tensor) -> Tensor:
        """Mean squared error."""
        return functional.mse_loss(outputs, crops.flatten(1))

    def score(self, outputs: Tensor, crops: Tensor, labels: Tensor) -> Tensor:
        """R²."""
        return 1 - (outputs - crops.flatten(1)).square().mean() / crops.var()

    def sentence(self, score: float) -> str:
        """R² in words."""
        return f"The autoencoder returns {100 * score:.1f} % of the test pictures' variance."


class Classifier(Objective):
    """Name the class: cross entropy and accuracy."""

    metric = "accuracy"
    output_action = "invariant"

    def outputs(self, inputs: int, classes: int) -> int:
        """A score for every class."""
        return classes

    def loss(self, outputs: Tensor, crops: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy."""
        return functional.cross_entropy(outputs, labels)

    def score(self, outputs: Tensor, crops: Tensor, labels: Tensor) -> Tensor:
        """Accuracy."""
        return (outputs.argmax(1) == labels).float().mean()

    def sentence(self, score: float) -> str:
        """Accuracy in words."""
        return f"The classifier names {100 * score:.1f} % of the test pictures right."


OBJECTIVES: dict[str, Objective] = {"autoencoder": Autoencoder(), "classifier": Classifier()}
"""By the name that `experiment.task` gives."""
