"""Many networks: one shared order for all of them.

"MergeMany" of git re-basin (Ainsworth et al. 2023), the alignment baseline of paper D, for any graph and the rich
actions: each network in turn, in random order, is matched to the mean of all the others as they stand, until a round
changes nothing.  Every step raises Σ_{i<j} <k_i w_i, k_j w_j>, because only terms with the network that moves change,
and they add up to its product with the others' sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from graphws.align.candidates import EQUAL, Candidate, Gauge, Matching, Objective, Yardstick, best
from graphws.align.least_norm_gauge import is_free, least_norm_gauge, settled_gauge
from graphws.align.objective import closeness, restricted, standing
from graphws.errors import GraphError
from graphws.graph import Action, GroupElement, LinearMap, Monomial, Weights
from graphws.graph.element import SpaceElement, stack
from graphws.graph.group import Richness
from graphws.matching import Metric, balanced_metric
from graphws.matching.each import descend_each, match_each_forward, replaced
from graphws.matching.scored_parameters import matching_view
from graphws.shown import Shown

Progress = Callable[[int], None]
"""Hears how many networks are done."""


@dataclass(frozen=True, eq=False, repr=False)
class ManyAlignment(Shown):
    """What `align_many` found.

    Attributes:
        elements: One for each network; the first is the identity but for rounding.
        aligned: All networks, moved to the order and gauge of the first.
        record: Mean closeness of the pairs at the start and after every round; it never falls.
        candidates: All that was tried; distances are those from the mean, 1 for unrelated networks.
        kept: Which of them this is.
    """

    elements: tuple[GroupElement, ...]
    aligned: Weights
    record: tuple[float, ...]
    candidates: tuple[Candidate, ...] = ()
    kept: int = 0

    def __str__(self) -> str:
        rise = f"mean closeness {self.record[0]:.4g} to {self.record[-1]:.4g} in {len(self.record) - 1} rounds"
        kept = f", kept: {self.candidates[self.kept]}" if self.candidates else ""
        return f"ManyAlignment({self.aligned.batch} networks, {rise}{kept})"


def align_many(
    weights: Weights | Sequence[Weights],
    *,
    generator: torch.Generator,
    actions: Richness = "rich",
    rounds: int = 20,
    sweeps: int = 20,
    objective: Objective | None = None,
) -> ManyAlignment:
    """Brings many networks to one order and gauge, that of the first.

    As for two, several ways are tried, and the better is kept (`graphws.align.candidates`).  A mean of them averages
    batch-norm statistics too, which then belong to no network: `graphws.align.remeasure`.

    Args:
        weights: A batch of networks, or batches of the same graph.
        generator: Order of the networks.
        actions: The rich actions of the graph, or its permutations only.
        rounds: At most so many rounds over all networks.
        sweeps: At most so many sweeps each time that a network is matched.
        objective: Decides between the candidates, from all networks aligned: smaller is better; the distance of their
            weights from the mean where None.

    Raises:
        GraphError: On fewer than two networks.
        WeightsError: On batches of different graphs.
    """
    whole = weights if isinstance(weights, Weights) else Weights.cat(list(weights))
    tried: list[tuple[Candidate, ManyAlignment]] = []
    yardstick: Yardstick | None = None
    for way in _ways(whole, actions, generator, rounds, sweeps):
        found = _at_home(whole, way)
        yardstick = yardstick or Yardstick.of_many(whole, way.least)
        distance = yardstick.spread(found.aligned)
        value = None if objective is None else float(objective(found.aligned))
        tried.append((Candidate(way.matching, way.gauge, distance, value), found))
        if distance < EQUAL:
            break
    candidates = tuple(candidate for candidate, _ in tried)
    kept = best(candidates)
    return replace(tried[kept][1], candidates=candidates, kept=kept)


@dataclass(frozen=True, eq=False)
class _Way:
    """One way to align many networks.

    Attributes:
        matching: As `Candidate` has it.
        gauge: As `Candidate` has it.
        elements: One for each network; None for no alignment.
        standing: Brings each network to the gauge in which they are averaged.
        least: Brings each to least norm.
        record: As `ManyAlignment` has it.
    """

    matching: Matching
    gauge: Gauge
    elements: GroupElement | None
    standing: GroupElement
    least: GroupElement
    record: tuple[float, ...]


def _ways(whole: Weights, actions: Richness, generator: torch.Generator, rounds: int, sweeps: int) -> Iterator[_Way]:
    """With all actions at both gauges, with permutations only, and not at all; the ways that differ on the graph."""
    given = matching_view(restricted(whole, actions))
    plain = all(not space.moves or space.action is Action.PERMUTATION for space in given.graph.spaces)
    free, here = is_free(given.graph), GroupElement(given.graph)
    gauge, fixed = in_matching_gauge(whole, actions)
    least = _averaging(fixed, gauge)

    def gathered(networks: Weights) -> tuple[GroupElement, tuple[float, ...]]:
        elements, record = gather(networks, balanced_metric(networks), generator, rounds, sweeps)
        return GroupElement(given.graph, elements.maps), record

    if free:
        for matching, networks in (("unit norm", fixed), ("least norm", least.act(given))):
            elements, record = gathered(networks)
            yield _Way(matching, "least norm", elements, least, least, record)  # type: ignore[arg-type]
    elif not plain:
        elements, record = gathered(fixed)
        yield _Way("rich", "as they are", elements, here, least, record)
    elements, record = gathered(restricted(given, "permutation"))
    if free:
        yield _Way("permutation", "least norm", elements, least, least, record)
    yield _Way("permutation", "as they are", elements, here, least, record)
    yield _Way("none", "as they are", None, here, least, record[:1])


def _at_home(whole: Weights, way: _Way) -> ManyAlignment:
    """The networks in the order of the first, averaged in a gauge and seen in that of the first."""
    if way.elements is None:
        return ManyAlignment((GroupElement(whole.graph),) * whole.batch, whole, way.record)
    places = torch.arange(whole.batch, device=whole.device).split(1)
    elements, gauge = way.elements, way.standing
    home = _single(gauge.select(places[0]).inverse() @ elements.select(places[0]).inverse())
    found = GroupElement(whole.graph, (home @ elements @ gauge).maps)
    return ManyAlignment(tuple(_single(found.select(place)) for place in places), found.act(whole), way.record)


def in_matching_gauge(weights: Weights, actions: Richness) -> tuple[GroupElement, Weights]:
    """One element for each network that brings it to the gauge in which networks are matched, and the networks there.

    The networks are on the graph that matching reads: with spaces that move as the actions say, and parameters that can
    be scored.
    """
    given = matching_view(restricted(weights, actions))
    if not is_free(given.graph):
        return GroupElement(given.graph), given
    gauge = _joined(given, [settled_gauge(given.select([k])) for k in range(given.batch)])
    return gauge, gauge.act(given)


def _averaging(settled: Weights, gauge: GroupElement) -> GroupElement:
    """The elements that bring networks to the gauge in which means are taken, from those to the settled one."""
    if not is_free(settled.graph):
        return gauge
    single = [least_norm_gauge(settled.select([k])) for k in range(settled.batch)]
    return _joined(settled, single) @ gauge


def _joined(weights: Weights, single: Sequence[GroupElement]) -> GroupElement:
    """An element for each network as one for all."""
    stays = standing(weights).maps
    names = [name for name in stays if any(name in element.maps for element in single)]
    return GroupElement(
        weights.graph, {name: stack([each.maps.get(name, stays[name]) for each in single]) for name in names}
    )


def gather(
    fixed: Weights,
    metric: Metric,
    generator: torch.Generator,
    rounds: int,
    sweeps: int,
    tolerance: float = 1e-12,
    progress: Progress | None = None,
) -> tuple[GroupElement, tuple[float, ...]]:
    """Brings many networks to one order, each in turn to the mean of all the others.

    Args:
        fixed: The networks, in the gauge for matching.
        metric: How parameters are compared.
        generator: Order of the networks.
        rounds: At most so many rounds over all networks.
        sweeps: At most so many sweeps each time that a network is matched.
        tolerance: A round that raises the closeness of pairs by no more than this share of it is the last.
        progress: Hears how many networks were matched, over all rounds.

    Returns:
        tuple: One element for each network, and the mean closeness of the pairs at the start and after every round.

    Raises:
        GraphError: On fewer than two networks.
    """
    count = fixed.batch
    if count < 2:
        raise GraphError(f"there is nothing to align: got {count} network, at least 2 are needed")
    elements = match_each_forward(fixed.select([0]), fixed, metric)
    moved = elements.act(fixed).map(torch.clone)  # written to below
    record = [mean_closeness(moved, metric)]
    for turn in range(rounds):
        total = moved.map(lambda x: x.sum(0, keepdim=True))  # anew, or rounding would add up
        for done, k in enumerate(torch.randperm(count, generator=generator).tolist(), start=1):
            index = torch.tensor([k], device=fixed.device)
            own, here = fixed.select(index), moved.select(index)
            others = Weights(fixed.graph, {name: (total[name] - x) / (count - 1) for name, x in here.items()})
            element, _ = descend_each(others, own, elements.select(index), metric, sweeps)
            elements = replaced(elements, index, element)
            for name, tensor in element.act(own).items():
                total[name].add_(tensor - here[name])
                moved[name].index_copy_(0, index, tensor)
            if progress is not None:
                progress(turn * count + done)
        reached = mean_closeness(moved, metric)
        if not reached > record[-1] + 1e-12 * abs(record[-1]):
            break
        record.append(reached)
        if not reached > record[-2] + tolerance * abs(record[-2]):
            break
    return elements, tuple(record)


def mean_closeness(networks: Weights, metric: Metric) -> float:
    """Of all pairs of different networks: what `gather` raises."""
    total = networks.map(lambda x: x.sum(0, keepdim=True))
    apart = closeness(total, total, metric) - closeness(networks, networks, metric)
    return apart / (networks.batch * (networks.batch - 1))


def _single(element: GroupElement) -> GroupElement:
    """An element for one network as one for any number of them."""
    maps: dict[str, SpaceElement] = {}
    for name, each in element.maps.items():
        if isinstance(each, LinearMap):
            maps[name] = LinearMap(each.weight[0])
        else:
            maps[name] = Monomial(each.perm[0], None if each.scale is None else each.scale[0])
    return GroupElement(element.graph, maps)
