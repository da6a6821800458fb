"""``task.target.change: {kind: invert}``: dark for bright."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec import EditSection
from graphws.spec.section import Number

if TYPE_CHECKING:
    from torch import Tensor


class InvertEdit(EditSection):
    """Dark for bright."""

    kind: Annotated[Literal["invert"], Field(description="Every pixel is subtracted from the white.")]
    white: Annotated[Number, Field(description="What a black pixel becomes.")] = 1.0

    def build(self) -> Callable[[Tensor], Tensor]:
        """A map that needs no table."""
        return lambda pictures: self.white - pictures
