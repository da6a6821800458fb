"""Running a layer with shared weights on a union: once for each junction, however many graphs there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from graphws.layers.union.features import UnionFeatures
from graphws.layers.union.junctions import ColumnGroup, Junction, RowGroup, Source
from graphws.layers.union.segments import assemble
from graphws.layers.union.summaries import UnionSummaries
from graphws.layers.union.union import Kept, Stack, StackName


class UnionAssembly:
    """Collects what one stack receives.

    Args:
        stack: The stack.
        channels: Its folded channels.
    """

    def __init__(self, stack: Stack, channels: int) -> None:
        self.stack, self.channels = stack, channels
        self.parts: dict[tuple[int, ...], dict[Kept, Tensor]] = {}
        self.constants: dict[tuple[int, ...], Tensor] = {}

    def add(self, pattern: tuple[int, ...], kept: Kept, value: Tensor) -> None:
        """A contribution (elements, channels) at a level."""
        parts = self.parts.setdefault(pattern, {})
        parts[kept] = parts[kept] + value if kept in parts else value

    def add_constant(self, pattern: tuple[int, ...], value: Tensor) -> None:
        """A contribution (channels) to all entries on a pattern."""
        self.constants[pattern] = self.constants[pattern] + value if pattern in self.constants else value

    def result(self, like: Tensor) -> Tensor:
        """The sum of all contributions, (entries, channels); zeros of the kind of `like` where there are none."""
        plain = tuple(range(self.stack.name.axes))
        found = self._spread(plain)
        whole = like.new_zeros(1, self.channels) if found is None else found
        whole = whole.expand(self.stack.blocks.total, self.channels)
        for pattern in {**self.parts, **self.constants}:
            if pattern != plain:
                value = self._spread(pattern)
                assert value is not None
                index = self.stack.diagonal(pattern)
                whole = whole.index_add(0, index, value.expand(len(index), self.channels))
        return whole

    def _spread(self, pattern: tuple[int, ...]) -> Tensor | None:
        """All contributions on a pattern, spread to all its entries; coarse ones on finer ones where they can be."""
        hosted = dict(sorted(self.parts.get(pattern, {}).items(), key=lambda item: len(item[0])))
        constant = self.constants.get(pattern)
        if not hosted:
            return None if constant is None else constant.unsqueeze(0)
        if constant is not None:
            first = next(iter(hosted))
            hosted[first] = hosted[first] + constant
        whole = tuple(sorted(set(pattern)))
        for kept in list(hosted):
            hosts = [other for other in hosted if set(kept) < set(other) and other != whole]
            if hosts:
                host = min(hosts, key=lambda other: self.stack.level(pattern, other).total)
                hosted[host] = assemble(hosted[host], [(self.stack.segments(pattern, host, kept), hosted.pop(kept))])
        base = hosted.pop(whole, None)
        if not hosted:
            return base
        return assemble(base, [(self.stack.segments(pattern, whole, kept), x) for kept, x in hosted.items()])


def run_union(
    features: UnionFeatures,
    junctions: Sequence[Junction],
    matrices: nn.ParameterDict,
    sizes: Mapping[str, tuple[Sequence[int], Sequence[int]]],
    learned: Callable[[Source], nn.Module | None],
    assemblies: Mapping[StackName, UnionAssembly],
) -> None:
    """Every product, once.

    Args:
        features: What comes in.
        junctions: Where products happen.
        matrices: The whole matrix of each.
        sizes: For each matrix the channels of its groups of rows and of columns.
        learned: Gives the module of a learned pooling.
        assemblies: What receives the results.
    """
    summaries = UnionSummaries(features)
    for junction in junctions:
        rows, columns = sizes[junction.matrix]
        matrix = _part(matrices[junction.matrix], 0, rows, junction.rows)
        matrix = _part(matrix, 1, columns, junction.columns)
        groups = [group for group in junction.rows if group is not None]
        parts = [_read(group, summaries.get(group.source, learned(group.source))) for group in groups]
        stacked = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        targets = [(group, width) for group, width in zip(junction.columns, columns, strict=True) if group is not None]
        received = (stacked @ matrix).split([width for _, width in targets], dim=1)
        for (group, _), value in zip(targets, received, strict=True):
            assemblies[group.stack].add(
                group.pattern, group.kept, value if group.places is None else group.places.take(value)
            )


def _part(matrix: Tensor, axis: int, sizes: Sequence[int], groups: Sequence[RowGroup | ColumnGroup | None]) -> Tensor:
    """The rows or columns of a matrix that these networks have a use for."""
    if all(group is not None for group in groups):
        return matrix
    parts = matrix.split(list(sizes), dim=axis)
    return torch.cat([part for part, group in zip(parts, groups, strict=True) if group is not None], dim=axis)


def _read(group: RowGroup, level: Tensor) -> Tensor:
    """What each element of a junction reads: a row of a level, or the mean of several."""
    values = [level if places is None else places.take(level) for places in group.rounds]
    total = values[0] if len(values) == 1 else torch.stack(values).sum(0)
    return total if group.number is None else total / group.number.to(total.dtype)
