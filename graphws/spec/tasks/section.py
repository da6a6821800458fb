"""What all tasks share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from graphws.spec.heads import HeadSection
from graphws.spec.models import ModelSection
from graphws.spec.preparation import Augment
from graphws.spec.section import Section
from graphws.spec.tree import Path
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from torch import nn

    from graphws.tasks import Task, TaskData


def in_words(columns: Sequence[str]) -> str:
    """Columns of a table as a sentence has them.

    >>> in_words(["test_accuracy"]), in_words(["a", "b", "c"])
    ('test accuracy', 'a, b and c')
    """
    *others, last = (column.replace("_", " ") for column in columns)
    return f"{', '.join(others)} and {last}" if others else last


class TaskSection(Section):
    """What all tasks share.

    Attributes:
        answers_networks: Whether the answer is a network, which needs a head that returns one.
        classes: Whether the target is a class index, a whole number.
        takes_noise: Whether the noise of ``augment`` is the task's, to be taken off again or to make views.
        takes_aligned: Whether networks may come in another order than they are stored in.
        judged_by_noise: Whether answers are judged by that noise, so that all models must see the same.
    """

    answers_networks: ClassVar[bool] = False
    classes: ClassVar[bool] = False
    takes_noise: ClassVar[bool] = False
    judged_by_noise: ClassVar[bool] = False
    takes_aligned: ClassVar[bool] = True

    kind: Annotated[str, Field(description="What is asked of the model.")]

    def question(self) -> str:
        """What is asked of a network, for the head of a page."""
        return f"What do the weights of a network say: {self.kind}?"

    def columns(self) -> tuple[str, ...]:
        """The columns of the zoo's table that are learnt; none where the networks themselves are."""
        return ()

    def metrics(self) -> tuple[str, ...] | None:
        """Names of what is measured of every model; None where only the built task tells."""
        return None

    def head_violations(self, head: HeadSection, at: Path) -> Iterator[Violation]:
        """What of the head, which stands at `at`, does not fit the task; by default nothing."""
        yield from ()

    def augment_violations(self, augment: Augment, at: Path) -> Iterator[Violation]:
        """What the section ``augment`` lacks for the task, which stands at `at`; by default nothing."""
        yield from ()

    def model_violations(self, model: ModelSection, at: Path) -> Iterator[Violation]:
        """Why a model, which stands at `at`, cannot learn the task; by default nothing."""
        yield from ()

    def completed(self, model: nn.Module, head: HeadSection) -> nn.Module:
        """A model as it is trained and kept: with what the task adds to it; by default nothing.

        Args:
            model: With fresh parameters.
            head: Of the model.
        """
        return model

    def network_violations(self, widths: Sequence[int | None] | None, at: Path) -> Iterator[Violation]:
        """Why networks of these widths, as far as the spec tells, do not fit the task, which stands at `at`.

        By default nothing.
        """
        yield from ()

    def ready(self) -> None:
        """Reads what the task needs beside the zoo, before there is one; by default nothing.

        Raises:
            DataError: Where it is missing or damaged.
        """

    @abstractmethod
    def build(self, head: HeadSection, augment: Augment, data: TaskData) -> Task:
        """The task on its data.

        Args:
            head: Of the model.
            augment: What the spec does to training networks.
            data: The targets, and what noise is measured by.

        Raises:
            DataError: On targets that cannot be learnt.
        """
