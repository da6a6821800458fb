"""Which maps lead from each parameter to each other: one rule for all of paper D's tables 5 to 8, as published.

Parameters are folded (`graphws.graph.Layout`), so that all that is left of their axes are sets.  For a source U and a
target T, with the sets that both have:

* none in common: U is pooled over all its sets, mapped, and copied along those of T;
* one: U is pooled over all its other sets, a *set layer* maps what is left, element by element and with all elements
  in view, and the result is copied along T's other sets;
* several: U is pooled over what T lacks; then there is a linear map for each choice of the common sets, of U pooled to
  that choice, and the results are averaged.  A nested set is chosen with its parents only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from graphws.errors import UsageError
from graphws.graph import Layout, NetworkGraph
from graphws.layers.pattern import Slot
from graphws.layers.plan import PooledSlot, sharing
from graphws.messages import block_families


@dataclass(frozen=True)
class PairMap:
    """The maps from one parameter to another.

    Args:
        source: The parameter that is read.
        target: The parameter that is written.
        shared: The moving spaces that label both.
        reads: For each map what it reads, coarse keys first.
        writes: For each map where it writes.
    """

    source: str
    target: str
    shared: tuple[str, ...]
    reads: tuple[PooledSlot, ...]
    writes: tuple[Slot, ...]

    @property
    def name(self) -> str:
        """Source and target, for readers."""
        return f"{self.source} -> {self.target}"


def pairs_of(graph: NetworkGraph, blocks: Mapping[str, str] | None = None, pool: str = "max") -> tuple[PairMap, ...]:
    """Every ordered pair that is on, target by target.

    Args:
        graph: The graph.
        blocks: For each family ``full``, ``diagonal`` or ``none``; see `graphws.messages.block_families`.  Diagonal
            keeps pairs that share a set, and, of a parameter without sets, those that share a free space with it.
        pool: How sources are summarised.

    Raises:
        UsageError: Where a set labels a parameter more than once, and on an unknown family or value.
    """
    families = block_families(blocks)
    values = set(families.values())
    others = values.pop() if len(values) == 1 else "none"  # kinds that are neither weight nor bias
    for parameter in graph.parameters:
        names = [axis.space for axis in graph.layout(parameter.name).index]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(
                f"parameter {parameter.name!r} has the space {twice!r} more than once, for which there are no layers "
                "as published; take `kind: dwsnet`"
            )
    found = []
    for target in graph.parameters:
        for source in graph.parameters:
            value = families.get(f"{source.kind}_to_{target.kind}", others)
            if value == "full" or (value == "diagonal" and _neighbours(graph, source.name, target.name)):
                found.append(_pair(graph.layout(source.name), graph.layout(target.name), pool))
    return tuple(found)


def _neighbours(graph: NetworkGraph, source: str, target: str) -> bool:
    """Whether a pair is of a diagonal family."""
    if graph.layout(source).index and graph.layout(target).index:
        return sharing(graph, source, target)
    return not set(graph.parameter(source).spaces).isdisjoint(graph.parameter(target).spaces)


def _pair(source: Layout, target: Layout, pool: str) -> PairMap:
    own = {axis.space for axis in source.index}
    shared = tuple(axis.space for axis in target.index if axis.space in own)
    choices = list(_choices(target, shared)) if len(shared) > 1 else [shared]
    reads = [slot_at(source, choice) for choice in choices]
    return PairMap(
        source.parameter,
        target.parameter,
        shared,
        tuple(PooledSlot(slot, pool if slot.pooled else None) for slot in reads),
        tuple(slot_at(target, choice) for choice in choices),
    )


def _choices(layout: Layout, shared: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every choice of the shared spaces that has, with a space, its parents."""
    above = {axis.space: None if axis.parent is None else layout.index[axis.parent].space for axis in layout.index}
    for count in range(len(shared) + 1):
        for chosen in combinations(shared, count):
            if all(above[space] is None or above[space] in chosen for space in chosen):
                yield chosen


def slot_at(layout: Layout, spaces: Sequence[str]) -> Slot:
    """How a parameter meets the key of some of its moving spaces, in their order."""
    places = {axis.space: k for k, axis in enumerate(layout.index)}
    kept = tuple(places[space] for space in spaces)
    parents = [layout.index[k].parent for k in kept]
    key = tuple(
        (space, None if parent is None else kept.index(parent)) for space, parent in zip(spaces, parents, strict=True)
    )
    return Slot(layout.parameter, tuple(range(len(layout.index))), kept, key)
