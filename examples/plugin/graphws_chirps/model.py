"""``model: {kind: moments}``: a reader of the mean and deviation of every parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.errors import UsageError
from graphws.spec import HeadSection, ModelSection
from graphws.spec.section import Count

if TYPE_CHECKING:
    from torch import nn

    from graphws.graph import NetworkGraph


class MomentsModel(ModelSection):
    """Powers of every parameter, averaged: no relabelling of neurons changes them."""

    kind: Annotated[Literal["moments"], Field(description="Averaged powers of every parameter.")]
    powers: Annotated[Count, Field(description="The highest power.")] = 4

    def build(self, graph: NetworkGraph, head: HeadSection) -> nn.Module:
        """The moments, read by the head."""
        from graphws_chirps.moments import Moments

        if head.size() is None:
            raise UsageError(f"the model moments returns numbers, but the head {head.kind} is a network")
        return Moments(graph, self.powers, head.build)
