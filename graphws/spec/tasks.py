"""``task``: what is asked of the model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, Tag

from graphws.errors import UsageError
from graphws.spec.heads import HeadSection
from graphws.spec.kinds import Kinds
from graphws.spec.preparation import Augment
from graphws.spec.section import ONE_OR_LIST, Count, Section, Text
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation, duplicates

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


class ClassificationTask(TaskSection):
    """Which class a network belongs to; cross entropy, accuracy."""

    classes = True
    kind: Annotated[Literal["classification"], Field(description="Name the class of a network.")]
    target: Annotated[Text, Field(description="Column of the zoo's table that holds the class.")] = "label"

    def columns(self) -> tuple[str, ...]:
        """The class."""
        return (self.target,)

    def head_violations(self, head: HeadSection, at: Path) -> Iterator[Violation]:
        """An output for each of two classes or more."""
        size = head.size()
        if size is not None and size < 2:
            here = (*at, "outputs")
            what = f"{dotted(here)} is {size}, but a classification needs an output for each class, 2 or more"
            yield Violation(here, what)

    def build(self, head: HeadSection, augment: Augment, data: TaskData) -> Task:
        """Cross entropy over the outputs of the head."""
        from graphws.tasks import Classification, class_targets

        size = head.size()
        if size is None:
            raise UsageError(f"a classification needs a head with an output for each class, got {head.kind!r}")
        class_targets(data.targets, size, self.target)
        return Classification(size)


class RegressionTask(TaskSection):
    """One or several properties of a network; mean squared error."""

    kind: Annotated[Literal["regression"], Field(description="Predict properties of a network.")]
    target: Annotated[
        Annotated[Text, Tag("one")] | Annotated[tuple[Text, ...], Field(min_length=1), Tag("list")],
        ONE_OR_LIST,
        Field(description="Column of the zoo's table that holds the property, or a list of columns."),
    ]
    metric: Annotated[
        Literal["mse", "mae", "r2", "kendall"],
        Field(description="By which models are chosen and compared; kendall is Kendall's rank correlation, τ-b."),
    ] = "mse"

    def columns(self) -> tuple[str, ...]:
        """The columns, also where the spec names only one."""
        return self.target if isinstance(self.target, tuple) else (self.target,)

    def violations(self, at: Path) -> Iterator[Violation]:
        """Every column once."""
        for position, name in duplicates(self.columns()):
            yield Violation((*at, "target", position), f"{dotted((*at, 'target'))} names {name!r} twice")

    def head_violations(self, head: HeadSection, at: Path) -> Iterator[Violation]:
        """An output for each column."""
        size = head.size()
        if size is not None and size != len(self.columns()):
            here = (*at, "outputs")
            yield Violation(here, f"{dotted(here)} is {size}, but task.target names {len(self.columns())}")

    def build(self, head: HeadSection, augment: Augment, data: TaskData) -> Task:
        """Squared error of the targets, standardised over the training networks."""
        from graphws.tasks import Regression

        return Regression.of(data.targets[data.training], self.columns(), self.metric)


class WeightsTask(TaskSection):
    """Networks from networks."""

    answers_networks = True
    takes_noise = True
    kind: Annotated[Literal["weights"], Field(description="Return a network for a network.")]
    target: Annotated[
        Literal["denoise"],
        Field(description="What the returned network is: denoise gives back the one without `augment.noise`."),
    ] = "denoise"
    points: Annotated[
        Count,
        Field(description="Where the head returns several networks: points at which their mean output is compared with "
              "the clean network's, a grid (k·k) for networks with 2 inputs, else seeded draws."),
    ] = 64  # fmt: skip

    def augment_violations(self, augment: Augment, at: Path) -> Iterator[Violation]:
        """There is noise to remove."""
        if augment.noise == 0 and augment.dropout == 0:
            what = f"{dotted((*at, 'target'))} is denoise, but augment.noise and augment.dropout are 0"
            yield Violation(at, f"{what}: nothing to remove")

    def build(self, head: HeadSection, augment: Augment, data: TaskData) -> Task:
        """Squared error of the cleaned weights; of several networks, of the mean of their outputs."""
        from graphws.tasks import Denoising, FunctionDenoising

        if head.answers == 1:
            return Denoising(data.deviation, augment.noise, augment.dropout)
        assert data.graph is not None
        assert data.restore is not None
        return FunctionDenoising(
            data.deviation, augment.noise, augment.dropout, data.graph, data.restore, head.answers, self.points
        )


TASKS = Kinds("graphws.tasks", TaskSection, ClassificationTask, RegressionTask, WeightsTask)
