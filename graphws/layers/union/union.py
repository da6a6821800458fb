"""The disjoint union of networks of different graphs, whose weights are shared by role.

Parameters of one role stand in one *stack*, whatever graph and network they belong to: rows are entries, columns the
folded channels.  What a layer does is then done once for a stack and not once for a graph:

* a tensor is summarised over *levels*: the entries of its blocks, their rows, their columns, the blocks themselves;
* at a *junction*, where shared products happen, stand the elements of all keys of all networks; each of its groups of
  rows takes rows of some level, each group of columns gives rows to one.

This module finds which rows those are, by arithmetic on block sizes; `graphws.layers.union.running` moves numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from graphws.graph import NetworkGraph
from graphws.layers.plan import Plan, PooledSlot, role
from graphws.layers.union.blocks import Blocks, strides
from graphws.layers.union.segments import Segments
from graphws.messages import Message

Kept = tuple[int, ...]
"""Numbers of blocks of equal axes, ascending."""


class StackName(NamedTuple):
    """What entries of a stack have in common.

    Attributes:
        role: Their role.
        alike: For each index axis the first one of the same space and parent, and the parent: axes that can coincide.
        free: Free channels.
    """

    role: str
    alike: tuple[tuple[int, int | None], ...]
    free: int

    @property
    def axes(self) -> int:
        """How many index axes they have."""
        return len(self.alike)


def stack_name(graph: NetworkGraph, parameter: str) -> StackName:
    """The stack that a parameter belongs to."""
    layout = graph.layout(parameter)
    spaces = [axis.space for axis in layout.index]
    alike = tuple((spaces.index(axis.space), axis.parent) for axis in layout.index)
    return StackName(role(graph, parameter), alike, layout.free)


class Member(NamedTuple):
    """Entries of a stack that belong to one parameter of one graph, in all its networks."""

    graph: int
    parameter: str
    first: int
    count: int


@dataclass(frozen=True, eq=False)
class Stack:
    """All entries of a role.

    Args:
        name: The name.
        blocks: Sizes of the index axes of each network's tensor.
        members: Whose blocks they are, in order.
        device: Where index tensors are wanted.
    """

    name: StackName
    blocks: Blocks
    members: tuple[Member, ...]
    device: torch.device
    _levels: dict[tuple[Kept, Kept], Blocks] = field(default_factory=dict)
    _segments: dict[tuple[Kept, Kept, Kept], Segments] = field(default_factory=dict)
    _diagonals: dict[Kept, Tensor] = field(default_factory=dict)

    def level(self, pattern: Kept, kept: Kept) -> Blocks:
        """The elements left where axes coincide as the pattern says and only some of its blocks are kept."""
        if (pattern, kept) not in self._levels:
            self._levels[pattern, kept] = self.blocks.keep([pattern.index(block) for block in kept])
        return self._levels[pattern, kept]

    def diagonal(self, pattern: Kept) -> Tensor:
        """The entries on which axes coincide as the pattern says, in the order of the level that keeps all blocks."""
        if pattern not in self._diagonals:
            level = self.level(pattern, tuple(sorted(set(pattern))))
            spread = torch.zeros_like(level.sizes)
            for axis, block in enumerate(pattern):
                spread[:, block] += self.blocks.strides[:, axis]
            self._diagonals[pattern] = self.blocks.places(level.block, level.digits, spread).to(self.device)
        return self._diagonals[pattern]

    def segments(self, pattern: Kept, fine: Kept, coarse: Kept) -> Segments:
        """The rows of one level as parts of the elements of a coarser one."""
        name = (pattern, fine, coarse)
        if name not in self._segments:
            below, above = self.level(pattern, fine), self.level(pattern, coarse)
            gone = [block for block in fine if block not in coarse]
            digits = [below.digits[fine.index(block)] for block in coarse]
            ids = above.places(below.block, digits, above.strides)
            counts = below.keep([fine.index(block) for block in gone]).counts[above.block]
            order = None
            if fine[: len(coarse)] != coarse:
                turned = self.level(pattern, (*coarse, *gone))
                back = torch.stack([below.strides[:, fine.index(block)] for block in (*coarse, *gone)], dim=1)
                order = below.places(turned.block, turned.digits, back)
            self._segments[name] = Segments(ids, order, counts).to(self.device)
        return self._segments[name]


class Source(NamedTuple):
    """What a group of rows of a junction reads: a level of a stack."""

    stack: StackName
    pattern: Kept
    kept: Kept
    pool: PooledSlot


@dataclass(frozen=True, eq=False)
class RowGroup:
    """A group of rows of a junction.

    Args:
        source: The level that it reads.
        rounds: Which of the level's elements each element of the junction reads; several where sources look alike and
            are averaged; None where they are the level's in order.  An element that reads none has -1.
        number: How many each element of the junction averages, (elements, 1); None where all read one.
    """

    source: Source
    rounds: tuple[Tensor | None, ...]
    number: Tensor | None


@dataclass(frozen=True, eq=False)
class ColumnGroup:
    """A group of columns of a junction.

    Args:
        stack: The stack that it reaches.
        pattern: On which pattern.
        kept: At which level.
        index: Which element of the junction each of the level's elements gets; -1: none; None: they are the same.
    """

    stack: StackName
    pattern: Kept
    kept: Kept
    index: Tensor | None


@dataclass(frozen=True, eq=False)
class Junction:
    """Where a shared product happens, for all networks at once.

    Args:
        matrix: Name of the matrix.
        elements: How many rows the product has.
        rows: For each group of rows of the whole matrix what it reads; None where these graphs have nothing to read.
        columns: For each group of columns whom it reaches; None likewise.
    """

    matrix: str
    elements: int
    rows: tuple[RowGroup | None, ...]
    columns: tuple[ColumnGroup | None, ...]


class Union:
    """Networks of several graphs.

    Args:
        graphs: Their graphs, as the layers see them.
        counts: How many networks of each.
        device: Where they are.

    Attributes:
        graphs: As given.
        counts: As given.
        stacks: By name.
    """

    def __init__(self, graphs: Sequence[NetworkGraph], counts: Sequence[int], device: torch.device) -> None:
        self.graphs, self.counts, self.device = tuple(graphs), tuple(counts), device
        members: dict[StackName, list[Member]] = {}
        sizes: dict[StackName, list[tuple[int, ...]]] = {}
        self._member: dict[tuple[int, str], tuple[StackName, Member]] = {}
        for number, (graph, count) in enumerate(zip(graphs, counts, strict=True)):
            for parameter in graph.parameters:
                name = stack_name(graph, parameter.name)
                mine = sizes.setdefault(name, [])
                member = Member(number, parameter.name, len(mine), count)
                mine.extend([graph.layout(parameter.name).sizes] * count)
                members.setdefault(name, []).append(member)
                self._member[number, parameter.name] = name, member
        self.stacks = {
            name: Stack(name, Blocks(_whole(found, name.axes)), tuple(members[name]), device)
            for name, found in sizes.items()
        }
        self._junctions: dict[tuple[Message, ...], tuple[Junction, ...]] = {}

    @property
    def networks(self) -> int:
        """How many there are."""
        return sum(self.counts)

    def member(self, graph: int, parameter: str) -> tuple[StackName, Member]:
        """Where a parameter's entries are."""
        return self._member[graph, parameter]

    def owners(self, stack: StackName) -> Tensor:
        """The network of each block, (blocks): networks are numbered graph by graph."""
        firsts = [sum(self.counts[:k]) for k in range(len(self.counts))]
        members = self.stacks[stack].members
        return torch.cat([torch.arange(firsts[m.graph], firsts[m.graph] + m.count) for m in members]).to(self.device)

    def junctions(
        self, messages: tuple[Message, ...], plans: Sequence[Plan], shapes: Mapping[str, tuple[int, int]]
    ) -> tuple[Junction, ...]:
        """Every junction of a layer on these networks, found once for all layers of a model.

        Args:
            messages: What the layer is made of: layers of equal messages share what is found.
            plans: The layer's plan on each graph.
            shapes: For each matrix its numbers of groups of rows and of columns.
        """
        if messages not in self._junctions:
            self._junctions[messages] = tuple(_junctions(self, plans, shapes))
        return self._junctions[messages]


def _whole(rows: Sequence[tuple[int, ...]], axes: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), axes)


@dataclass
class _Meeting:
    """A junction as it is found: key instances of all graphs and who meets there."""

    sizes: list[tuple[int, ...]] = field(default_factory=list)
    reads: dict[int, list[tuple[Source, tuple[int, ...], int, int, int, int]]] = field(default_factory=dict)
    writes: dict[int, list[tuple[StackName, Kept, tuple[int, ...], int, int, int]]] = field(default_factory=dict)


def _junctions(union: Union, plans: Sequence[Plan], shapes: Mapping[str, tuple[int, int]]) -> Iterator[Junction]:
    meetings: dict[str, _Meeting] = {}
    for number, (plan, count) in enumerate(zip(plans, union.counts, strict=True)):
        for product in plan.products:
            meeting = meetings.setdefault(product.matrix, _Meeting())
            first = len(meeting.sizes)
            slot = product.targets[0][0]
            layout = plan.graph.layout(slot.parameter)
            meeting.sizes.extend([tuple(layout.index[slot.pattern.index(block)].size for block in slot.kept)] * count)
            places = product.rows or range(len(product.sources))
            for place, sources in zip(places, product.sources, strict=True):
                for turn, source in enumerate(sources):
                    stack, member = union.member(number, source.slot.parameter)
                    kept = tuple(sorted(source.slot.kept))
                    reads = Source(stack, source.slot.pattern, kept, source)
                    entry = (reads, source.slot.kept, turn, first, member.first, count)
                    meeting.reads.setdefault(place, []).append(entry)
            places = product.columns or range(len(product.targets))
            for place, targets in zip(places, product.targets, strict=True):
                for target in targets:
                    stack, member = union.member(number, target.parameter)
                    found = (stack, target.pattern, target.kept, first, member.first, count)
                    meeting.writes.setdefault(place, []).append(found)
    for matrix, meeting in meetings.items():
        rows, columns = shapes[matrix]
        keys = Blocks(_whole(meeting.sizes, len(meeting.sizes[0])))
        yield Junction(
            matrix,
            keys.total,
            tuple(_row_group(union, keys, meeting.reads[k]) if k in meeting.reads else None for k in range(rows)),
            tuple(
                _column_group(union, keys, meeting.writes[k]) if k in meeting.writes else None for k in range(columns)
            ),
        )


def _row_group(
    union: Union, keys: Blocks, reads: Sequence[tuple[Source, tuple[int, ...], int, int, int, int]]
) -> RowGroup:
    source, order = reads[0][0], reads[0][1]
    level = union.stacks[source.stack].level(source.pattern, source.kept)
    turns = 1 + max(turn for _, _, turn, *_ in reads)
    chosen = torch.full((turns, len(keys.sizes)), -1)
    for _, _, turn, instance, block, count in reads:
        chosen[turn, instance : instance + count] = torch.arange(block, block + count)
    spread = level.strides[:, [source.kept.index(block) for block in order]]
    rounds = [_places(level, row, keys, spread) for row in chosen]
    number = (chosen >= 0).sum(0)
    averaged = turns > 1 and bool((number != 1).any())
    each = number.clamp(min=1)[keys.block].unsqueeze(1).to(union.device) if averaged else None
    same = turns == 1 and _counts_up(rounds[0], level.total)
    return RowGroup(source, (None,) if same else tuple(index.to(union.device) for index in rounds), each)


def _column_group(
    union: Union, keys: Blocks, writes: Sequence[tuple[StackName, Kept, tuple[int, ...], int, int, int]]
) -> ColumnGroup:
    stack, pattern, order = writes[0][:3]
    kept = tuple(sorted(order))
    level = union.stacks[stack].level(pattern, kept)
    chosen = torch.full((len(level.sizes),), -1)
    for *_, instance, block, count in writes:
        chosen[block : block + count] = torch.arange(instance, instance + count)
    spread = strides(keys.sizes)[:, [order.index(block) for block in kept]]
    index = _places(keys, chosen, level, spread)
    return ColumnGroup(stack, pattern, kept, None if _counts_up(index, keys.total) else index.to(union.device))


def _places(of: Blocks, chosen: Tensor, asking: Blocks, spread: Tensor) -> Tensor:
    """For each element that asks the number of the element that it is given; -1 where its block is given none.

    Args:
        of: What is given.
        chosen: The block that each asking block is given, (asking blocks), or -1.
        asking: What asks.
        spread: The strides of what is given that belong to the digits of what asks.
    """
    block = chosen[asking.block]
    if bool((chosen >= 0).all()):
        return of.places(block, asking.digits, spread)
    return torch.where(block >= 0, of.places(block.clamp(min=0), asking.digits, spread), block)


def _counts_up(index: Tensor, total: int) -> bool:
    return len(index) == total and torch.equal(index, torch.arange(total))
