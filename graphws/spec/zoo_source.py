"""What ``zoo.source`` may be: whatever says which networks a zoo has."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from graphws.spec.section import Section

if TYPE_CHECKING:
    from graphws.graph import NetworkGraph
    from graphws.spec.zoo import ZooSection
    from graphws.zoo import Fitting


class ZooSource(Section):
    """What all sources of zoos share.

    Attributes:
        uses: The sections beside it that it reads, of ``network`` and ``fit``; the others have nothing to say and are
            refused.
    """

    uses: ClassVar[tuple[str, ...]] = ()

    kind: Annotated[str, Field(description="What the networks are fitted to.")]

    def zoo_columns(self) -> tuple[str, ...] | None:
        """Columns of the zoo's table; None where only the data tell."""
        return None

    def zoo_widths(self, zoo: ZooSection) -> tuple[int | None, ...] | None:
        """Neurons of every layer of the networks, None for what only the data tell; None where they are no MLPs."""
        return None

    def settle(self, content: dict[str, Any], zoo: ZooSection) -> None:
        """Writes in one way what a section says in several, in the content that a zoo's name is made of."""
        return

    @abstractmethod
    def zoo_graph(self, zoo: ZooSection) -> NetworkGraph:
        """The graph of the networks, made without fitting any.

        Raises:
            GraphwsError: When the data are missing or damaged.
        """

    @abstractmethod
    def fitting(self, zoo: ZooSection) -> Fitting:
        """What is fitted.

        Raises:
            GraphwsError: When the data are missing or damaged, or do not suffice.
        """
