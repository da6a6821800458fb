"""The search for latent actions: three starts, each kept and refined, and the best from the ends on.

Matching a network with its own transformed copy has two traps.  Both sides share the network's noise, so the identity
is rewarded by σ² tr(k); hence no start from the identity, and σ̂² tr(k) is taken off the scores in the refinement.  And
a sum over layers can be gamed by making the middle layers exactly 0; so a layer counts with the largest error on the
way to it from an end, from the inputs or from outputs that the group moves (`graphws.actions.verdict.reached_layers`).
What is compared is their geometric mean: where one layer breaks a symmetry, exact layers before it are worth more than
a compromise on all.

Starts: a pass from the inputs on the weights; the same weighted by what reaches each layer; the covariance of
activations at x and at g·x.  Without probes only the first is there.  Where the best of them breaks and the outputs
move, a pass from the outputs back comes on top, joined to it at every place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.computation.features import features_of
from graphws.actions.measures.equivariance import errors_of_layers, layer_of_parameter
from graphws.actions.problem import Maps, Problem, on_device
from graphws.actions.search.projection import homomorphism
from graphws.actions.verdict.reached_layers import given_ends, moved_outputs, reached_layers, reads_of_layers
from graphws.errors import UsageError
from graphws.graph import Action, LinearMap
from graphws.matching import Family, Metric, Score, families, family_scores, solving_order
from graphws.matching.match import same_map
from graphws.matching.scores import Side

_EXACT, _BROKEN = 1e-6, 0.3
"""Errors of layers below which all are alike, and above which they are broken."""
_STEP = 0.01
"""Share of the noise that a matrix may still move by when the refinement has converged."""
_GAIN = 1e-3
"""Least closeness, as a mean over layers (1 where they are left alone), that a sweep must gain for another to follow.

What finds an action gains ten times as much in a sweep and settles in two or three; below, relabellings fit noise, and
where no action is there to be found that goes on for dozens of sweeps.
"""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One answer to a problem.

    Attributes:
        name: Where it came from: its start, and how it was refined.
        maps: For each element of the group the map of every space, free ones included.
        unmatched: For each root space which of its elements stayed unmatched.
    """

    name: str
    maps: tuple[Maps, ...]
    unmatched: dict[str, Tensor]


def search(problem: Problem, *, generator: torch.Generator, sweeps: int = 30) -> Candidate:
    """The best candidate.

    Args:
        problem: What is looked for.
        generator: Order of the refinement.
        sweeps: At most so many rounds of each refinement.

    Raises:
        UsageError: Where the network has no space that could carry an action.
    """
    if not families(problem.graph):
        raise UsageError("the network has no hidden space that anything may act on")
    starts = [start_forward(problem, metric) for metric in problem.metrics]
    if problem.runs:
        starts.append(start_activations(problem))
    candidates = list(starts)
    for start in starts:
        for metric in problem.metrics:
            candidates.append(refine(problem, start, metric, generator=generator, sweeps=sweeps))
    links = reads_of_layers(problem), given_ends(problem)
    found = {id(candidate): linked_errors(problem, candidate, *links) for candidate in candidates}
    best = min(candidates, key=lambda candidate: _cost(found[id(candidate)]))
    if max(found[id(best)].values(), default=0.0) <= _BROKEN or not moved_outputs(problem):
        return best
    joined = [best, *_joined(problem, best, start_backward(problem, best))]
    return min(joined, key=lambda candidate: _cost(linked_errors(problem, candidate, *links)))


def linked_errors(
    problem: Problem, candidate: Candidate, reads: Mapping[str, set[str]], given: set[str]
) -> dict[str, float]:
    """The least that the largest error of layers must be for each to be linked to an end; on probes if there are any.

    One that is linked to none in any way counts with the largest error of all.  From the outputs back only layers that
    are not broken link: behind a break some are exact in any case, where nothing says how they must act.
    """
    errors = errors_of_layers(problem, candidate.maps)
    linked: dict[str, float] = {}
    for level in sorted(set(errors.values())):
        good = {space for space, error in errors.items() if error <= level}
        back = {space for space in good if errors[space] <= _BROKEN}
        for space in reached_layers(good, reads, given, back) - set(linked):
            linked[space] = level
    return {space: linked.get(space, max(errors.values())) for space in errors}


def _cost(linked: Mapping[str, float]) -> tuple[float, float]:
    """The mean logarithm, to two decimals, and the sum; below `_EXACT` all errors are alike."""
    logs = [math.log(max(error, _EXACT)) for error in linked.values()]
    return round(sum(logs) / len(logs), 2), sum(linked.values())


def _joined(problem: Problem, ahead: Candidate, back: Candidate) -> list[Candidate]:
    """For every place in the order of solving one candidate before it, and the other behind."""
    order = solving_order(problem.view.graph)
    found = []
    for cut in range(len(order)):
        later = {name for family in order[cut:] for name in family.spaces}
        maps = tuple(
            {name: (theirs if name in later else ours)[name] for name in ours}
            for ours, theirs in zip(ahead.maps, back.maps, strict=True)
        )
        roots = {family.root for family in order[cut:]}
        unmatched = {name: (back if name in roots else ahead).unmatched[name] for name in ahead.unmatched}
        found.append(Candidate(f"{ahead.name}; {back.name} from {order[cut].root} on", maps, unmatched))
    return found


def start_backward(problem: Problem, ahead: Candidate) -> Candidate:
    """One pass against the graph, each family from what reads it, down from the outputs.

    Args:
        problem: What is looked for.
        ahead: What is taken for families that nothing solved so far says anything about.
    """
    metric = problem.metrics.get("probes", problem.metrics["weights"])
    known = [dict(maps) for maps in problem.fixed]
    unmatched: dict[str, Tensor] = {}
    for family in reversed(solving_order(problem.view.graph)):
        scores = _scores(problem, family, known, metric, side="out")
        if all(scores[1:]):
            _solve(problem, family, scores, known, unmatched)
            continue
        unmatched[family.root] = ahead.unmatched[family.root]
        for here, theirs in zip(known, ahead.maps, strict=True):
            here.update({name: theirs[name] for name in family.spaces})
    return Candidate("backward", tuple(known), unmatched)


def start_forward(problem: Problem, metric: str) -> Candidate:
    """One pass over the graph, each family from what feeds it."""
    known = [dict(maps) for maps in problem.fixed]
    unmatched: dict[str, Tensor] = {}
    for family in solving_order(problem.view.graph):
        scores = _scores(problem, family, known, problem.metrics[metric], side="in")
        _solve(problem, family, scores, known, unmatched)
    return Candidate(f"forward, {metric}", tuple(known), unmatched)


def start_activations(problem: Problem) -> Candidate:
    """Each space on its own, from the covariance of its activations at g·x and at x."""
    graph, features = problem.graph, features_of(problem.graph)
    known = [dict(maps) for maps in problem.fixed]
    unmatched: dict[str, Tensor] = {}
    carried: dict[str, str] = {}
    latent = {each.value: features[each.value] for each in problem.layers if each.value in features}
    for value, found in latent.items():
        if found.power > 0:
            carried[found.space] = value
    for value, found in features.items():
        if found.space not in carried and found.power > 0 and value not in problem.placed.lost:
            carried[found.space] = value
    for family in solving_order(problem.view.graph):
        scores: list[dict[str, Score]] = [{} for _ in known]
        for name in family.spaces:
            if name not in carried:
                continue
            signed = graph.space(name).action in (Action.SIGNED, Action.MONOMIAL)
            base = problem.runs[0][carried[name]]
            for g in range(1, problem.order):
                here = problem.runs[g][carried[name]].flatten(0, -2)
                there = problem.placed.move_positions(g, carried[name], base).flatten(0, -2)
                if not signed:
                    here, there = here - here.mean(0), there - there.mean(0)
                product = here.mT @ there
                scores[g][name] = Score(product, torch.zeros_like(product))
        if not any(scores):
            scores = _scores(problem, family, known, problem.metrics["probes"], side="in")
        _solve(problem, family, scores, known, unmatched)
    return Candidate("activations", tuple(known), unmatched)


def refine(
    problem: Problem, start: Candidate, metric: str, *, generator: torch.Generator, sweeps: int = 30
) -> Candidate:
    """Debiased coordinate descent under the constraint that the maps are a homomorphism.

    It has converged when matrices move by less than a hundredth of the noise in them, and no element goes elsewhere or
    what is gained by that is no more than noise gives, `_GAIN`.
    """
    known, unmatched = [dict(maps) for maps in start.maps], dict(start.unmatched)
    open_families = families(problem.graph)
    layers = len(set(layer_of_parameter(problem.view.graph).values()))
    for _ in range(sweeps):
        moved, turned, gained = False, False, 0.0
        for index in torch.randperm(len(open_families), generator=generator).tolist():
            family = open_families[index]
            noise = _noise(problem, known, family)
            scores = _scores(problem, family, known, problem.metrics[metric], noise=noise)
            before = [{name: maps[name] for name in family.spaces} for maps in known]
            gained -= _worth(scores, known)
            _solve(problem, family, scores, known, unmatched)
            gained += _worth(scores, known)
            step = _STEP * _relative(problem, noise)
            moved |= any(not _alike(old, new) for old, new in zip(before, known, strict=True))
            turned |= any(not _close(old, new, step) for old, new in zip(before, known, strict=True))
        if not turned and not (moved and gained > _GAIN * layers):
            break
    return Candidate(f"{start.name}; refined, {metric}", tuple(known), unmatched)


def _scores(
    problem: Problem,
    family: Family,
    known: Sequence[Maps],
    metric: Metric,
    *,
    side: Side = "both",
    noise: dict[str, float] | None = None,
) -> list[dict[str, Score]]:
    """For each element of the group the scores of a family of the network against its own image.

    From one side alone the family's own maps are not known yet; where that side says nothing, both count.
    """
    found: list[dict[str, Score]] = [{}]
    for g in range(1, problem.order):
        alone = side != "both"
        maps = {name: element for name, element in known[g].items() if not (alone and name in family.spaces)}
        here = problem.view
        scores = family_scores(here, here, family, maps, metric=metric, side=side, noise=noise)
        if not scores:
            scores = family_scores(here, here, family, maps, metric=metric, noise=noise)
        found.append(scores)
    return found


def _solve(
    problem: Problem,
    family: Family,
    scores: Sequence[dict[str, Score]],
    known: list[Maps],
    unmatched: dict[str, Tensor],
) -> None:
    """Projects scores and writes the maps into `known`; assignment runs on the CPU."""
    local = [{name: Score(s.odd.cpu(), s.even.cpu()) for name, s in each.items()} for each in scores]
    maps, alone = homomorphism(problem.graph, family, local, problem.table)
    unmatched[family.root] = alone
    for here, found in zip(known, maps, strict=True):
        here.update({name: on_device(element, problem.weights.device) for name, element in found.items()})


def _noise(problem: Problem, known: Sequence[Maps], family: Family) -> dict[str, float]:
    """Variance of what the current maps leave unexplained in each parameter that the family labels."""
    graph, weights = problem.view.graph, problem.view
    variances = {}
    for parameter in graph.parameters:
        if not set(parameter.spaces) & set(family.spaces):
            continue
        tensor, gaps = weights[parameter.name], []
        for g in range(1, problem.order):
            gaps.append(float((image(problem, parameter.name, known[g]) - tensor).square().mean()) / 2)
        variances[parameter.name] = min(sum(gaps) / len(gaps), float(tensor.square().mean())) if gaps else 0.0
    return variances


def image(problem: Problem, parameter: str, maps: Maps) -> Tensor:
    """ρ(g)·θ for one parameter."""
    tensor = problem.view[parameter]
    for k, axis in enumerate(problem.view.graph.parameter(parameter).axes):
        if axis.space in maps:
            tensor = maps[axis.space].apply(tensor, k + 1, axis.power)
    return tensor


def _relative(problem: Problem, noise: Mapping[str, float]) -> float:
    """The largest standard deviation of the noise, relative to the root mean square of its parameter."""
    shares = [variance / float(problem.view[name].square().mean()) for name, variance in noise.items() if variance > 0]
    relative: float = max(shares, default=0.0) ** 0.5
    return relative


def _worth(scores: Sequence[Mapping[str, Score]], known: Sequence[Maps]) -> float:
    """The closeness of the maps of a family, as its scores see it: the mean over the group's other elements."""
    found = [score.worth(maps[name]) for each, maps in zip(scores, known, strict=True) for name, score in each.items()]
    return sum(found) / max(1, len(scores) - 1)


def _alike(old: Maps, new: Maps) -> bool:
    """Whether all sets are mapped alike."""
    return all(isinstance(k, LinearMap) or same_map(k, new[name]) for name, k in old.items())


def _close(old: Maps, new: Maps, step: float) -> bool:
    """Whether linear spaces are mapped alike, up to a relative `step`."""
    for name, element in old.items():
        if isinstance(element, LinearMap):
            before, after = element.matrix(), new[name].matrix()
            if float((after - before).norm()) > max(step, 1e-8) * float(before.norm()):
                return False
    return True
