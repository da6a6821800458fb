"""Relabelled decoys: is what a layer reads moved in the way that its weights know, or would any relabelling do?

A layer is a weight between two maps, ρ on what it reads and ρ on what it writes.  Its null keeps the weights and takes
the first map away: ρ on every space that it reads is conjugated by a random relabelling, π ρ π⁻¹ (the same cycles, on
other elements), and the best map of what it writes is solved for anew, as extraction does.  If the weights know nothing
of ρ, the action found and these decoys are exchangeable, and the rank of its error among theirs is a p-value:

    p = (1 + number of decoys with an error as small) / (1 + number of decoys).

So a layer in the middle is judged on what comes in, as a decoy of the whole network cannot: that one may leave the
middle as it is, without any error there.  Behind a layer that breaks the symmetry it is the outputs that say how a
layer must act, so the *backward* null relabels what a layer writes, and solves for what it reads.  Two limits: a space
of few elements has few relabellings, so its p-value stays large; and a space that ρ leaves as it is has none.

The error is that of weights, weighed by probes where there are any, and neuron by neuron by what is read of it:
(Σ_i s_i (1 - cos_i))^½, cos_i being the cosine of neuron i with its image (`measures.categories.similarity`) and s_i
its share of what readers get (`measures.needs`).  It is 0 for exact layers, σ for noise of σ, and 1 for unrelated ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from graphws.actions.groups.symmetry import is_identity
from graphws.actions.measures.categories import similarity
from graphws.actions.measures.layer_errors import Relabelled
from graphws.actions.measures.needs import needed_shares
from graphws.actions.problem import Maps, Problem, on_device
from graphws.actions.search.search import Candidate
from graphws.graph import LinearMap, Monomial, NetworkGraph
from graphws.graph.element import SpaceElement, compose
from graphws.matching import Family, Metric, assign_family, families, family_scores

RELABELLINGS = 19
"""Decoys of each layer; the smallest p-value is 1/20."""


def relabelled_errors(
    problem: Problem, best: Candidate, spaces: Sequence[str], *, generator: torch.Generator, backward: bool = False
) -> dict[str, Relabelled]:
    """The evidence for some layers, by the spaces that they write; none for one whose null has nothing to relabel.

    Args:
        problem: The problem.
        best: The action found.
        spaces: The layers.
        generator: Source of the relabellings.
        backward: Whether what a layer writes is relabelled, and what it reads solved for.
    """
    graph, found = problem.view.graph, dict[str, Relabelled]()
    known = {name: family for family in families(graph) for name in family.spaces}
    names = {space.name for space in graph.spaces}
    for space in spaces:
        if space in found or space not in names:
            continue
        family = known.get(space, Family(space, (space,)))
        evidence = _evidence(problem, best, family, known, generator, backward)
        if evidence is not None:
            found.update({name: evidence for name in family.spaces if name in spaces})
    return found


def _evidence(
    problem: Problem,
    best: Candidate,
    family: Family,
    known: Mapping[str, Family],
    generator: torch.Generator,
    backward: bool,
) -> Relabelled | None:
    """The evidence for what writes one family."""
    graph, metric = problem.view.graph, problem.metrics.get("probes", problem.metrics["weights"])
    read = _read_by(graph, family)
    moving = [name for name in (family.spaces if backward else read) if _is_moved(best, name)]
    if not moving or not read:
        return None
    sought = list(dict.fromkeys(known[name] for name in read if name in known)) if backward else [family]
    sought = [each for each in sought if each.root in known]
    shares = needed_shares(problem, family, problem.moments)
    chosen = [best.maps[g] for g in problem.placed.symmetry.generators.values()]
    marks, errors = [_fingerprint(chosen, moving)], list[float]()
    for _ in range(2 * RELABELLINGS):
        if len(errors) == RELABELLINGS:
            break
        orders = _relabelling(graph, moving, generator)
        images = [{**maps, **_conjugated(maps, orders)} for maps in chosen]
        mark = _fingerprint(images, moving)
        if any(torch.equal(mark, other) for other in marks):
            continue
        marks.append(mark)
        images = [{**maps, **_solved(problem, sought, family if backward else None, maps, metric)} for maps in images]
        errors.append(_error(problem, family, images, shares, metric))
    return Relabelled(_error(problem, family, chosen, shares, metric), tuple(sorted(errors)))


def _is_moved(best: Candidate, space: str) -> bool:
    return any(space in maps and not is_identity(maps[space]) for maps in best.maps)


def _error(problem: Problem, family: Family, images: Sequence[Maps], shares: Tensor, metric: Metric) -> float:
    """(Σ_i s_i (1 - cos_i))^½, the largest over generators."""
    gaps = [float((shares * (1 - similarity(problem, family, maps, metric).cpu())).sum()) for maps in images]
    largest: float = max(0.0, *gaps) ** 0.5
    return largest


def _solved(problem: Problem, sought: Sequence[Family], writer: Family | None, maps: Maps, metric: Metric) -> Maps:
    """The best maps of some families from what writes them, or from the weights by which another one reads them.

    No homomorphism is asked for, so decoys do at least as well as they could.
    """
    graph, found = problem.view.graph, Maps()
    for family in sought:
        known = {name: element for name, element in maps.items() if name not in family.spaces}
        if writer is not None:
            here = {name for name in known if name in writer.spaces or not graph.lineage(name)[0].moves}
            known = {name: element for name, element in known.items() if name in here}
        side: str = "in" if writer is None else "out"
        scores = family_scores(problem.view, problem.view, family, known, metric=metric, side=side)  # type: ignore[arg-type]
        if scores:
            solved = assign_family(problem.graph, family, scores)
            found |= {name: on_device(element, problem.weights.device) for name, element in solved.items()}
    return found


def _read_by(graph: NetworkGraph, family: Family) -> list[str]:
    """The other spaces on the weights that write a family."""
    found: dict[str, None] = {}
    for parameter in graph.parameters:
        if any(axis.space in family.spaces and axis.power >= 0 for axis in parameter.axes):
            found.update(dict.fromkeys(axis.space for axis in parameter.axes if axis.space not in family.spaces))
    return list(found)


def _relabelling(graph: NetworkGraph, spaces: Sequence[str], generator: torch.Generator) -> Maps:
    """A random relabelling of some spaces: nested elements follow their parents, bases are turned within them."""
    drawn: Mapping[str, SpaceElement] = {}
    if any(graph.space(name).parent is not None for name in spaces):
        drawn = graph.group().random(generator).maps
    orders: Maps = {}
    for name in spaces:
        extent = graph.extent(name)
        order = drawn.get(name) or Monomial(torch.randperm(extent, generator=generator))
        if graph.space(name).moves and graph.space(name).action.value == "linear":
            turns = torch.randn(extent // graph.space(name).size, *[graph.space(name).size] * 2, generator=generator)
            blocks = torch.linalg.qr(turns.double())[0]
            order = compose(order, LinearMap(torch.block_diag(*blocks)))
        orders[name] = order
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


def _fingerprint(images: Sequence[Maps], spaces: Sequence[str]) -> Tensor:
    """Numbers that tell maps of some spaces apart."""
    parts = []
    for maps in images:
        for here in (maps[name] for name in spaces if name in maps):
            point = torch.arange(1, here.size + 1, dtype=torch.float64).sqrt()
            moved = on_device(here, torch.device("cpu")).apply(point.unsqueeze(0), 1, 1)
            parts.append((moved.flatten() * 1e6).round())
    return torch.cat(parts)
