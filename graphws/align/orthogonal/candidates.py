"""Matches of streams beside the other ways to bring two networks together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.align.candidates import Candidate, Halfway
from graphws.align.orthogonal.matching import StreamMatch, has_streams, match_streams
from graphws.align.orthogonal.refinement import refine as refined
from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Weights
from graphws.operations.plan import why_not
from graphws.operations.rms_form import rms_form
from graphws.reporter import Reporter


@dataclass(frozen=True, eq=False)
class Tried:
    """A match of streams, as networks of the graph that both came in.

    Attributes:
        candidate: What it is worth.
        match: The match.
        met: The first network.
        aligned: The second one, moved.
        rival: Distance, measured as the candidate's, of the best alignment without streams.
    """

    candidate: Candidate
    match: StreamMatch
    met: Weights
    aligned: Weights
    rival: float


def stream_candidates(
    first: Weights,
    second: Weights,
    rival: Weights,
    objective: Halfway | None,
    points: tuple[Tensor, Tensor | None] | None,
    generator: torch.Generator | None,
    restarts: int,
    reporter: Reporter | None = None,
) -> list[Tried]:
    """The match of streams and, with points to learn on, what becomes of it.

    Args:
        first: The network to be met.
        second: The network to be moved.
        rival: The second network, aligned without orthogonal maps.
        objective: Decides between candidates; None where distances do.
        points: Inputs to learn on, and their classes or None.
        generator: As for `match_streams`; a fixed one learns where None.
        restarts: As for `match_streams`.
        reporter: Hears of the steps of learning.

    Raises:
        GraphError: With the reason, on graphs without streams, and where the RMS form has parameters that the graph has
            no place for.
    """
    if not has_streams(first.graph):
        raise GraphError(f"this graph has no residual stream that orthogonal maps may move{_why_no_stream(first)}")
    match = match_streams(first, second, generator=generator, restarts=restarts)
    met = match.form.restored(match.met)
    found = [_tried(match, met, rival, objective, "streams")]
    if points is not None:
        learner = generator if generator is not None else torch.Generator().manual_seed(0)
        learned = refined(match, *points, generator=learner, reporter=reporter).match
        found.append(_tried(learned, met, rival, objective, "refined"))
    return found


def has_residual(graph: NetworkGraph) -> bool:
    """Whether a graph that runs has a residual stream that norms read, whatever may move it."""
    if why_not(graph) or not any(step.kind in ("layer_norm", "rms_norm", "rsqrt") for step in graph.operations):
        return False
    return any(space.role == "residual" for space in graph.spaces)


def _why_no_stream(weights: Weights) -> str:
    reason = why_not(weights.graph)
    if reason:
        return f": it is not run ({reason})"
    kept = rms_form(weights).kept
    return "".join(f": {name!r} stays, since {reason}" for name, reason in list(kept.items())[:1])


def _tried(match: StreamMatch, met: Weights, rival: Weights, objective: Halfway | None, how: str) -> Tried:
    aligned = match.form.restored(match.aligned)
    value = None if objective is None else objective.meeting(met)(aligned)
    candidate = Candidate(how, "least norm", _distance(match, match.aligned), value)  # type: ignore[arg-type]
    return Tried(candidate, match, met, aligned, _distance(match, rms_form(rival).weights))


def _distance(match: StreamMatch, second: Weights) -> float:
    """‖A - B‖² / (‖A‖² + ‖B‖²) in RMS form, where A has least norm and every parameter counts the same."""
    ours, theirs = (match.gauge.act(each) for each in (match.met, second))
    gap = size = 0.0
    for name, tensor in ours.items():
        both = float(tensor.square().sum()) + float(theirs[name].square().sum())
        if tensor.is_floating_point() and both > 0:
            gap += float((tensor - theirs[name]).square().sum()) / both
            size += 1
    return gap / size if size else 0.0
