"""``input: {kind: siren}``: the graph of a sine network, to explain models without data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec import InputSection, ZooSection
from graphws.spec.section import Count, Positive

if TYPE_CHECKING:
    from graphws.graph import NetworkGraph


class SirenInput(InputSection):
    """A network of sines from two coordinates to one value."""

    kind: Annotated[Literal["siren"], Field(description="A network of sines from two coordinates to one value.")]
    width: Annotated[Count, Field(description="Neurons of each of its two hidden layers.")] = 32
    omega: Annotated[Positive, Field(description="Frequency of the sines.")] = 30.0

    def known_widths(self, zoo: ZooSection | None) -> tuple[int, ...]:
        """Two hidden layers."""
        return (2, self.width, self.width, 1)

    def build(self, zoo: ZooSection | None) -> NetworkGraph:
        """The graph."""
        from graphws.operations import mlp_graph

        return mlp_graph(self.known_widths(zoo), activation="sine", omega=self.omega)
