"""``head``: what the model returns."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec.kinds import Kinds
from graphws.spec.section import Count, Probability, Section
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from torch import nn


class HeadSection(Section):
    """What all heads share."""

    kind: Annotated[str, Field(description="What the model returns.")]

    @abstractmethod
    def size(self) -> int | None:
        """How many numbers the model returns; None: a network like the one that it read."""

    @property
    def answers(self) -> int:
        """How many networks the model returns for one, where it returns networks."""
        return 1

    @abstractmethod
    def build(self, width: int) -> nn.Module:
        """The module (batch, width) -> answer that reads `width` invariant numbers of a network.

        It is not asked for where `size` is None: then the layers of the model return the answer.
        """


class InvariantHead(HeadSection):
    """Numbers that do not change when neurons are relabelled: classes, properties."""

    kind: Annotated[Literal["invariant"], Field(description="Numbers that a relabelling of neurons leaves alone.")]
    outputs: Annotated[Count, Field(description="How many numbers the model returns.")]
    hidden: Annotated[
        tuple[Count, ...], Field(description="Widths of hidden layers between the invariants and the outputs.")
    ] = ()
    dropout: Annotated[Probability, Field(description="Fraction of invariants dropped in training.")] = 0.0

    def size(self) -> int:
        """The outputs."""
        return self.outputs

    def build(self, width: int) -> nn.Module:
        """A multilayer perceptron."""
        from graphws.models import perceptron

        return perceptron(width, self.outputs, self.hidden, self.dropout)


class EquivariantHead(HeadSection):
    """Weights of the same architecture, relabelled together with the input."""

    kind: Annotated[Literal["equivariant"], Field(description="Weights of the same architecture as the input.")]
    channels: Annotated[Count, Field(description="Channels of every weight that is returned.")] = 1
    networks: Annotated[
        Count,
        Field(description="Networks that are returned for one; of several, the mean of their outputs is the answer."),
    ] = 1

    @property
    def answers(self) -> int:
        """The networks."""
        return self.networks

    def violations(self, at: Path) -> Iterator[Violation]:
        """A network has one channel a weight."""
        if self.channels != 1:
            here = (*at, "channels")
            yield Violation(here, f"{dotted(here)} is {self.channels}, but a network has 1 channel a weight")

    def size(self) -> None:
        """A network."""
        return

    def build(self, width: int) -> nn.Module:
        """Nothing: the layers return the network."""
        from torch import nn

        return nn.Identity()


HEADS = Kinds("graphws.heads", HeadSection, InvariantHead, EquivariantHead)
