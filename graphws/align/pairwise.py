"""Two networks: the element that brings the second to the first.

Three sources of evidence, one way of solving.  Every space is an assignment problem (or, for a linear space, a
Procrustes problem) on scores that say how well element i of the one answers to element j of the other:

* ``weights``: scores from the weights themselves, found by coordinate descent (the weight matching of git re-basin,
  Ainsworth et al. 2023, for any graph and the rich actions too);
* ``activations``: correlations of what the spaces carry on given inputs, for graphs that graphws can run;
* ``attributions``: correlations of how much each element takes part in random functions of the outputs, the diagonal
  of its moment map.  That needs no more than outputs differentiable in the weights: any converted network has them.

Scales and bases are brought to one gauge first, so a ReLU network whose neurons were scaled up and down aligns exactly.
Coordinate descent depends on where it starts, so it starts from a forward pass over the graph, from the order in which
the networks came, and from random orders; the closest result is kept.

The rich group contains the permutations, and a best match of its own need not give the better mean: permutations and no
alignment at all are tried beside it, and `graphws.align.candidates` says which is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from graphws.align.candidates import EQUAL, Candidate, Halfway, Matching, Objective, best
from graphws.align.evidence import Values, activation_maps, attribution_maps, with_signs
from graphws.align.objective import check_pair, climb, closeness, standing
from graphws.align.orthogonal.candidates import Tried, has_residual, stream_candidates
from graphws.align.orthogonal.matching import StreamMatch
from graphws.align.pair import Match, Pair
from graphws.errors import GraphError, UsageError, nearest
from graphws.graph import GroupElement, Weights
from graphws.graph.element import SpaceElement
from graphws.graph.group import Richness
from graphws.matching import agreement, match_forward
from graphws.matching.metric import Metric
from graphws.operations.latents import latents
from graphws.operations.verify import Run
from graphws.reporter import Reporter
from graphws.shown import Shown

Method = Literal["weights", "activations", "attributions"]


@dataclass(frozen=True, eq=False, repr=False)
class Alignment(Shown):
    """What `align` found.

    Attributes:
        element: Brings the second network to the first; an element of the graph's group.
        aligned: The second network, moved: it computes what it did.
        method: Where the evidence came from.
        record: Closeness of the weights at the start and after every sweep of the winning descent, which never falls;
            of the result alone for the other methods.
        before: Agreement of each parameter before: 1 - ‖A - B‖² / (‖A‖² + ‖B‖²).
        after: The same after.
        candidates: All that was tried.
        kept: Which of them this is.
        met: The first network as the second one answers to it, where that is another form than it came in: the same
            function on the same graph, scales and shifts of norms folded into what reads them.
        streams: How residual streams were brought together, where that was kept; ``element`` then acts on networks in
            RMS form (`graphws.operations.rms_form`), orthogonal on streams.
        notes: Why the maps of a residual stream were not tried, where there is one.
    """

    element: GroupElement
    aligned: Weights
    method: Method
    record: tuple[float, ...]
    before: dict[str, float]
    after: dict[str, float]
    candidates: tuple[Candidate, ...] = ()
    kept: int = 0
    met: Weights | None = None
    streams: StreamMatch | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        kept = f", kept: {self.candidates[self.kept]} of {len(self.candidates)} tried" if self.candidates else ""
        return f"Alignment(by {self.method}, {len(self.element.maps)} spaces moved{kept})"


def align(
    first: Weights,
    second: Weights,
    *,
    method: Method = "weights",
    inputs: Tensor | None = None,
    run: Run | None = None,
    values: Values | None = None,
    actions: Richness = "rich",
    generator: torch.Generator | None = None,
    restarts: int = 2,
    sweeps: int = 50,
    balanced: bool = True,
    objective: Objective | None = None,
    refine: tuple[Tensor, Tensor | None] | None = None,
    reporter: Reporter | None = None,
) -> Alignment:
    """Brings the second network to the first.

    A mean of aligned networks averages their batch-norm statistics too, which then belong to no network: measure them
    anew (`graphws.align.remeasure`) before it is used.

    Laws: ``aligned`` computes what ``second`` computes; a network that is the first one moved by any element comes back
    to it, but for elements that nothing tells apart.

    Where norms read a residual stream (transformers), orthogonal maps of it are tried beside all else, as
    `graphws.align.orthogonal` describes.  Then both networks are met in another form of the same functions:
    ``Alignment.met`` is the first in it.  An ``objective`` that is no `halfway` knows the first network as it came
    only, and streams are not tried under it.

    Args:
        first: The network to be met, a batch of one.
        second: The network to be moved, of the same graph.
        method: ``weights``, ``activations`` or ``attributions``.
        inputs: Points for ``activations``: data that the networks know.
        values: What the spaces carry on such data, in place of ``inputs``, for networks that
            `graphws.operations.forward` does not run; `graphws.actions.computation.values` has it for all that run.
        run: Outputs from weights on such data, for ``attributions``.
        actions: The rich actions of the graph, or its permutations only.
        generator: Order of the descent, random starts and random functions; the graph's order and none where None.
        restarts: Random starts of ``weights``, besides the two fixed ones; they need a generator.
        sweeps: At most so many sweeps of a descent.
        balanced: Every layer counts the same; else every number does, as in git re-basin, and wide layers decide.
        objective: Decides between the candidates: smaller is better.  `halfway` is the loss of the mean; where
            None, the distance of the weights decides.
        refine: Points, and their classes or None: from the match of streams on, the element is learned by gradient so
            that the network halfway has a small loss there.  Points for learning, not those of a measurement.
        reporter: Hears of the steps of that.

    Raises:
        GraphError: On different graphs, batches other than one, or a space that nothing speaks about.
        UsageError: On an unknown method, or one without the inputs, run or generator that it needs.
    """
    check_pair(first, second)
    if method not in get_args(Method):
        raise UsageError(
            f"method must be one of {', '.join(get_args(Method))}; got {method!r}" + nearest(method, get_args(Method))
        )
    midpoint = objective if isinstance(objective, Halfway) else None
    streams = method == "weights" and actions == "rich" and midpoint is objective
    if refine is not None and not streams:
        raise UsageError("refine: takes method 'weights', rich actions, and as objective none or `halfway`")
    pair = Pair.of(first, second, actions, balanced)
    if method == "weights":
        matches = _by_weights(pair, generator, restarts, sweeps)
    elif method == "activations":
        if values is None and inputs is None:
            raise UsageError("activations are those on some data: give inputs")
        known = activation_maps(*pair.given_at("unit norm"), values or _carried(inputs))
        matches = iter([_completed(pair, "activations", known, signs=False)])
    else:
        if run is None or generator is None:
            raise UsageError("attributions are those of outputs: give run and a generator")
        known = attribution_maps(*pair.given_at("unit norm"), run, generator)
        matches = iter([_completed(pair, "attributions", known, signs=True)])
    tried: list[tuple[Candidate, GroupElement, Match]] = []
    for match in _and_none(pair, matches):
        for gauge in pair.gauges(match):
            element = pair.element(match.element, gauge)
            moved = element.act(second)
            value = None if objective is None else float(objective(moved))
            tried.append((Candidate(match.matching, gauge, pair.yardstick.distance(moved), value), element, match))
        if tried[-1][0].distance < EQUAL:
            break
    candidates = tuple(candidate for candidate, _, _ in tried)
    kept = best(candidates)
    _, element, match = tried[kept]
    aligned = element.act(second)
    plain = Metric()
    found = Alignment(
        element,
        aligned,
        method,
        match.record,
        agreement(first, second, plain),
        agreement(first, aligned, plain),
        candidates,
        kept,
    )
    if not streams or (candidates[kept].distance < EQUAL and refine is None):
        return found
    tries, notes = _streams(found, [first, second], midpoint, refine, generator, restarts, reporter)
    found = replace(found, notes=notes)
    if candidates[kept].distance < EQUAL or not tries:
        return found
    return _better(found, [first, second], tries)


def _streams(
    found: Alignment,
    networks: list[Weights],
    objective: Halfway | None,
    refine: tuple[Tensor, Tensor | None] | None,
    generator: torch.Generator | None,
    restarts: int,
    reporter: Reporter | None,
) -> tuple[list[Tried], tuple[str, ...]]:
    """What matches of streams come to, or why there is none: an error where one was asked for."""
    try:
        tries = stream_candidates(
            networks[0], networks[1], found.aligned, objective, refine, generator, restarts, reporter
        )
        return tries, ()
    except GraphError as error:
        if refine is not None:
            raise UsageError(f"refine: {error}") from error
        told = has_residual(networks[0].graph)
        return [], (f"no orthogonal map of the residual stream was tried: {error}",) * told


def _better(found: Alignment, networks: list[Weights], tries: list[Tried]) -> Alignment:
    """The alignment of streams, where it is better than what was found without."""
    candidates = (*found.candidates, *(tried.candidate for tried in tries))
    number = found.candidates[found.kept]
    kept = None
    for tried in tries:
        mine = tried.candidate
        better = mine.distance < tried.rival if mine.objective is None or number.objective is None else (
            mine.objective < number.objective
        )  # fmt: skip
        if better or (kept is not None and mine.matching == "refined" and mine.objective is None):
            kept, number = tried, mine
    if kept is None:
        return replace(found, candidates=candidates)
    return Alignment(
        kept.match.element,
        kept.aligned,
        found.method,
        kept.match.record,
        agreement(networks[0], networks[1], Metric()),
        agreement(kept.met, kept.aligned, Metric()),
        candidates,
        candidates.index(kept.candidate),
        kept.met,
        kept.match,
    )


def _carried(inputs: Tensor | None) -> Values:
    assert inputs is not None
    points = inputs
    return lambda weights: latents(weights.graph, weights, points)


def _by_weights(pair: Pair, generator: torch.Generator | None, restarts: int, sweeps: int) -> Iterator[Match]:
    """With all actions at both gauges, then with permutations only."""
    found = None
    for matching in pair.matchings:
        ours, theirs, metric = pair.at(matching)
        starts = [match_forward(ours, theirs, metric=metric), standing(ours)]
        if found is not None and matching == "least norm":
            starts.append(found)
        if generator is not None:
            group = ours.graph.group()
            starts += [group.random(generator, dtype=ours.dtype) for _ in range(restarts)]
        runs = [climb(ours, theirs, start, metric, generator, sweeps) for start in starts]
        found, record = max(runs, key=lambda run: run[1][-1])
        yield Match(matching, found, tuple(record))


def _completed(pair: Pair, matching: Matching, known: Mapping[str, SpaceElement], signs: bool) -> Match:
    """What evidence says, and weights about the rest."""
    ours, theirs, metric = pair.at("unit norm")
    found = match_forward(ours, theirs, fixed=known, metric=metric)
    if signs:
        found = with_signs(ours, theirs, found, metric)
    return Match(matching, found, (closeness(ours, found.act(theirs), metric),))


def _and_none(pair: Pair, matches: Iterator[Match]) -> Iterator[Match]:
    yield from matches
    ours, theirs, metric = pair.at("permutation")
    yield Match("none", GroupElement(ours.graph), (closeness(ours, theirs, metric),))
