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
    waiting = [family for family in families(graph) if not set(family.spaces) <= solved]
    ordered = []
    while waiting:
        best = max(waiting, key=lambda family: _evidence(graph, family, solved))  # the first of equals
        waiting.remove(best)
        ordered.append(best)
        solved |= set(best.spaces)
    return ordered


def _evidence(graph: NetworkGraph, family: Family, known: set[str]) -> tuple[float, float]:
    """Share of the numbers that write the family in parameters whose other spaces are known; the same for readers."""
    shares = []
    for writes in (True, False):
        usable, total = 0, 0
        for parameter in graph.parameters:
            if any(axis.space in family.spaces and (axis.power >= 0) == writes for axis in parameter.axes):
                numbers = math.prod(graph.shape(parameter.name))
                total += numbers
                usable += numbers if _others_known(parameter, family, known) and _informs(parameter) else 0
        shares.append(usable / total if total else 0.0)
    return shares[0], shares[1]


def _others_known(parameter: Parameter, family: Family, known: set[str]) -> bool:
    return all(name in known or name in family.spaces for name in parameter.spaces)


def _informs(parameter: Parameter) -> bool:
    """A bias alone tells neurons apart only a little: it does not make a family ready."""
    return len(parameter.axes) > 1
