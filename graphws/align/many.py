"""Many networks: one shared order for all of them.

"MergeMany" of git re-basin (Ainsworth et al. 2023), the alignment baseline of paper D, for any graph and the rich
actions: each network in turn, in random order, is matched to the mean of all the others as they stand, until a round
changes nothing.  Every step raises Σ_{i<j} <k_i w_i, k_j w_j>, because only terms with the network that moves change,
and they add up to its product with the others' sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from graphws.align.least_norm_gauge import is_free, least_norm_gauge, settled_gauge
from graphws.align.objective import closeness, restricted, standing
from graphws.errors import GraphError
from graphws.graph import GroupElement, LinearMap, Monomial, Weights
from graphws.graph.element import SpaceElement, stack
from graphws.graph.group import Richness
from graphws.matching import Metric, balanced_metric
from graphws.matching.each import descend_each, match_each_forward, replaced
from graphws.matching.scored_parameters import matching_view

Progress = Callable[[int], None]
"""Hears how many networks are done."""


@dataclass(frozen=True, eq=False)
class ManyAlignment:
    """What `align_many` found.

    Attributes:
        elements: One for each network; the first is the identity but for rounding.
        aligned: All networks, moved to the order and gauge of the first.
        record: Mean closeness of the pairs at the start and after every round; it never falls.
    """

    elements: tuple[GroupElement, ...]
    aligned: Weights
    record: tuple[float, ...]


def align_many(
    weights: Weights | Sequence[Weights],
    *,
    generator: torch.Generator,
    actions: Richness = "rich",
    rounds: int = 20,
    sweeps: int = 20,
) -> ManyAlignment:
    """Brings many networks to one order and gauge, that of the first.

    They are matched at unit norm and averaged at least norm (`graphws.align.candidates` says why).  A mean of them
    averages batch-norm statistics too, which then belong to no network: `graphws.align.remeasure`.

    Args:
        weights: A batch of networks, or batches of the same graph.
        generator: Order of the networks.
        actions: The rich actions of the graph, or its permutations only.
        rounds: At most so many rounds over all networks.
        sweeps: At most so many sweeps each time that a network is matched.

    Raises:
        GraphError: On fewer than two networks.
        WeightsError: On batches of different graphs.
    """
    whole = weights if isinstance(weights, Weights) else Weights.cat(list(weights))
    gauge, fixed = in_matching_gauge(whole, actions)
    elements, record = gather(fixed, balanced_metric(fixed), generator, rounds, sweeps)
    places = torch.arange(whole.batch, device=whole.device).split(1)
    gauge = _averaging(fixed, gauge)
    home = _single(gauge.select(places[0]).inverse() @ elements.select(places[0]).inverse())
    found = GroupElement(whole.graph, (home @ elements @ gauge).maps)
    return ManyAlignment(tuple(_single(found.select(place)) for place in places), found.act(whole), record)


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
