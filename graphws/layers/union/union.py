"""The disjoint union of networks of different graphs, whose weights are shared by role.

Parameters of one role stand in one *stack*, whatever graph and network they belong to: rows are entries, columns the
folded channels.  What a layer does is then done once for a stack and not once for a graph.  A stack is summarised over
*levels*: the entries of its blocks, their rows, their columns, the blocks themselves.

Which rows those are is found by arithmetic on block sizes; `graphws.layers.union.junctions` says where stacks meet, and
`graphws.layers.union.running` moves numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from graphws.graph import NetworkGraph
from graphws.layers.plan import role
from graphws.layers.union.blocks import Blocks, whole_numbers
from graphws.layers.union.segments import Segments

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
def stacked(graph: NetworkGraph) -> tuple[tuple[str, StackName, tuple[int, ...]], ...]:
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
        found: What layers have found of these networks, for those that follow.
    """

    def __init__(self, graphs: Sequence[NetworkGraph], counts: Sequence[int], device: torch.device) -> None:
        self.graphs, self.counts, self.device = tuple(graphs), tuple(counts), device
        members: dict[StackName, list[Member]] = {}
        sizes: dict[StackName, list[tuple[int, ...]]] = {}
        self._member: dict[tuple[int, str], Member] = {}
        for number, (graph, count) in enumerate(zip(graphs, counts, strict=True)):
            for parameter, name, extent in stacked(graph):
                mine = sizes.setdefault(name, [])
                member = Member(number, parameter, len(mine), count)
                mine.extend([extent] * count)
                members.setdefault(name, []).append(member)
                self._member[number, parameter] = member
        self.stacks = {
            name: Stack(name, Blocks(whole_numbers(found, name.axes)), tuple(members[name]), device)
            for name, found in sizes.items()
        }
        self.found: dict[Any, Any] = {}

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
