"""Two networks of one graph, in the gauges in which they are matched and averaged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from graphws.align.candidates import Gauge, Matching, Yardstick
from graphws.align.least_norm_gauge import averaging_gauge, is_free, settled_gauge
from graphws.align.objective import restricted
from graphws.graph import Action, GroupElement, LinearMap, NetworkGraph, Weights
from graphws.graph.group import Richness
from graphws.matching import Metric, balanced_metric
from graphws.matching.scored_parameters import matching_view


@dataclass(frozen=True, eq=False)
class Match:
    """Which neuron answers to which.

    Attributes:
        matching: Where it comes from.
        element: A signed permutation, orthogonal on linear spaces: it keeps a gauge.
        record: Closeness, descent by descent.
    """

    matching: Matching
    element: GroupElement
    record: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two networks and their gauges.

    Attributes:
        graph: The graph whose group moves them.
        first: The network to be met, on the graph that moves as the actions say.
        second: The network to be moved, on the same.
        balanced: Whether every layer counts the same.
    """

    graph: NetworkGraph
    first: Weights
    second: Weights
    balanced: bool

    @staticmethod
    def of(first: Weights, second: Weights, actions: Richness, balanced: bool) -> Pair:
        """The pair, on the graph that moves as the actions say."""
        return Pair(first.graph, restricted(first, actions), restricted(second, actions), balanced)

    @property
    def matchings(self) -> tuple[Matching, ...]:
        """The matches by weights that differ on this graph, the richest first."""
        graph = self._views[0].graph
        if all(not space.moves or space.action is Action.PERMUTATION for space in graph.spaces):
            return ("permutation",)
        return ("unit norm", "least norm", "permutation") if is_free(graph) else ("rich", "permutation")

    def gauges(self, match: Match) -> tuple[Gauge, ...]:
        """In which a match is averaged: a map of a basis belongs to the gauge that it was found in."""
        if match.matching == "none" or not is_free(self._views[0].graph):
            return ("as they are",)
        bases = any(isinstance(each, LinearMap) for each in match.element.maps.values())
        if bases or match.matching in ("unit norm", "least norm"):
            return ("least norm",)
        return "least norm", "as they are"

    def at(self, matching: Matching) -> tuple[Weights, Weights, Metric]:
        """Both as matching reads them, in the gauge of a match, and the metric there."""
        if matching == "permutation":
            ours, theirs = (restricted(view, "permutation") for view in self._views)
        else:
            gauges = self._least if matching == "least norm" else self._unit
            ours, theirs = (gauge.act(view) for gauge, view in zip(gauges, self._views, strict=True))
        return ours, theirs, balanced_metric(ours) if self.balanced else Metric()

    def given_at(self, matching: Matching) -> tuple[Weights, Weights]:
        """Both with all that they hold, in the gauge of a match."""
        gauges = self._least if matching == "least norm" else self._unit
        one, other = (
            GroupElement(weights.graph, gauge.maps).act(weights)
            for gauge, weights in zip(gauges, (self.first, self.second), strict=True)
        )
        return one, other

    def element(self, match: GroupElement, gauge: Gauge) -> GroupElement:
        """The element of the graph's group that brings the second to the first, where both are averaged in a gauge."""
        found = GroupElement(self._views[0].graph, match.maps)
        if gauge == "least norm":
            found = self._least[0].inverse() @ found @ self._least[1]
        return GroupElement(self.graph, found.maps)

    @cached_property
    def yardstick(self) -> Yardstick:
        """Distances, where the first has least norm."""
        ours = self._least[0].act(self._views[0])
        return Yardstick(self.first, self._least[0], balanced_metric(ours) if self.balanced else Metric())

    @cached_property
    def _views(self) -> tuple[Weights, Weights]:
        return matching_view(self.first), matching_view(self.second)

    @cached_property
    def _unit(self) -> tuple[GroupElement, GroupElement]:
        return settled_gauge(self._views[0]), settled_gauge(self._views[1])

    @cached_property
    def _least(self) -> tuple[GroupElement, GroupElement]:
        return averaging_gauge(self._views[0], self._unit[0]), averaging_gauge(self._views[1], self._unit[1])
