"""``task.target.change``: what is done to the picture that a network draws."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec.kinds import Kinds
from graphws.spec.section import Count, Number, Section
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from torch import Tensor


class EditSection(Section):
    """What all edits share."""

    kind: Annotated[str, Field(description="What is done to the picture.")]

    @abstractmethod
    def build(self) -> Callable[[Tensor], Tensor]:
        """The map from pictures (batch, channels, rows, columns) to edited ones."""


class _Neighbourhood(EditSection):
    """Edits that look at the square around a pixel."""

    size: Annotated[Count, Field(ge=3, description="Side of the square around a pixel that is looked at; odd.")] = 3

    def violations(self, at: Path) -> Iterator[Violation]:
        """The square has a middle."""
        if self.size % 2 == 0:
            here = (*at, "size")
            yield Violation(here, f"{dotted(here)} is {self.size}, but a square with a pixel in its middle is odd")


class DilateEdit(_Neighbourhood):
    """Grey dilation: bright parts grow."""

    kind: Annotated[Literal["dilate"], Field(description="Every pixel becomes the largest around it.")]

    def build(self) -> Callable[[Tensor], Tensor]:
        """`graphws.tasks.editing.dilated`."""
        from graphws.tasks.editing import dilated

        return lambda pictures: dilated(pictures, self.size)


class ErodeEdit(_Neighbourhood):
    """Grey erosion: bright parts shrink."""

    kind: Annotated[Literal["erode"], Field(description="Every pixel becomes the smallest around it.")]

    def build(self) -> Callable[[Tensor], Tensor]:
        """`graphws.tasks.editing.eroded`."""
        from graphws.tasks.editing import eroded

        return lambda pictures: eroded(pictures, self.size)


class SmoothEdit(_Neighbourhood):
    """The mean of the neighbourhood."""

    kind: Annotated[Literal["smooth"], Field(description="Every pixel becomes the mean around it.")]

    def build(self) -> Callable[[Tensor], Tensor]:
        """`graphws.tasks.editing.smoothed`."""
        from graphws.tasks.editing import smoothed

        return lambda pictures: smoothed(pictures, self.size)


class ContrastEdit(EditSection):
    """More or less contrast."""

    kind: Annotated[Literal["contrast"], Field(description="The distance from the picture's mean is multiplied.")]
    factor: Annotated[Number, Field(description="By how much; 1 changes nothing, 0 leaves the mean.")] = 2.0

    def build(self) -> Callable[[Tensor], Tensor]:
        """`graphws.tasks.editing.contrasted`."""
        from graphws.tasks.editing import contrasted

        return lambda pictures: contrasted(pictures, self.factor)


EDITS = Kinds("graphws.edits", EditSection, DilateEdit, ErodeEdit, SmoothEdit, ContrastEdit)
