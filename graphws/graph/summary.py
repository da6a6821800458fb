"""A graph as plain rows: what ``graphws inspect`` prints."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache

from graphws.errors import GraphError
from graphws.graph.network import NetworkGraph
from graphws.graph.orbits import orbits
from graphws.graph.parameter import Axis, Parameter
from graphws.graph.space import Space

MOST_ENTRIES = 1 << 24
"""Entries among which orbits are counted."""


@dataclass(frozen=True)
class SpaceRow:
    """One space.

    Attributes:
        name: Of the space.
        kind: ``set``, ``free`` or ``nested``.
        size: Number of elements, for a child space of one parent's.
        extent: Length of an axis labelled by it.
        parent: Name of the parent, or nothing.
        action: What acts on it; nothing for a free space.
        factor: Its factor of the group, ``S_32`` or ``S_4 wr S_8``; nothing where it does not move.
        log10_order: log10 of the number of permutations that it adds.
        role: What layers that share their weights go by.
        reason: Why it is what it is.
    """

    name: str
    kind: str
    size: int
    extent: int
    parent: str
    action: str
    factor: str
    log10_order: float
    role: str
    reason: str


@dataclass(frozen=True)
class ParameterRow:
    """One parameter.

    Attributes:
        name: Of the parameter.
        axes: Its axes, as ``hidden1, input*``.
        shape: Length of each axis.
        numel: How many numbers.
        orbits: Into how many orbits the group divides them.
        kind: ``weight``, ``bias``…
        role: What layers that share their weights go by.
        key: Where it stands in the state dict, with its block where it has only a part of the tensor.
        aliases: Further keys of the same tensor.
    """

    name: str
    axes: str
    shape: tuple[int, ...]
    numel: int
    orbits: int
    kind: str
    role: str
    key: str
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """A graph in rows.

    Attributes:
        spaces: One row each.
        parameters: One row each.
        numel: How many numbers a network has.
        orbits: Into how many orbits the group divides them.
        factors: The factors of the group.
        log10_order: log10 of the number of permutations in it.
    """

    spaces: tuple[SpaceRow, ...]
    parameters: tuple[ParameterRow, ...]
    numel: int
    orbits: int
    factors: tuple[str, ...]
    log10_order: float


def summary_table(graph: NetworkGraph) -> Summary:
    """The rows of a graph."""
    factors = iter(graph.group().factors)
    spaces = tuple(_space_row(graph, space, next(factors) if space.moves else "") for space in graph.spaces)
    parameters = tuple(_parameter_row(graph, parameter) for parameter in graph.parameters)
    return Summary(
        spaces,
        parameters,
        graph.numel,
        sum(row.orbits for row in parameters),
        graph.group().factors,
        graph.log10_order(),
    )


def orbit_count(graph: NetworkGraph, parameter: str) -> int:
    """Number of orbits of G on the entries of a parameter, without visiting them.

    m indices into one set fall into orbits by which of them are equal; that needs no more than m elements of the set.
    So the orbits are counted on a graph whose sets are cut down to the number of their indices, and every free index
    multiplies the count by its length.

    Raises:
        GraphError: Where a parameter has so many axes on sets that even those would have more than 2^24 entries.
    """
    axes = tuple(Axis(axis.space, inner=axis.inner) for axis in graph.parameter(parameter).axes)
    chains = [space for axis in axes for space in graph.lineage(axis.space)[-1 if axis.inner else 0 :]]
    indices = Counter(space.name for space in chains)
    free = math.prod(space.size for space in chains if not space.moves)
    of_axes = {space.name: space for axis in axes for space in graph.lineage(axis.space)}  # parents first
    small = tuple(
        replace(space, size=min(space.size, max(1, indices[space.name])) if space.moves else 1, role="", reason="")
        for space in of_axes.values()
    )
    sizes = {space.name: space.size for space in small}
    if (entries := math.prod(sizes[space.name] for space in chains)) > MOST_ENTRIES:
        raise GraphError(f"parameter {parameter!r}: its orbits are too many to be counted ({entries:.0e} patterns)")
    return free * _patterns(small, axes)


@lru_cache(maxsize=4096)
def _patterns(spaces: tuple[Space, ...], axes: tuple[Axis, ...]) -> int:
    """Orbits on the entries of a tensor of few entries; graphs of one kind ask for the same ones again and again."""
    return int(orbits(NetworkGraph(spaces, (Parameter("W", axes),)), "W").max() + 1)


def _space_row(graph: NetworkGraph, space: Space, factor: str) -> SpaceRow:
    extent = graph.extent(space.name)
    order = math.lgamma(space.size + 1) * (extent // space.size) / math.log(10) if space.moves else 0.0
    return SpaceRow(
        space.name,
        space.kind,
        space.size,
        extent,
        space.parent or "",
        str(space.action) if space.moves else "",
        factor,
        order,
        space.role,
        space.reason,
    )


def _parameter_row(graph: NetworkGraph, parameter: Parameter) -> ParameterRow:
    storage, shape = parameter.storage, graph.shape(parameter.name)
    key = storage.key if storage else parameter.name
    if storage and storage.orders:
        key += " in another order"
    if storage and storage.view is not None:
        key += f" as {'x'.join(map(str, storage.view))}"
    if storage and storage.block is not None:
        key += f"[{', '.join(f'{start}:{stop}' for start, stop in storage.block)}]"
    return ParameterRow(
        parameter.name,
        ", ".join(map(str, parameter.axes)),
        shape,
        math.prod(shape),
        orbit_count(graph, parameter.name),
        parameter.kind,
        parameter.role,
        key,
        storage.aliases if storage else (),
    )
