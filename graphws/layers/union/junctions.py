"""Junctions: where the stacks of a union meet in the products of a layer.

At a *junction*, where a shared product happens, stand the elements of all keys of all networks.  Each of its groups of
rows takes rows of some level of a stack; each group of columns gives rows to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from graphws.layers.plan import Plan, PooledSlot, Product
from graphws.layers.union.blocks import Blocks, strides, whole_numbers
from graphws.layers.union.segments import Places
from graphws.layers.union.union import Kept, Member, StackName, Union, stacked
from graphws.messages import Message


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
    stacks = {parameter: stack for parameter, stack, _ in stacked(plan.graph)}
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


def junctions_of(
    union: Union, messages: tuple[Message, ...], recipes: Sequence[Recipe], shapes: Mapping[str, tuple[int, int]]
) -> tuple[Junction, ...]:
    """Every junction of a layer on the networks of a union, found once for all layers of a model.

    Args:
        union: The networks.
        messages: What the layer is made of: layers of equal messages share what is found.
        recipes: The layer's plan on each graph.
        shapes: For each matrix its numbers of groups of rows and of columns.
    """
    if messages not in union.found:
        union.found[messages] = tuple(_junctions(union, recipes, shapes))
    found: tuple[Junction, ...] = union.found[messages]
    return found


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
        keys = Blocks(whole_numbers(meeting.sizes, len(meeting.sizes[0])))
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
