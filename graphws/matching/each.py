"""Matching each of many networks to one, all at once.

The same forward pass and the same descent as `graphws.matching.match` makes for two networks, in the graph's order of
families, so that nothing is random; scores of all networks are one product of matrices, and only the assignment
problems, which are small, are solved one by one.  What a network comes to depends on it and on the first one alone, and
networks that differ by the order of their neurons come to the same place, but for neurons that nothing tells apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph import GroupElement, Weights
from graphws.graph.element import SpaceElement, concatenate
from graphws.matching.assignment import assign_family
from graphws.matching.family import families, solving_order
from graphws.matching.metric import Metric
from graphws.matching.scores import Side, scores_of_each


def match_each_forward(first: Weights, networks: Weights, metric: Metric) -> GroupElement:
    """One pass from the inputs to the outputs for each network, as `graphws.matching.match_forward`.

    Args:
        first: The network to be met, a batch of one.
        networks: Those to be moved, of the same graph.
        metric: How parameters are compared.

    Returns:
        GroupElement: One element for each network, which brings it close to the first.

    Raises:
        GraphError: On different graphs, a space that no parameter speaks about, or weights that are not finite.
    """
    _check(first, networks)
    graph, known = first.graph, dict[str, SpaceElement]()
    sides: tuple[Side, Side] = ("both", "in")  # the second, where there is any, is better
    for family in solving_order(graph):
        scores = {
            name: found
            for side in sides
            for name in family.spaces
            if (found := scores_of_each(first, networks, name, known, metric=metric, side=side)) is not None
        }
        known.update(assign_family(graph, family, scores))
    return GroupElement(graph, known)


def descend_each(
    first: Weights, networks: Weights, start: GroupElement, metric: Metric, sweeps: int
) -> tuple[GroupElement, Tensor]:
    """Coordinate descent for each network from its own start, as long as its closeness rises.

    Law: no network is less close than it was at the start.

    Args:
        first: The network to be met, a batch of one.
        networks: Those to be moved, of the same graph.
        start: One element for each.
        metric: How parameters are compared.
        sweeps: At most so many rounds over the families.

    Returns:
        tuple: One element for each network, and the closeness that it reaches, (batch).

    Raises:
        GraphError: As `match_each_forward`.
    """
    _check(first, networks)
    graph = first.graph
    best, reached = start, closeness_of_each(first, start.act(networks), metric)
    open_networks = torch.arange(networks.batch, device=networks.device)
    for _ in range(sweeps):
        here = networks.select(open_networks)
        known = dict(best.select(open_networks).maps)
        for family in families(graph):
            scores = {
                name: found
                for name in family.spaces
                if (found := scores_of_each(first, here, name, known, metric=metric)) is not None
            }
            known.update(assign_family(graph, family, scores))
        after = closeness_of_each(first, GroupElement(graph, known).act(here), metric)
        before = reached[open_networks]
        better = after > before + 1e-12 * before.abs()
        if not bool(better.any()):
            break
        open_networks = open_networks[better]
        reached = reached.index_copy(0, open_networks, after[better])
        kept = GroupElement(graph, known).select(better.nonzero().squeeze(1))
        best = replaced(best, open_networks, kept)
    return best, reached


def match_each(first: Weights, networks: Weights, metric: Metric, sweeps: int = 30) -> tuple[GroupElement, Tensor]:
    """A forward pass and coordinate descent for each network; see `match_each_forward` and `descend_each`."""
    return descend_each(first, networks, match_each_forward(first, networks, metric), metric, sweeps)


def closeness_of_each(first: Weights, networks: Weights, metric: Metric) -> Tensor:
    """Σ over parameters of importance · <A, B> for each network, (batch)."""
    total = torch.zeros(networks.batch, dtype=first.dtype, device=first.device)
    for parameter in first.graph.parameters:
        weighed = metric.weigh(parameter, first[parameter.name])
        total += metric.of(parameter.name) * (weighed * networks[parameter.name]).flatten(1).sum(1)
    return total


def replaced(elements: GroupElement, index: Tensor, others: GroupElement) -> GroupElement:
    """Elements of many networks, those at `index` replaced by others."""
    maps: dict[str, SpaceElement] = {}
    for name, element in elements.maps.items():
        count = element.batch
        assert count is not None
        places = torch.arange(count, device=index.device)
        places[index] = torch.arange(count, count + len(index), device=index.device)
        maps[name] = concatenate([element, others.maps[name]]).select(places)
    return GroupElement(elements.graph, maps)


def _check(first: Weights, networks: Weights) -> None:
    if networks.graph != first.graph:
        raise GraphError("networks of different graphs cannot be matched")
    if first.batch != 1:
        raise GraphError(f"many networks are matched to one, got {first.batch}")
