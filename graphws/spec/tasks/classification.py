"""Which class a network belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.errors import UsageError
from graphws.spec.heads import HeadSection
from graphws.spec.preparation import Augment
from graphws.spec.section import Text
from graphws.spec.tasks.section import TaskSection, in_words
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from graphws.tasks import Task, TaskData


class ClassificationTask(TaskSection):
    """Which class a network belongs to; cross entropy, accuracy."""

    classes = True
    kind: Annotated[Literal["classification"], Field(description="Name the class of a network.")]
    target: Annotated[Text, Field(description="Column of the zoo's table that holds the class.")] = "label"

    def question(self) -> str:
        """Which class."""
        return f"Which {in_words((self.target,))} does a network have?"

    def columns(self) -> tuple[str, ...]:
        """The class."""
        return (self.target,)

    def metrics(self) -> tuple[str, ...]:
        """Accuracy."""
        return ("accuracy",)

    def head_violations(self, head: HeadSection, at: Path) -> Iterator[Violation]:
        """An output for each of two classes or more."""
        size = head.size()
        if size is not None and size < 2:
            here = (*at, "outputs")
            what = f"{dotted(here)} is {size}, but a classification needs an output for each class, 2 or more"
            yield Violation(here, what)

    def build(self, head: HeadSection, augment: Augment, data: TaskData) -> Task:
        """Cross entropy over the outputs of the head."""
        from graphws.tasks import Classification, class_targets, several_classes

        size = head.size()
        if size is None:
            raise UsageError(f"a classification needs a head with an output for each class, got {head.kind!r}")
        class_targets(data.targets, size, self.target)
        several_classes(data.targets[data.training], self.target)
        return Classification(size)
