"""What all tasks share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from graphws.spec.heads import HeadSection
from graphws.spec.preparation import Augment
from graphws.spec.section import Section
from graphws.spec.tree import Path
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from graphws.tasks import Task, TaskData


class TaskSection(Section):
    """What all tasks share.

    Attributes:
        answers_networks: Whether the answer is a network, which needs a head that returns one.
        classes: Whether the target is a class index, a whole number.
        takes_noise: Whether the noise of ``augment`` is the task's, to be taken off again.
    """

    answers_networks: ClassVar[bool] = False
    classes: ClassVar[bool] = False
    takes_noise: ClassVar[bool] = False

    kind: Annotated[str, Field(description="What is asked of the model.")]

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
