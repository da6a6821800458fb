"""Networks from networks, judged by their weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec.heads import HeadSection
from graphws.spec.preparation import Augment
from graphws.spec.section import Count
from graphws.spec.tasks.section import TaskSection
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from graphws.tasks import Task, TaskData


class WeightsTask(TaskSection):
    """Networks from networks."""

    answers_networks = True
    takes_noise = True
    judged_by_noise = True
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

    def question(self) -> str:
        """What the noise hid."""
        return "What was a network before noise came upon it?"

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
