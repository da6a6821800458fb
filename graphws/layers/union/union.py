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
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from graphws.graph import NetworkGraph
from graphws.layers.plan import Plan, PooledSlot, Product, role
from graphws.layers.union.blocks import Blocks, strides
from graphws.layers.union.segments import Places, Segments
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


@lru_cache(4096)
def _stacked(graph: NetworkGraph) -> tuple[tuple[str, StackName, tuple[int, ...]], ...]:
    """For each parameter its name, its stack and the sizes of its index axes."""
    return tuple((p.name, stack_name(graph, p.name), graph.layout(p.name).sizes) for p in graph.parameters)


class Member(NamedTuple):
    """Entries of a stack that belong to one parameter of one graph, in all its networks."""

    graph: int
    parameter: str
    first: int
    networks: int


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
            are averaged; None where they are the level's in order.
        number: How many each element of the junction averages, (elements, 1); None where all read one.
    """

    source: Source
    rounds: tuple[Places | None, ...]
    number: Tensor | None


@dataclass(frozen=True, eq=False)
class ColumnGroup:
    """A group of columns of a junction.

    Args:
        stack: The stack that it reaches.
        pattern: On which pattern.
        kept: At which level.
        places: Which element of the junction each of the level's elements gets; None: they are the same.
    """

    stack: StackName
    pattern: Kept
    kept: Kept
    places: Places | None


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
        self._member: dict[tuple[int, str], Member] = {}
        for number, (graph, count) in enumerate(zip(graphs, counts, strict=True)):
            for parameter, name, extent in _stacked(graph):
                mine = sizes.setdefault(name, [])
                member = Member(number, parameter, len(mine), count)
                mine.extend([extent] * count)
                members.setdefault(name, []).append(member)
                self._member[number, parameter] = member
        self.stacks = {
            name: Stack(name, Blocks(_whole(found, name.axes)), tuple(members[name]), device)
            for name, found in sizes.items()
        }
        self._junctions: dict[tuple[Message, ...], tuple[Junction, ...]] = {}

    @property
    def networks(self) -> int:
        """How many there are."""
        return sum(self.counts)

    def member(self, graph: int, parameter: str) -> Member:
        """Where a parameter's entries are."""
        return self._member[graph, parameter]

    def owners(self, stack: StackName) -> Tensor:
        """The network of each block, (blocks): networks are numbered graph by graph."""
        firsts = [sum(self.counts[:k]) for k in range(len(self.counts))]
        members = self.stacks[stack].members
        return torch.tensor([firsts[m.graph] + k for m in members for k in range(m.networks)]).to(self.device)

    def junctions(
        self, messages: tuple[Message, ...], recipes: Sequence[Recipe], shapes: Mapping[str, tuple[int, int]]
    ) -> tuple[Junction, ...]:
        """Every junction of a layer on these networks, found once for all layers of a model.

        Args:
            messages: What the layer is made of: layers of equal messages share what is found.
            recipes: The layer's plan on each graph.
            shapes: For each matrix its numbers of groups of rows and of columns.
        """
        if messages not in self._junctions:
            self._junctions[messages] = tuple(_junctions(self, recipes, shapes))
        return self._junctions[messages]


def _whole(rows: Sequence[tuple[int, ...]], axes: int) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64).reshape(len(rows), axes)


class Read(NamedTuple):
    """A source of a product: the place of its rows, which of several alike it is, what it reads, in which order."""

    place: int
    turn: int
    source: Source
    order: tuple[int, ...]
    parameter: str


class Write(NamedTuple):
    """A target of a product: the place of its columns, and whom it reaches."""

    place: int
    stack: StackName
    pattern: Kept
    order: tuple[int, ...]
    parameter: str


class Meeting(NamedTuple):
    """A product of a graph, as a union reads it: its matrix, the sizes of its key, who meets there."""

    matrix: str
    sizes: tuple[int, ...]
    reads: tuple[Read, ...]
    writes: tuple[Write, ...]


Recipe = tuple[Meeting, ...]


def recipe(plan: Plan) -> Recipe:
    """A plan as a union reads it: all that does not depend on which networks meet in a batch."""
    stacks = {parameter: stack for parameter, stack, _ in _stacked(plan.graph)}
    return tuple(_meeting(plan, product, stacks) for product in plan.products)


def _meeting(plan: Plan, product: Product, stacks: Mapping[str, StackName]) -> Meeting:
    slot = product.targets[0][0]
    layout = plan.graph.layout(slot.parameter)
    reads = tuple(
        Read(
            place,
            turn,
            Source(stacks[found.slot.parameter], found.slot.pattern, tuple(sorted(found.slot.kept)), found),
            found.slot.kept,
            found.slot.parameter,
        )
        for place, row in zip(product.rows or range(len(product.sources)), product.sources, strict=True)
        for turn, found in enumerate(row)
    )
    writes = tuple(
        Write(place, stacks[target.parameter], target.pattern, target.kept, target.parameter)
        for place, column in zip(product.columns or range(len(product.targets)), product.targets, strict=True)
        for target in column
    )
    sizes = tuple(layout.index[slot.pattern.index(block)].size for block in slot.kept)
    return Meeting(product.matrix, sizes, reads, writes)


@dataclass
class _Gathering:
    """A junction as it is found: keys of all networks, and for each place who meets there, from which block on.

    Elements of a key are numbered with its spaces in the order `turned`, that in which the first target has them: where
    it is alone, its entries are then the key's elements as they stand.
    """

    turned: tuple[int, ...]
    sizes: list[tuple[int, ...]] = field(default_factory=list)
    reads: dict[int, list[tuple[Read, int, Member]]] = field(default_factory=dict)
    writes: dict[int, list[tuple[Write, int, Member]]] = field(default_factory=dict)


def _junctions(union: Union, recipes: Sequence[Recipe], shapes: Mapping[str, tuple[int, int]]) -> Iterator[Junction]:
    meetings: dict[str, _Gathering] = {}
    for number, (steps, count) in enumerate(zip(recipes, union.counts, strict=True)):
        for step in steps:
            if step.matrix not in meetings:
                order = step.writes[0].order
                meetings[step.matrix] = _Gathering(tuple(sorted(range(len(order)), key=order.__getitem__)))
            found = meetings[step.matrix]
            first = len(found.sizes)
            found.sizes.extend([tuple(step.sizes[k] for k in found.turned)] * count)
            for read in step.reads:
                found.reads.setdefault(read.place, []).append((read, first, union.member(number, read.parameter)))
            for write in step.writes:
                found.writes.setdefault(write.place, []).append((write, first, union.member(number, write.parameter)))
    for matrix, meeting in meetings.items():
        rows, columns = shapes[matrix]
        keys = Blocks(_whole(meeting.sizes, len(meeting.sizes[0])))
        yield Junction(
            matrix,
            keys.total,
            tuple(
                _row_group(union, keys, meeting.turned, meeting.reads[k]) if k in meeting.reads else None
                for k in range(rows)
            ),
            tuple(
                _column_group(union, keys, meeting.turned, meeting.writes[k]) if k in meeting.writes else None
                for k in range(columns)
            ),
        )


def _row_group(
    union: Union, keys: Blocks, turned: Sequence[int], reads: Sequence[tuple[Read, int, Member]]
) -> RowGroup:
    source, order = reads[0][0].source, [reads[0][0].order[k] for k in turned]
    level = union.stacks[source.stack].level(source.pattern, source.kept)
    turns = 1 + max(read.turn for read, _, _ in reads)
    lists = [[-1] * len(keys.sizes) for _ in range(turns)]
    for read, instance, member in reads:
        lists[read.turn][instance : instance + member.networks] = range(member.first, member.first + member.networks)
    chosen = torch.tensor(lists)
    spread = level.strides[:, [source.kept.index(block) for block in order]]
    rounds = [_places(level, row, keys, spread) for row in chosen]
    number = (chosen >= 0).sum(0)
    averaged = turns > 1 and bool((number != 1).any())
    each = number.clamp(min=1)[keys.block].unsqueeze(1).to(union.device) if averaged else None
    same = turns == 1 and _counts_up(rounds[0], level.total)
    return RowGroup(
        source, (None,) if same else tuple(Places(index, level.total).to(union.device) for index in rounds), each
    )


def _column_group(
    union: Union, keys: Blocks, turned: Sequence[int], writes: Sequence[tuple[Write, int, Member]]
) -> ColumnGroup:
    _, stack, pattern, given_order, _ = writes[0][0]
    order = [given_order[k] for k in turned]
    kept = tuple(sorted(order))
    level = union.stacks[stack].level(pattern, kept)
    given = [-1] * len(level.sizes)
    for _, instance, member in writes:
        given[member.first : member.first + member.networks] = range(instance, instance + member.networks)
    spread = strides(keys.sizes)[:, [order.index(block) for block in kept]]
    index = _places(keys, torch.tensor(given), level, spread)
    same = _counts_up(index, keys.total)
    return ColumnGroup(stack, pattern, kept, None if same else Places(index, keys.total).to(union.device))


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
