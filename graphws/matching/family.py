"""Families of spaces: what has to be solved at once, and in which order.

A nested space moves with its parent, so a root space and everything nested in it form one unknown.  The order of
solving follows the evidence: a family comes next when most of the numbers that write it sit in parameters whose other
spaces are known already, which walks from the inputs to the outputs of any graph.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from graphws.graph import NetworkGraph, Parameter, Space


@dataclass(frozen=True)
class Family:
    """A root space and all that is nested in it, parents first.

    Args:
        root: Name of the root.
        spaces: Names of its spaces, the root first.
    """

    root: str
    spaces: tuple[str, ...]


def families(graph: NetworkGraph) -> tuple[Family, ...]:
    """The families whose root moves, in the graph's order."""
    found: dict[str, list[str]] = {}
    for space in graph.spaces:
        root = graph.lineage(space.name)[0]
        if root.moves:
            found.setdefault(root.name, []).append(space.name)
    return tuple(Family(root, tuple(names)) for root, names in found.items())


def children(graph: NetworkGraph, name: str) -> list[Space]:
    """The spaces nested directly in one."""
    return [space for space in graph.spaces if space.parent == name]


def solving_order(graph: NetworkGraph, known: Collection[str] | None = None) -> list[Family]:
    """All families, each after those that its incoming parameters read from, as far as that is possible.

    Args:
        graph: The graph.
        known: Spaces whose maps are given; where None, all that no permutation moves.
    """
    if known is None:
        solved = {space.name for space in graph.spaces if not graph.lineage(space.name)[0].moves}
    else:
        solved = set(known)
    waiting = [_Evidence(graph, family) for family in families(graph) if not set(family.spaces) <= solved]
    ordered = []
    while waiting:
        best = max(waiting, key=lambda evidence: evidence.shares(solved))  # the first of equals
        waiting.remove(best)
        ordered.append(best.family)
        solved |= set(best.family.spaces)
    return ordered


class _Evidence:
    """How much of what is known about a family could be used, given the spaces that are solved."""

    def __init__(self, graph: NetworkGraph, family: Family) -> None:
        self.family = family
        own = set(family.spaces)
        self.sides: list[list[tuple[int, frozenset[str]]]] = []  # numbers, and the other spaces that they need
        for writes in (True, False):
            found = []
            for parameter in graph.parameters:
                if any(axis.space in own and (axis.power >= 0) == writes for axis in parameter.axes):
                    others = frozenset(parameter.spaces) - own if _informs(parameter) else _NEVER
                    found.append((math.prod(graph.shape(parameter.name)), others))
            self.sides.append(found)

    def shares(self, known: set[str]) -> tuple[float, float]:
        """Share of the numbers that write the family in parameters whose other spaces are known; and that read it."""
        usable = [sum(numbers for numbers, others in side if others <= known) for side in self.sides]
        totals = [sum(numbers for numbers, _ in side) for side in self.sides]
        into, out = (part / total if total else 0.0 for part, total in zip(usable, totals, strict=True))
        return into, out


_NEVER = frozenset({""})
"""A space that is never known."""


def _informs(parameter: Parameter) -> bool:
    """A bias alone tells neurons apart only a little: it does not make a family ready."""
    return len(parameter.axes) > 1
