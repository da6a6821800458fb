"""Properties of a network as real numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Tag

from graphws.spec.heads import HeadSection
from graphws.spec.preparation import Augment
from graphws.spec.section import ONE_OR_LIST, Text
from graphws.spec.tasks.section import TaskSection, in_words
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation, duplicates

if TYPE_CHECKING:
    from graphws.tasks import Task, TaskData


METRICS = ("mse", "mae", "r2", "kendall")


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

    def question(self) -> str:
        """Which properties."""
        return f"Which {in_words(self.columns())} does a network have?"

    def columns(self) -> tuple[str, ...]:
        """The columns, also where the spec names only one."""
        return self.target if isinstance(self.target, tuple) else (self.target,)

    def metrics(self) -> tuple[str, ...]:
        """Those by which models can be chosen."""
        return METRICS

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
