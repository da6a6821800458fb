"""Where the spaces of a graph stand in its picture.

Columns follow the data: a space stands one column right of the spaces before it that its parameters read.  Parents
stand beside their children, spaces that only widen other edges (the taps of a kernel) below the flow.  More columns
than fit into a row wind to and fro.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphws.graph import NetworkGraph, Parameter

COLUMN, LANE, ROW = 2.3, 2.1, 3.0
"""Inches between neighbours in a row, spaces of one column, and rows."""
LONGEST_ROW = 8

Point = tuple[float, float]


@dataclass(frozen=True)
class Disc:
    """Where a space is drawn."""

    at: Point
    radius: float
    row: int


def radius_of(extent: int) -> float:
    """0.22 for one element, 0.45 for a hundred, at most 0.7."""
    return min(0.7, 0.22 + 0.115 * math.log10(extent))


def kernel_spaces(graph: NetworkGraph) -> list[str]:
    """Free spaces that only widen other edges (the taps of a kernel): they stand below the flow."""
    users: dict[str, list[Parameter]] = {space.name: [] for space in graph.spaces}
    for parameter in graph.parameters:
        for name in dict.fromkeys(parameter.spaces):
            users[name].append(parameter)
    return [
        space.name
        for space in graph.spaces
        if space.kind == "free"
        and space.parent is None
        and users[space.name]
        and all(
            len(p.axes) > 2 and any(a.power >= 0 and a.space != space.name for a in p.axes) for p in users[space.name]
        )
        and not any(axis.power < 0 for p in users[space.name] for axis in p.axes if axis.space == space.name)
    ]


def columns_of(graph: NetworkGraph) -> dict[str, float]:
    """The column of each space: one right of the spaces before it that its parameters read; parents beside children."""
    order = {space.name: k for k, space in enumerate(graph.spaces)}
    root = {space.name: graph.lineage(space.name)[0].name for space in graph.spaces}
    columns: dict[str, float] = {}
    for space in graph.spaces:
        family = {name for name in order if root[name] == root[space.name]}
        read = {
            root[axis.space]
            for parameter in graph.parameters
            if any(axis.power >= 0 and axis.space in family for axis in parameter.axes)
            for axis in parameter.axes
            if axis.power < 0 and order[axis.space] < order[root[space.name]]
        }
        columns[space.name] = max((math.floor(columns[name]) + 1 for name in read), default=0)
    deepest = {
        name: max(len(graph.lineage(other)) for other in order if space in graph.lineage(other))
        for name, space in ((space.name, space) for space in graph.spaces)
    }
    for name in order:
        columns[name] += 1 - 0.5 ** (deepest[name] - len(graph.lineage(name)))
    return columns


def place(graph: NetworkGraph) -> dict[str, Disc]:
    """Every space in its column; columns in rows that wind to and fro; kernel spaces below."""
    kernel = kernel_spaces(graph)
    columns = {name: column for name, column in columns_of(graph).items() if name not in kernel}
    used = sorted(set(columns.values()))
    rows = math.ceil(len(used) / LONGEST_ROW) if len(used) > LONGEST_ROW + 3 else 1
    longest = max(1, math.ceil(len(used) / rows))
    members = [[name for name in columns if columns[name] == column] for column in used]
    discs: dict[str, Disc] = {}
    y = 0.0
    for row in range(rows):
        inside = members[row * longest : (row + 1) * longest]
        tallest = max((len(names) for names in inside), default=1)
        centre = y - (tallest - 1) * LANE / 2
        for position, names in enumerate(inside):
            x = (position if row % 2 == 0 else longest - 1 - position) * COLUMN
            for k, name in enumerate(names):
                at = (x, centre + ((len(names) - 1) / 2 - k) * LANE)
                discs[name] = Disc(at, radius_of(graph.extent(name)), row)
        y -= (tallest - 1) * LANE + ROW
    middle = (min(len(used), longest) - 1) * COLUMN / 2
    for k, name in enumerate(kernel):
        at = (middle + (k - (len(kernel) - 1) / 2) * COLUMN, y + ROW - LANE)
        discs[name] = Disc(at, radius_of(graph.extent(name)), rows)
    return discs
