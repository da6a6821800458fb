"""``task: {kind: median}``: the median of a property, by the absolute error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec import Augment, HeadSection, TaskSection
from graphws.spec.section import Text

if TYPE_CHECKING:
    from graphws.tasks import Task, TaskData


class MedianTask(TaskSection):
    """A property of a network, with an error that outliers move little."""

    kind: Annotated[Literal["median"], Field(description="Predict the median of a property of a network.")]
    target: Annotated[Text, Field(description="Column of the zoo's table that holds the property.")]

    def columns(self) -> tuple[str, ...]:
        """The property."""
        return (self.target,)

    def build(self, head: HeadSection, augment: Augment, data: TaskData) -> Task:
        """The absolute error in units of the training targets' deviation."""
        from graphws_chirps.median import Median

        targets = data.targets[data.training]
        return Median(targets.median(dim=0).values, targets.std(dim=0))
