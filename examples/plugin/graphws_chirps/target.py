"""``task.target: {kind: louder}`` of functional tasks: networks whose waves have another amplitude."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec import TargetSection
from graphws.spec.section import Count, Positive

if TYPE_CHECKING:
    from graphws.tasks import Task, TaskData


class LouderTarget(TargetSection):
    """Networks that compute a multiple of what the given ones compute."""

    kind: Annotated[Literal["louder"], Field(description="Networks that compute a multiple.")]
    factor: Annotated[Positive, Field(description="How many times as much.")] = 2.0
    points: Annotated[Count, Field(description="Points at which outputs are compared.")] = 64

    def build(self, networks: int, data: TaskData) -> Task:
        """Squared error of the outputs."""
        from graphws_chirps.louder import Louder

        assert data.graph is not None
        assert data.restore is not None
        return Louder(data.deviation, data.graph, data.restore, networks, self.factor, self.points)
