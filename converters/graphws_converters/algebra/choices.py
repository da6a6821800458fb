"""Choices: which element of a host an entry belongs to, where the host is no axis of the tensor any more.

``up[which]`` takes a table (experts, neurons) to (tokens, neurons): the experts are gone as an axis, and yet each row
holds the neurons of one expert, told by the index that chose it.  So a neuron may still be permuted in each expert on
its own, as long as the index goes along: whatever meets the row has to be chosen by the same index, place by place.

The axes of an index get *places*, dims of their own that nothing else refers to, so that two tensors are known to be
chosen alike exactly where the same places run along the same axes, whatever views lie between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphws_converters.algebra.dims import Dim, leaves, resolve
from graphws_converters.algebra.unify import regroup


@dataclass(frozen=True, eq=False, slots=True)
class Choice:
    """An index, as the axes of one tensor follow it.

    Attributes:
        by: What tells it from other indices.
        places: For each axis of the tensor its part of the index; None where the index is constant along it.
    """

    by: object
    places: tuple[Dim | None, ...]

    @classmethod
    def of(cls, shape: Sequence[int]) -> Choice:
        """A new index of this shape, which follows no other."""
        return cls(object(), tuple(Dim(size) if size > 1 else None for size in shape))

    def same(self, other: Choice) -> bool:
        """Whether both choose the same element at every place."""
        return self.by is other.by and [_parts(p) for p in self.places] == [_parts(p) for p in other.places]

    def arranged(self, axes: Sequence[int | None]) -> Choice | None:
        """The same index along other axes; None where one that it varies along is gone, or occurs twice.

        Args:
            axes: For each new axis the old one; None where there was none.
        """
        kept = [axis for axis in axes if axis is not None and self.places[axis] is not None]
        if sorted(kept) != [axis for axis, place in enumerate(self.places) if place is not None]:
            return None
        return Choice(self.by, tuple(None if axis is None else self.places[axis] for axis in axes))

    def reshaped(self, groups: Sequence[tuple[list[int], list[int]]], shape: Sequence[int]) -> Choice | None:
        """The same index after a reshape; None where an axis that it varies along is merged with one that it does not.

        Args:
            groups: Old and new axes that hold the same entries, as `primitives.arranging.groups` gives them.
            shape: The new sizes.
        """
        made: list[Dim | None] = [None] * len(shape)
        for before, after in groups:
            found = [place for place in (self.places[axis] for axis in before) if place is not None]
            if not found:
                continue
            dims = regroup(found, [shape[axis] for axis in after])
            if dims is None:
                return None
            for axis, dim in zip(after, dims, strict=True):
                made[axis] = dim if dim.size > 1 else None
        return Choice(self.by, tuple(made))


def _parts(place: Dim | None) -> list[int]:
    return [] if place is None else [id(leaf) for leaf in leaves(place)]


@dataclass(frozen=True, eq=False, slots=True)
class Told:
    """Along one axis, the element of a host is told by an index.

    Attributes:
        axis: The axis whose atoms may depend on the host.
        host: What the index counts through.
        choice: The index.
    """

    axis: int
    host: Dim
    choice: Choice

    def same(self, other: Told) -> bool:
        """Whether both say the same of one axis."""
        return self.axis == other.axis and resolve(self.host) is resolve(other.host) and self.choice.same(other.choice)

    def arranged(self, axes: Sequence[int | None], steady: Sequence[int | None]) -> list[Told] | None:
        """What it says along new axes; None where the index is lost.

        Args:
            axes: For each new axis the old one; None where there was none.
            steady: The same, but None too where entries have changed their places along the axis.
        """
        choice = self.choice.arranged(steady)
        return None if choice is None else [Told(n, self.host, choice) for n, axis in enumerate(axes)
                                            if axis == self.axis]  # fmt: skip
