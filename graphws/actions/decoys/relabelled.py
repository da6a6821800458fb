"""Relabelled decoys: is what a layer reads moved in the way that its weights know, or would any relabelling do?

A layer is a weight between two maps, ρ on what it reads and ρ on what it writes.  Its null keeps the weights and takes
the first map away: ρ on every space that it reads is conjugated by a random relabelling, π ρ π⁻¹ (the same cycles, on
other elements), and the best map of what it writes is solved for anew, as extraction does.  If the weights know nothing
of ρ, the action found and these decoys are exchangeable, and the rank of its error among theirs is a p-value:

    p = (1 + number of decoys with an error as small) / (1 + number of decoys).

So a layer in the middle is judged on what comes in, as a decoy of the whole network cannot: that one may leave the
middle as it is, without any error there.  Two limits: a space of few elements has few relabellings, so its p-value
stays large; and a space that ρ leaves as it is has none.

The error is that of weights, weighed by probes where there are any, and neuron by neuron by what is read of it:
(Σ_i s_i (1 - cos_i))^½, cos_i being the cosine of neuron i with its image (`measures.categories.similarity`) and s_i
its share of what readers get (`measures.needs`).  It is 0 for exact layers, σ for noise of σ, and 1 for unrelated ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.groups.symmetry import is_identity
from graphws.actions.measures.categories import similarity
from graphws.actions.measures.needs import needed_shares
from graphws.actions.problem import Maps, Problem, on_device
from graphws.actions.search.search import Candidate
from graphws.graph import LinearMap, Monomial, NetworkGraph
from graphws.graph.element import SpaceElement, compose
from graphws.matching import Family, Metric, assign_family, families, family_scores

RELABELLINGS = 39
"""Decoys of each layer; the smallest p-value is 1/40."""


@dataclass(frozen=True)
class Relabelled:
    """A layer's error beside those of relabelled decoys.

    Attributes:
        error: That of the action found, in weights; the largest over generators.
        decoys: The decoys' errors, in order; fewer than `RELABELLINGS` where there are not so many.
    """

    error: float
    decoys: tuple[float, ...]

    @property
    def least(self) -> float:
        """The smallest error of a decoy."""
        return self.decoys[0]

    @property
    def p_value(self) -> float:
        """The share of decoys, the action found among them, whose error is as small."""
        return (1 + sum(decoy <= self.error for decoy in self.decoys)) / (1 + len(self.decoys))


def relabelled_errors(
    problem: Problem, best: Candidate, *, generator: torch.Generator, count: int = RELABELLINGS
) -> dict[str, Relabelled]:
    """The evidence for each layer, by the space that it writes; none for layers that read nothing that is moved.

    Args:
        problem: The problem.
        best: The action found.
        generator: Source of the relabellings.
        count: At most so many decoys a layer.
    """
    graph, found = problem.view.graph, dict[str, Relabelled]()
    roots = {name for family in families(graph) for name in family.spaces}
    given = {a.space for p in graph.parameters for a in p.axes if a.power > 0} - roots
    for family in (*families(graph), *(Family(name, (name,)) for name in sorted(given))):
        evidence = _evidence(problem, best, family, family.root in roots, generator, count)
        if evidence is not None:
            found.update(dict.fromkeys(family.spaces, evidence))
    return found


def _evidence(
    problem: Problem, best: Candidate, family: Family, solved: bool, generator: torch.Generator, count: int
) -> Relabelled | None:
    """The evidence for what writes one family, which is solved for anew or given."""
    graph, metric = problem.view.graph, problem.metrics.get("probes", problem.metrics["weights"])
    read = _read_by(graph, family)
    moving = [name for name in read if any(name in maps and not is_identity(maps[name]) for maps in best.maps)]
    if not moving:
        return None
    shares = needed_shares(problem, family, problem.moments)
    picked = list(problem.placed.symmetry.generators.values())
    chosen = [best.maps[g] for g in picked]
    errors: list[float] = []
    known = [_print(chosen, moving)]
    for _ in range(2 * count):
        if len(errors) == count:
            break
        orders = _relabelling(graph, moving, generator)
        images = [{**maps, **_conjugated(maps, orders)} for maps in chosen]
        mark = _print(images, moving)
        if any(torch.equal(mark, other) for other in known):
            continue
        known.append(mark)
        if solved:
            images = [{**maps, **_solved(problem, family, maps, metric)} for maps in images]
        errors.append(_error(problem, family, images, shares, metric))
    return Relabelled(_error(problem, family, chosen, shares, metric), tuple(sorted(errors))) if errors else None


def _error(problem: Problem, family: Family, images: Sequence[Maps], shares: Tensor, metric: Metric) -> float:
    """(Σ_i s_i (1 - cos_i))^½, the largest over generators."""
    gaps = [float((shares * (1 - similarity(problem, family, maps, metric).cpu())).sum()) for maps in images]
    return max(max(gap, 0.0) ** 0.5 for gap in gaps)


def _solved(problem: Problem, family: Family, maps: Maps, metric: Metric) -> Maps:
    """The best map of a family, from what writes it; without the homomorphism, so decoys do at least as well."""
    known = {name: element for name, element in maps.items() if name not in family.spaces}
    scores = family_scores(problem.view, problem.view, family, known, metric=metric, side="in")
    if not scores:
        return {}
    device = problem.weights.device
    return {name: on_device(found, device) for name, found in assign_family(problem.graph, family, scores).items()}


def _read_by(graph: NetworkGraph, family: Family) -> list[str]:
    """The other spaces on the weights that write a family."""
    found: dict[str, None] = {}
    for parameter in graph.parameters:
        if any(axis.space in family.spaces and axis.power >= 0 for axis in parameter.axes):
            found.update(dict.fromkeys(axis.space for axis in parameter.axes if axis.space not in family.spaces))
    return list(found)


def _relabelling(graph: NetworkGraph, spaces: Sequence[str], generator: torch.Generator) -> Maps:
    """A random relabelling of some spaces: nested elements follow their parents, free spaces are shuffled."""
    drawn = graph.group().random(generator).maps
    orders: Maps = {}
    for name in spaces:
        extent = graph.extent(name)
        if graph.lineage(name)[0].moves and name in drawn:
            orders[name] = drawn[name]
        else:
            orders[name] = Monomial(torch.randperm(extent, generator=generator))
    return orders


def _conjugated(maps: Mapping[str, SpaceElement], orders: Mapping[str, SpaceElement]) -> Maps:
    """π ρ π⁻¹ on every space that π relabels."""
    found: Maps = {}
    for name, order in orders.items():
        if name in maps:
            here = maps[name]
            device = here.weight.device if isinstance(here, LinearMap) else here.perm.device
            moved = on_device(order, device)
            found[name] = compose(compose(moved, here), moved.inverse())
    return found


def _print(images: Sequence[Maps], spaces: Sequence[str]) -> Tensor:
    """Numbers that tell maps of some spaces apart."""
    parts = []
    for maps in images:
        for name in spaces:
            here = maps.get(name)
            if here is None:
                continue
            point = torch.arange(1, here.size + 1, dtype=torch.float64)
            moved = on_device(here, torch.device("cpu")).apply(point.unsqueeze(0), 1, 1)
            parts.append((moved.flatten() * 1e6).round())
    return torch.cat(parts)
