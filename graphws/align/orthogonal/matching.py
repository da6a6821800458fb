"""Two networks in RMS form brought together, from their weights alone.

Both are brought to the weights of least norm among all that differ by matrices inside heads and by scales: the balanced
gauge, in which the matrices that are left to find are orthogonal.  Then, space by space with all others held:

* a stream gets the orthogonal map that its writers and readers fit best (Procrustes);
* heads are paired by their invariant products, then every head gets the orthogonal maps between its dimensions;
* all other spaces are assignment problems, as for any network.

Where rotary positions leave no matrix between queries and keys, these say nothing at first; then they are turned, pair
by pair, to where they fit best (`graphws.align.orthogonal.turning`), and the descent goes on with them, in turn.

Every parameter counts the same, a bias as much as a matrix: what writes the stream first, and what reads it last, is
known in both networks neuron by neuron, and a stream is found from there inwards.  A forward pass over the graph makes
the start; random starts (passes that weigh the parameters otherwise) are tried besides, and the closest result is kept.

A stream of layer norms is written without a mean, and its maps keep the vector of ones, so the result is a layer-norm
network again (Ainsworth et al. 2023 for the descent; Theus et al. 2025 for heads by products, streams by Procrustes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from graphws.align.least_norm_gauge import least_norm_gauge
from graphws.align.objective import check_pair, closeness
from graphws.align.orthogonal.heads import Products, head_products, head_worth
from graphws.align.orthogonal.turning import best_turns, turned, without
from graphws.errors import GraphError
from graphws.graph import Action, GroupElement, LinearMap, Monomial, NetworkGraph, Weights
from graphws.graph.element import SpaceElement
from graphws.matching import Family, Metric, assign_family, families, family_scores, nearest_orthogonal, solving_order
from graphws.matching.assignment import best_permutation
from graphws.matching.scored_parameters import matching_view
from graphws.operations.plan import why_not
from graphws.operations.rms_form import RmsForm, rms_form
from graphws.operations.rotary_pairs import RotaryPairs, rotary_pairs
from graphws.shown import Shown

SPREAD = 0.7
"""Standard deviation of the logarithm of the factors by which a random start weighs the parameters."""
LEAST_GAIN = 1e-13
"""A sweep that raises the closeness by a smaller share is the last."""
TURNS = 20
"""At most so often queries and keys of rotary positions are turned."""


@dataclass(frozen=True, eq=False, repr=False)
class StreamMatch(Shown):
    """What `match_streams` found.

    Attributes:
        form: The first network in RMS form.
        element: Brings the second network, in RMS form, to the first: orthogonal on streams, invertible inside heads,
            else an element of the graph's group.
        aligned: The second network in RMS form, moved: it computes what it did.
        record: Closeness after every sweep of the run that was kept.
        gauge: Brings the first network to the balanced gauge.
        second: The second network in RMS form: as it came, but for queries and keys that rotary positions turn, which
            are turned to answer to the first's.
        turned: The attention layers in which they are.
    """

    form: RmsForm
    element: GroupElement
    aligned: Weights
    record: tuple[float, ...]
    gauge: GroupElement
    second: Weights
    turned: tuple[RotaryPairs, ...] = ()

    @property
    def met(self) -> Weights:
        """The first network, in the form in which the second one answers to it."""
        return self.form.weights

    def with_element(self, element: GroupElement) -> StreamMatch:
        """The same networks, brought together by another element."""
        return replace(self, element=element, aligned=element.act(self.second))


@lru_cache(maxsize=64)
def has_streams(graph: NetworkGraph) -> bool:
    """Whether a graph has a residual stream that orthogonal maps may move."""
    if why_not(graph) or not any("norm" in step.kind or step.kind == "rsqrt" for step in graph.operations):
        return False
    empty = Weights(graph, {p.name: torch.ones(1, *graph.shape(p.name), dtype=torch.float64) for p in graph.parameters})
    try:
        return bool(rms_form(empty).streams)
    except GraphError:
        return False


def match_streams(
    first: Weights,
    second: Weights,
    *,
    generator: torch.Generator | None = None,
    restarts: int = 2,
    sweeps: int = 100,
) -> StreamMatch:
    """Brings the second network to the first by orthogonal maps of their streams and all that goes with them.

    Laws: ``aligned`` computes what ``second`` computes; a network that is the first one moved by any such element comes
    back to it.

    Args:
        first: The network to be met, a batch of one; float64 for exact answers.
        second: The network to be moved, of the same graph.
        generator: Source of random starts; none where None.
        restarts: How many of them.
        sweeps: At most so many rounds over the spaces for each start.

    Raises:
        GraphError: On different graphs, batches other than one, or a graph without such streams.
    """
    check_pair(first, second)
    form, other = rms_form(first), rms_form(second)
    if not form.streams:
        why = next(iter(form.kept.values()), "no space is a residual stream")
        raise GraphError(f"no residual stream of this graph can be moved by orthogonal maps: {why}")
    layers = rotary_pairs(form.weights.graph)
    gauges = least_norm_gauge(form.weights), least_norm_gauge(other.weights)
    views = [
        _with_linear_streams(matching_view(gauge.act(each.weights)), form.streams)
        for gauge, each in zip(gauges, (form, other), strict=True)
    ]
    metric = every_parameter_alike(views[0])
    search = _Search(views[0], views[1], form.streams, form.centred, without(metric, layers))
    found, record = search.from_start({}, sweeps)
    for _ in range(restarts if generator is not None else 0):
        start = replace(search, metric=_shaken(search.metric, generator)).from_start({}, max(1, sweeps // 10))[0]
        candidate, reached = search.from_start(start, sweeps)
        if reached[-1] > record[-1]:
            found, record = candidate, reached
    match = _joined(form, found, other.weights, gauges, record)
    return _with_turns(match, found, gauges, replace(search, metric=metric), layers, sweeps) if layers else match


def _joined(
    form: RmsForm,
    maps: Mapping[str, SpaceElement],
    second: Weights,
    gauges: tuple[GroupElement, GroupElement],
    record: list[float],
) -> StreamMatch:
    element = gauges[0].inverse() @ GroupElement(form.weights.graph, maps) @ gauges[1]
    return StreamMatch(form, element, element.act(second), tuple(record), gauges[0], second)


def _with_turns(
    match: StreamMatch,
    maps: Mapping[str, SpaceElement],
    gauges: tuple[GroupElement, GroupElement],
    search: _Search,
    layers: tuple[RotaryPairs, ...],
    sweeps: int,
) -> StreamMatch:
    """The match, queries and keys turned, and the descent gone on with them, in turn until nothing is gained."""
    best = None
    for _ in range(TURNS):
        turns = best_turns(match.met, match.aligned, layers, search.metric)
        back = match.element.inverse().act(turned(match.aligned, layers, turns))
        names = {name for pairs in layers for name in pairs.names}
        second = Weights(back.graph, {n: back[n] if n in names else x for n, x in match.second.items()})
        search = replace(search, second=_with_linear_streams(matching_view(gauges[1].act(second)), match.form.streams))
        maps, record = search.from_start(maps, sweeps)
        match = replace(_joined(match.form, maps, second, gauges, record), turned=layers)
        gain = math.inf if best is None else match.record[-1] - best.record[-1]
        if best is None or gain > 0:
            best = match
        if gain <= LEAST_GAIN * abs(match.record[-1]):
            break
    assert best is not None
    return best


def every_parameter_alike(weights: Weights) -> Metric:
    """Each parameter's squared norm counts 1."""
    squares = {name: float(x.square().sum()) for name, x in weights.items() if x.is_floating_point()}
    return Metric({name: 1 / square if square > 0 else 0.0 for name, square in squares.items()})


def _shaken(metric: Metric, generator: torch.Generator | None) -> Metric:
    factors = torch.exp(SPREAD * torch.randn(len(metric.importance), generator=generator, dtype=torch.float64)).tolist()
    return Metric({name: x * f for (name, x), f in zip(metric.importance.items(), factors, strict=True)})


def _with_linear_streams(weights: Weights, streams: tuple[str, ...]) -> Weights:
    """The weights on a graph whose streams any matrix moves, as far as its labels go."""
    graph = weights.graph
    spaces = tuple(replace(s, action=Action.LINEAR) if s.name in streams else s for s in graph.spaces)
    return Weights(replace(graph, spaces=spaces), weights.tensors)


@dataclass(frozen=True)
class _Search:
    """Coordinate descent over the spaces of two networks in the balanced gauge."""

    first: Weights
    second: Weights
    streams: tuple[str, ...]
    centred: tuple[str, ...]
    metric: Metric

    def from_start(self, start: Mapping[str, SpaceElement], sweeps: int) -> tuple[dict[str, SpaceElement], list[float]]:
        """The maps at the end of a descent, and the closeness after each sweep that raised it."""
        graph, known = self.first.graph, dict(start)
        ours = head_products(self.first)
        if not known:
            for family in solving_order(graph):
                known.update(self._solved(family, known, ours, forward=True))
        best, record = dict(known), [self._closeness(known)]
        for sweep in range(sweeps):
            for family in families(graph):
                known.update(self._solved(family, known, ours))
            reached = self._closeness(known)
            if reached > record[-1]:
                best = dict(known)
            elif sweep >= 2:
                break
            done = abs(reached - record[-1]) <= LEAST_GAIN * abs(reached)
            record.append(max(reached, record[-1]))
            if done and sweep >= 2:
                break
        return best, record

    def _closeness(self, known: Mapping[str, SpaceElement]) -> float:
        return closeness(self.first, GroupElement(self.first.graph, known).act(self.second), self.metric)

    def _solved(
        self, family: Family, known: Mapping[str, SpaceElement], ours: Products, forward: bool = False
    ) -> dict[str, SpaceElement]:
        """The maps of one family, all others held."""
        graph = self.first.graph
        scores = family_scores(self.first, self.second, family, known, metric=self.metric)
        if forward:
            scores |= family_scores(self.first, self.second, family, known, metric=self.metric, side="in")
        root = family.root
        if root in self.streams:
            matrix = scores[root].odd
            if root in self.centred:  # keeps the vector of ones, above everything else
                matrix = matrix + 10 * matrix.norm() * torch.full_like(matrix, 1 / len(matrix))
            return {root: LinearMap(nearest_orthogonal(matrix))}
        fixed: dict[str, SpaceElement] = {}
        if root in ours and set(self.streams) <= set(known):
            worth = head_worth(ours, head_products(self.second, known), root)
            fixed = {root: Monomial(best_permutation(worth).to(worth.device))}
        return assign_family(graph, family, scores, fixed)
