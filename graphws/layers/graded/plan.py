"""What a layer in which weights act does on one graph: worked out once, then run for every batch."""

from __future__ import annotations

from dataclasses import dataclass

from graphws.graph import NetworkGraph
from graphws.layers.acting.grades import Grading, Symmetry, grading
from graphws.layers.acting.routes import Route, routes
from graphws.layers.graded.inlets import Inlet
from graphws.layers.graded.owners import Owners
from graphws.layers.graded.state import Spot
from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class Plan(Shown):
    """What a layer does on one graph.

    Args:
        grades: The graph's grades.
        owners: What its learned tensors go by.
        routes: The ways along weights.
        sites: The spaces that have invariants, parents first; the network last.
        graded: The space and grade of every other feature.
    """

    grades: Grading
    owners: Owners
    routes: tuple[Route, ...]
    sites: tuple[str | None, ...]
    graded: tuple[tuple[str, int], ...]

    def route(self, route: Route) -> str:
        """What a route's learned tensors go by."""
        return f"{self.owners.parameter(route.parameter)}:{route.way}"

    def spot(self, space: str, grade: int) -> str:
        """What the learned tensors of graded features go by."""
        return f"{self.owners.space(space)}:{grade}"

    def inlet(self, inlet: Inlet) -> str:
        """What an inlet's learned tensors go by."""
        return f"{self.owners.parameter(inlet.parameter)}:{inlet.name}"

    @property
    def moving(self) -> tuple[str, ...]:
        """The spaces that move."""
        return tuple(space.name for space in self.grades.graph.spaces if space.moves)

    def carrying(self, alive: frozenset[Spot]) -> tuple[Route, ...]:
        """The routes that have something to carry, where graded features stand at some spots."""
        return tuple(r for r in self.routes if not r.reads or (r.source.space, r.reads) in alive)

    def alive(self, starts: frozenset[Spot], layers: int) -> frozenset[Spot]:
        """The spots with graded features after some layers, from those that have them at first."""
        for _ in range(layers):
            starts |= {(r.target.space, r.writes) for r in self.carrying(starts) if r.writes}
        return starts

    def children(self, site: str | None) -> list[str]:
        """The sites directly below one."""
        graph = self.grades.graph
        found = []
        for space in self.sites:
            if space is not None:
                parent = graph.space(space).parent
                if (None if parent is None else self.grades.site(parent)) == site:
                    found.append(space)
        return found

    def pairs(self, site: str | None) -> list[str]:
        """The linear spaces whose vectors and covectors meet at a site."""
        linear = [space for space, grade in self.graded if grade == 1 and (space, -1) in self.graded]
        return [space for space in linear if self.grades.linear(space) and self.grades.site(space) == site]


def make_plan(graph: NetworkGraph, symmetry: Symmetry, share: str, acts: bool = True) -> Plan:
    """The plan of every layer on a graph.

    Args:
        graph: The graph.
        symmetry: ``permutation`` or ``rich``.
        share: ``none`` or ``role``.
        acts: Whether anything travels along weights.
    """
    grades = grading(graph, symmetry)
    moving = [space.name for space in graph.spaces if space.moves]
    sites = [name for name in moving if not grades.linear(name)]
    graded = {(p.space, p.grade): None for each in graph.parameters for p in grades.places(each.name) if p.grade}
    return Plan(grades, Owners(graph, share), routes(grades) if acts else (), (*sites, None), tuple(graded))
