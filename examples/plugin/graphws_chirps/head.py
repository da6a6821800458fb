"""``head: {kind: bounded}``: numbers between -1 and 1, times a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec import HeadSection
from graphws.spec.section import Count, Positive

if TYPE_CHECKING:
    from torch import nn


class BoundedHead(HeadSection):
    """A linear map and a tanh."""

    kind: Annotated[Literal["bounded"], Field(description="Numbers within a bound.")]
    outputs: Annotated[Count, Field(description="How many numbers the model returns.")] = 1
    bound: Annotated[Positive, Field(description="No answer is larger.")] = 3.0

    def size(self) -> int:
        """The outputs."""
        return self.outputs

    def build(self, width: int) -> nn.Module:
        """The map from invariants to bounded numbers."""
        from torch import nn

        from graphws_chirps.bounded import Bounded

        return nn.Sequential(nn.Linear(width, self.outputs), Bounded(self.bound))
