"""Networks from networks, judged by what they compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec.heads import HeadSection
from graphws.spec.preparation import Augment
from graphws.spec.tasks.section import TaskSection
from graphws.spec.tasks.targets import TARGETS, TargetSection
from graphws.spec.tree import Path
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from graphws.tasks import Task, TaskData


class FunctionalTask(TaskSection):
    """Networks v - Δv that are run, Δv being what the head returns (paper D, section 7)."""

    answers_networks = True
    kind: Annotated[
        Literal["functional"], Field(description="Return a change of a network; the changed network is run and judged.")
    ]
    target: Annotated[TargetSection, TARGETS, Field(description="What the changed network should compute.")]

    def question(self) -> str:
        """What a change of the weights can do."""
        return "Can a change of its weights make a network compute what is wanted?"

    def columns(self) -> tuple[str, ...]:
        """Those that the target reads."""
        return self.target.columns()

    def metrics(self) -> tuple[str, ...] | None:
        """Those of the target."""
        return self.target.metrics()

    def network_violations(self, widths: Sequence[int | None] | None, at: Path) -> Iterator[Violation]:
        """What the target says."""
        yield from self.target.network_violations(widths, (*at, "target"))

    def ready(self) -> None:
        """What the target needs."""
        self.target.ready()

    def build(self, head: HeadSection, augment: Augment, data: TaskData) -> Task:
        """The loss of what the target asks for."""
        return self.target.build(head.answers, data)
