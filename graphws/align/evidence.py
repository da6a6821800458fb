"""Evidence from data: activations, and attributions by moment maps, as scores for matching."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from graphws.graph import Action, GroupElement, Monomial, Weights
from graphws.graph.element import SpaceElement
from graphws.matching import Metric, Score, assign_family, families, score
from graphws.operations.moment_maps import collect_evidence
from graphws.operations.verify import Run

Values = Callable[[Weights], Mapping[str, Tensor]]
"""What every space of a network carries on some data, (1, samples, elements)."""


def activation_maps(first: Weights, second: Weights, values: Values) -> dict[str, SpaceElement]:
    """The maps that make the values on every space correlate most; spaces that no value carries are missing.

    Neurons are compared by correlation, so their scale does not count; linear spaces by covariance.  Of a family come
    the spaces with values and those above them.
    """
    graph = first.graph
    ours, theirs = values(first), values(second)
    known: dict[str, SpaceElement] = {}
    for family in families(graph):
        scores: dict[str, Score] = {}
        for name in family.spaces:
            if name in ours and graph.space(name).moves:
                a, b = ours[name][0], theirs[name][0]
                matrix = _covariance(a, b) if graph.space(name).action is Action.LINEAR else _correlation(a, b)
                scores[name] = Score(matrix, torch.zeros_like(matrix))
        if scores:
            seen = {space.name for name in scores for space in graph.lineage(name)}
            found = assign_family(graph, family, scores)
            known.update({name: element for name, element in found.items() if name in seen})
    return known


def attribution_maps(
    first: Weights, second: Weights, run: Run, generator: torch.Generator, losses: int = 64
) -> dict[str, SpaceElement]:
    """The maps that make the moment maps of neurons correlate most over random losses, the same for both networks.

    diag(M) is the part that an element takes in a loss.  Scales do not change it, and neither do signs, which are left
    for `with_signs`.  Families with linear spaces, whose elements have no identity, are missing.
    """
    graph = first.graph
    chosen = [
        family
        for family in families(graph)
        if all(graph.space(name).action is not Action.LINEAR for name in family.spaces)
    ]
    names = [name for family in chosen for name in family.spaces if graph.space(name).moves]
    state = generator.get_state()
    found = []
    for weights in (first, second):
        generator.set_state(state)  # both networks see the same losses
        found.append(collect_evidence(graph, weights, run, names, losses, generator, matrices=()))
    known: dict[str, SpaceElement] = {}
    for family in chosen:
        scores: dict[str, Score] = {}
        for name in family.spaces:
            if name in names and found[0][name].axes:
                matrix = _correlation(*(_features(each[name].moments) for each in found))
                scores[name] = Score(torch.zeros_like(matrix), matrix)
        if scores:
            known.update(assign_family(graph, family, scores))
    return known


def _features(moments: Tensor) -> Tensor:
    """(losses, elements, axes) as (losses · axes, elements): every axis speaks with the same voice."""
    unit: Tensor = moments / moments.norm(dim=(0, 1), keepdim=True).clamp_min(torch.finfo(moments.dtype).tiny)
    return unit.movedim(2, 0).reshape(-1, moments.shape[1])


def with_signs(first: Weights, second: Weights, element: GroupElement, metric: Metric) -> GroupElement:
    """The element with the signs that bring the weights closest, space after space, twice over."""
    known = dict(element.maps)
    signed = [s.name for s in first.graph.spaces if s.moves and s.action in (Action.SIGNED, Action.MONOMIAL)]
    for name in signed * 2:
        here, scored = known[name], score(first, second, name, known, metric=metric)
        if scored is None or not isinstance(here, Monomial):
            continue
        chosen = scored.odd.gather(-1, here.perm.unsqueeze(-1)).squeeze(-1)
        known[name] = Monomial(here.perm, torch.where(chosen < 0, -torch.ones_like(chosen), torch.ones_like(chosen)))
    return GroupElement(first.graph, known)


def _covariance(first: Tensor, second: Tensor) -> Tensor:
    """(samples, n) twice to (n, n), about the means."""
    a, b = (x - x.mean(0) for x in (first, second))
    return torch.matmul(a.mT, b) / len(a)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """As `_covariance`, of columns of unit length; a column that does not vary has correlation 0 with all."""
    a, b = (x - x.mean(0) for x in (first, second))
    a, b = (x / x.norm(dim=0).clamp_min(torch.finfo(x.dtype).tiny) for x in (a, b))
    return torch.matmul(a.mT, b)
