"""Abstract tensors: for each axis a *leg*, the dim that it runs over as this tensor carries it.

Two tensors that share a dim are permuted together.  Whether they are also *scaled* together is another question (the
rows of a weight follow a neuron's scale, the columns of the next weight its inverse), so every tensor has legs of its
own, and a `Relation` says what an operation demands of their powers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from graphws_converters.algebra.choices import Choice, Told
from graphws_converters.algebra.dims import Dim
from graphws_converters.algebra.orders import Order

Scope = Literal["both", "scale", "sign"]


@dataclass(eq=False, slots=True)
class Leg:
    """One axis of one tensor.

    Attributes:
        dim: What it runs over.
    """

    dim: Dim

    @property
    def size(self) -> int:
        """Length of the axis."""
        return self.dim.size


@dataclass(frozen=True, eq=False, slots=True)
class Relation:
    """A demand on powers: the sum of coefficient x power is zero, leaf by leaf.

    Attributes:
        terms: Coefficients, each with legs whose leaves, one after the other, are those of every other term.
        scope: Whether positive scales must obey it, signs, or both.
        linear: Whether it holds in every basis of the space, so that invertible matrices may act too.
        order: Of two single legs: element k of the second is element ``order[k]`` of the first; aligned where None.
    """

    terms: tuple[tuple[int, tuple[Leg, ...]], ...]
    scope: Scope = "both"
    linear: bool = False
    order: Order | None = None


@dataclass(eq=False, slots=True)
class Abstract:
    """What is known about one tensor.

    Attributes:
        legs: One for each axis.
        index: The dim that its integer values count through, where they are indices.
        uniform: Whether all its entries are equal.
        zero: Whether they are all 0, so that scaling them changes nothing.
        constant: Its numbers, where the network does not change them.
        weight: Whether it is a parameter, or a view of one.
        choice: Which index it is, where its values are indices.
        told: Along which axes indices tell the element of a host that is no axis.
        copies: Legs along which its entries are known to be copies of one; not handed on to other tensors.
    """

    legs: tuple[Leg, ...]
    index: Dim | None = None
    uniform: bool = False
    zero: bool = False
    constant: Tensor | None = None
    weight: bool = False
    choice: Choice | None = None
    told: tuple[Told, ...] = ()
    copies: tuple[Leg, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""
        return tuple(leg.size for leg in self.legs)

    @property
    def dims(self) -> list[Dim]:
        """The dim of each axis."""
        return [leg.dim for leg in self.legs]

    def replace(self, legs: Sequence[Leg]) -> Abstract:
        """The same entries in another arrangement."""
        return Abstract(tuple(legs), self.index, self.uniform, self.zero, weight=self.weight)


@dataclass(eq=False, slots=True)
class Stacked:
    """Tensors along an axis that is only ever taken apart again: ``view(..., 3, h, d)``, then one of the three.

    Kept apart, q, k and v get atoms of their own; `Engine.plain` makes one tensor of it, and unifies them.

    Attributes:
        axis: Where the axis stands.
        parts: The tensors.
    """

    axis: int
    parts: list[Abstract] = field(default_factory=list)
