"""Matching one network to another: a forward pass over the graph, then coordinate descent.

The forward pass solves family after family from what is known so far.  Coordinate descent then revisits them in random
order with all their neighbours known, until nothing changes; every step can only raise the closeness Σ_p w_p
<A_p, (k·B)_p>, except where a space labels two axes of one tensor (there each step solves a linearised problem).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from graphws.errors import GraphError
from graphws.graph import GroupElement, LinearMap, Weights
from graphws.graph.element import SpaceElement
from graphws.matching.assignment import assign_family
from graphws.matching.family import families, solving_order
from graphws.matching.metric import Metric, balanced_metric
from graphws.matching.scores import family_scores
from graphws.matching.unit_gauge import matching_gauge


def match_forward(
    first: Weights, second: Weights, *, fixed: Mapping[str, SpaceElement] | None = None, metric: Metric | None = None
) -> GroupElement:
    """An element k with k·second close to first, found in one pass from the inputs to the outputs.

    Args:
        first: The network to be met, a batch of one.
        second: The network to be moved.
        fixed: Maps of spaces that are given, such as those of inputs and outputs; of a family they may be the upper
            part, then the rest of it is found below them.
        metric: How parameters are compared; `balanced_metric` of `first` where None.

    Raises:
        GraphError: On different graphs, or a space that no parameter speaks about.
    """
    graph, metric = first.graph, metric or balanced_metric(first)
    known = dict(fixed or {})
    for family in solving_order(graph):
        if set(family.spaces) <= set(known):
            continue
        scores = family_scores(first, second, family, known, metric=metric, side="both")
        scores |= family_scores(first, second, family, known, metric=metric, side="in")  # better, where there is any
        known.update(assign_family(graph, family, scores, known))
    return GroupElement(graph, known)


def descend(
    first: Weights,
    second: Weights,
    start: GroupElement,
    *,
    fixed: Mapping[str, SpaceElement] | None = None,
    metric: Metric | None = None,
    generator: torch.Generator | None = None,
    sweeps: int = 30,
) -> GroupElement:
    """Coordinate descent from `start`, family by family in random order, until nothing changes.

    Args:
        first: The network to be met, a batch of one.
        second: The network to be moved.
        start: Where to start.
        fixed: Maps that stay as they are.
        metric: How parameters are compared; `balanced_metric` of `first` where None.
        generator: Order of the families; the graph's order where None.
        sweeps: At most so many rounds.
    """
    graph, metric = first.graph, metric or balanced_metric(first)
    known = {**start.maps, **(fixed or {})}
    open_families = [family for family in families(graph) if family.root not in (fixed or {})]
    for _ in range(sweeps):
        order = list(range(len(open_families)))
        if generator is not None:
            order = torch.randperm(len(order), generator=generator).tolist()
        changed = False
        for index in order:
            family = open_families[index]
            scores = family_scores(first, second, family, known, metric=metric)
            for name, element in assign_family(graph, family, scores).items():
                changed |= name not in known or not same_map(known[name], element)
                known[name] = element
        if not changed:
            break
    return GroupElement(graph, known)


def match(
    first: Weights,
    second: Weights,
    *,
    fixed: Mapping[str, SpaceElement] | None = None,
    metric: Metric | None = None,
    generator: torch.Generator | None = None,
    sweeps: int = 30,
) -> GroupElement:
    """The element k with k·second closest to first that a forward pass and coordinate descent find.

    Both networks are moved to the gauge for matching first, so scales of ReLU neurons and bases of linear spaces do not
    matter; the result is an element for the networks as they were given.

    Args:
        first: The network to be met, a batch of one.
        second: The network to be moved, of the same graph.
        fixed: Maps of spaces that are given; they must not be rescaled by the gauge (inputs and outputs are not).
        metric: How parameters are compared in the gauge; balanced where None.
        generator: Order of the descent.
        sweeps: At most so many rounds of it.

    Raises:
        GraphError: On different graphs, batches other than one, or a space that no parameter speaks about.
    """
    if first.graph != second.graph:
        raise GraphError("networks of different graphs cannot be matched")
    gauges = [matching_gauge(weights) for weights in (first, second)]
    ours, theirs = (gauge.act(weights) for gauge, weights in zip(gauges, (first, second), strict=True))
    metric = metric or balanced_metric(ours)
    start = match_forward(ours, theirs, fixed=fixed, metric=metric)
    found = descend(ours, theirs, start, fixed=fixed, metric=metric, generator=generator, sweeps=sweeps)
    return gauges[0].inverse() @ found @ gauges[1]


def same_map(first: SpaceElement, second: SpaceElement) -> bool:
    """Whether two maps are equal (matrices to rounding)."""
    if isinstance(first, LinearMap) or isinstance(second, LinearMap):
        return torch.allclose(first.matrix(), second.matrix(), rtol=1e-6, atol=1e-8)
    if not torch.equal(first.perm, second.perm):
        return False
    one = torch.ones((), dtype=torch.float64)
    a, b = (element.scale.double() if element.scale is not None else one for element in (first, second))
    return bool((a == b).all())
