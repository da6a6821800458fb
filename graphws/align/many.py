"""Many networks: one shared order for all of them.

"MergeMany" of git re-basin (Ainsworth et al. 2023), the alignment baseline of paper D, for any graph and the rich
actions: each network in turn, in random order, is matched to the mean of all the others as they stand, until a round
changes nothing.  Every step raises Σ_{i<j} <k_i w_i, k_j w_j>, because only terms with the network that moves change,
and they add up to its product with the others' sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from graphws.align.least_norm_gauge import settled_gauge
from graphws.align.objective import climb, closeness, restricted, standing
from graphws.errors import GraphError
from graphws.graph import GroupElement, Weights
from graphws.graph.group import Richness
from graphws.matching import balanced_metric, match_forward
from graphws.matching.scored_parameters import matching_view


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
    if whole.batch < 2:
        raise GraphError(f"there is nothing to align: got {whole.batch} network, at least 2 are needed")
    graph = whole.graph
    networks = [matching_view(restricted(whole.select([k]), actions)) for k in range(whole.batch)]
    gauges = [settled_gauge(network) for network in networks]
    fixed = [gauge.act(network) for gauge, network in zip(gauges, networks, strict=True)]
    metric = balanced_metric(Weights.cat(fixed))
    elements = [match_forward(fixed[0], each, metric=metric) for each in fixed]
    elements[0] = standing(fixed[0])
    moved = [element.act(each) for element, each in zip(elements, fixed, strict=True)]

    def pairs() -> float:
        total = Weights.cat(moved).map(lambda x: x.sum(0, keepdim=True))
        own = sum(closeness(each, each, metric) for each in moved)
        return (closeness(total, total, metric) - own) / (len(moved) * (len(moved) - 1))

    record = [pairs()]
    for _ in range(rounds):
        for k in torch.randperm(len(fixed), generator=generator).tolist():
            others = Weights.cat(moved[:k] + moved[k + 1 :]).map(lambda x: x.mean(0, keepdim=True))
            elements[k], _ = climb(others, fixed[k], elements[k], metric, generator, sweeps)
            moved[k] = elements[k].act(fixed[k])
        reached = pairs()
        if not reached > record[-1] + 1e-12 * abs(record[-1]):
            break
        record.append(reached)
    home = gauges[0].inverse() @ elements[0].inverse()
    found = [
        GroupElement(graph, (home @ element @ gauge).maps) for element, gauge in zip(elements, gauges, strict=True)
    ]
    aligned = Weights.cat([element.act(whole.select([k])) for k, element in enumerate(found)])
    return ManyAlignment(tuple(found), aligned, tuple(record))
