"""Folding: every index that the group does not move becomes a channel.

A parameter of shape (batch, *axes) is folded to (batch, *index axes, channels).  An axis labelled by a nested space is
split into one index axis for each level of nesting (heads, then dimensions inside a head); an inner axis is one level,
whose parent belongs to another axis.  Free axes move to the end and become channels: W_1 of an MLP, (d_1, d_0), has one
index axis and d_0 channels; b_M has none and d_M channels.  With that, the special cases of paper D's tables 5 to 8
disappear: all that is left are sets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from graphws.graph.parameter import Parameter
from graphws.graph.space import Space
from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class IndexAxis(Shown):
    """One moving index of a folded parameter.

    Args:
        space: The space that it runs over.
        size: Its length: the space's size, without its parents'.
        parent: Position of the index axis of the parent space among the folded axes, or None.
    """

    space: str
    size: int
    parent: int | None = None


@dataclass(frozen=True, repr=False)
class Layout(Shown):
    """How one parameter is folded.

    Args:
        parameter: Its name.
        index: The moving index axes, in order.
        split: Length of each level of each axis, in the order stored.
        moving: For each level, whether it moves.
    """

    parameter: str
    index: tuple[IndexAxis, ...]
    split: tuple[int, ...]
    moving: tuple[bool, ...]

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Length of each index axis."""
        return tuple(axis.size for axis in self.index)

    @cached_property
    def free(self) -> int:
        """How many channels one number per entry folds to."""
        return math.prod(n for n, moves in zip(self.split, self.moving, strict=True) if not moves)

    @cached_property
    def _order(self) -> list[int]:
        levels = range(len(self.split))
        return [k for k in levels if self.moving[k]] + [k for k in levels if not self.moving[k]]

    @cached_property
    def _in_order(self) -> bool:
        """Whether free levels stand last already, so that folding moves nothing."""
        return self._order == sorted(self._order)

    def fold(self, tensor: Tensor, channels: int = 0) -> Tensor:
        """(batch, *axes) to (batch, *index axes, free); with ``channels``, (batch, *axes, channels) to
        (batch, *index axes, free * channels)."""
        tail = (channels,) if channels else ()
        if self._in_order:
            return tensor.reshape(tensor.shape[0], *self.sizes, self.free * max(channels, 1))
        levels = tensor.reshape(tensor.shape[0], *self.split, *tail)
        order = [0, *(k + 1 for k in self._order), *([levels.ndim - 1] if channels else [])]
        return levels.permute(order).reshape(tensor.shape[0], *self.sizes, self.free * max(channels, 1))

    def unfold(self, tensor: Tensor, shape: tuple[int, ...], channels: int = 0) -> Tensor:
        """The inverse of `fold`; ``shape`` is that of the parameter's own axes."""
        order = self._order
        tail = (channels,) if channels else ()
        levels = tensor.reshape(tensor.shape[0], *(self.split[k] for k in order), *tail)
        back = sorted(range(len(order)), key=order.__getitem__)
        levels = levels.permute([0, *(k + 1 for k in back), *([levels.ndim - 1] if channels else [])])
        return levels.reshape(tensor.shape[0], *shape, *tail)


def make_layout(parameter: Parameter, lineages: Sequence[Sequence[Space]], hosts: Sequence[int | None]) -> Layout:
    """The layout of one parameter.

    Args:
        parameter: The parameter.
        lineages: For each of its axes the space, after all the spaces that it is nested in.
        hosts: For each inner axis the axis that its parents are on; not read for any other.
    """
    index: list[IndexAxis] = []
    split: list[int] = []
    moving: list[bool] = []
    levels: list[dict[str, int]] = []
    for k, axis in enumerate(parameter.axes):
        above: int | None = None
        lineage = lineages[k]
        levels.append({})
        if axis.inner:
            host = hosts[k]
            assert host is not None
            above = levels[host][lineage[-2].name]
        for space in lineage[-1:] if axis.inner else lineage:
            split.append(space.size)
            moving.append(space.moves)
            if space.moves:
                index.append(IndexAxis(space.name, space.size, above))
                above = levels[-1][space.name] = len(index) - 1
    return Layout(parameter.name, tuple(index), tuple(split), tuple(moving))
