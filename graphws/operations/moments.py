"""The moment-map test: which rich action does each space really have?  Asked of the function, not of a table of names.

If a one-parameter group of scalings or matrices leaves every output alone, the derivative of every loss L along it
vanishes.  For an axis that a space labels in a parameter W, collect all of W's other axes in columns and let

    M = (∂L/∂W) W^T                                          (elements × elements of the space).

Moving the space by 1 + εX changes L by ε<X, M> through an axis of power 1, and by -ε<X^T, M> through one of power -1.
So, for all losses,

* *scaling* with exponents e (one for each axis) is a symmetry iff Σ e diag(M) = 0: the exponents are a null space;
* every *matrix* acts iff moreover Σ_{power 1} M - Σ_{power -1} M^T = 0 off the diagonal (inside each head);
* *signs* have no derivative; random ones are tried out.

Three things make such a test confirm what is false, and each is answered.  (1) A dead or saturated neuron has M = 0 and
agrees with everything: elements whose gradients vanish are not counted as seen, and a space with too few of them is
*unconfirmed*.  (2) A ReLU that is never off looks linear: the action is a claim about all weights, so it is tried at
weights disturbed by noise as well as at those given; what holds only here is reported apart.  (3) Rounding: residuals
are relative to ‖∂L/∂W‖ ‖W‖ of the element, not to M, which may cancel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphws.errors import GraphError, VerificationError
from graphws.graph.network import NetworkGraph
from graphws.graph.space import Action, Space
from graphws.graph.weights import Weights
from graphws.operations.moment_maps import Evidence, collect_evidence, exponent_basis
from graphws.operations.runner import outputs_of
from graphws.operations.signs import sign_errors
from graphws.operations.verify import Run
from graphws.shown import Shown

_PARTS = {  # what each action consists of
    Action.PERMUTATION: frozenset[str](),
    Action.SIGNED: frozenset({"signs"}),
    Action.SCALING: frozenset({"scaling"}),
    Action.MONOMIAL: frozenset({"signs", "scaling"}),
    Action.LINEAR: frozenset({"signs", "scaling", "matrices"}),
}
LOUDNESS = (0.5, 1.0, 2.0)
"""Noise of the disturbed weights, in turn, relative to each parameter's root mean square."""
FRESH = 0.1
"""What stands for the root mean square of a tensor of zeros, which would hide what multiplies it."""


@dataclass(frozen=True, repr=False)
class MeasuredAction(Shown):
    """What the moment maps say about one space.

    Attributes:
        space: Its name.
        claimed: The action that the graph claims.
        found: The largest action that holds at the given and at disturbed weights.
        here: The largest action that holds at the given weights; larger than `found` where neurons are never off, dead
            or in a linear regime.
        errors: Largest residual of ``scaling`` and ``matrices`` over elements seen, and relative change under
            ``signs``; NaN for what was not tried.
        seen: How many elements have gradients at some of the weights tried.
        alive: How many have them at the given weights.
        size: How many there are.
        exponents: A basis of the exponents under which scaling is a symmetry, each as (axis, exponent) pairs; an axis
            is written ``parameter.position``.
        idle: Axes through which nothing reaches the outputs (a key's bias under a softmax).
    """

    space: str
    claimed: Action
    found: Action
    here: Action
    errors: dict[str, float]
    seen: int
    alive: int
    size: int
    exponents: tuple[tuple[tuple[str, float], ...], ...]
    idle: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """``confirmed`` or ``refuted``; ``unconfirmed`` where more than half of the elements were never seen; ``plain``
        where only permutations are claimed, which are not on trial here (`graphws.operations.verify` tries them)."""
        if self.claimed is Action.PERMUTATION:
            return "plain"
        if 2 * self.seen < self.size:
            return "unconfirmed"
        return "confirmed" if _PARTS[self.claimed] <= _PARTS[self.found] else "refuted"

    def __str__(self) -> str:
        text = f"{self.space}: {self.claimed} {self.verdict}"
        if self.verdict == "unconfirmed":
            return f"{text} ({self.seen} of {self.size} elements have gradients)"
        errors = ", ".join(f"{name} {error:.1e}" for name, error in self.errors.items() if not math.isnan(error))
        larger = f", found {self.found}" if self.found is not self.claimed else ""
        here = f", {self.here} at these weights only" if self.here is not self.found else ""
        return f"{text}{larger}{here} ({errors}; {self.seen} of {self.size} elements seen, {self.alive} alive)"


def measure_actions(
    graph: NetworkGraph,
    weights: Weights,
    inputs: Tensor | None = None,
    *,
    generator: torch.Generator,
    run: Run | None = None,
    spaces: Sequence[str] | None = None,
    losses: int = 4,
    disturbances: int = 3,
    tolerance: float | None = None,
    beyond: bool = True,
) -> tuple[MeasuredAction, ...]:
    """Measures the action of every space that moves.

    Args:
        graph: The graph; powers of its axes say how each parameter claims to follow its spaces.
        weights: Networks to measure at; float64 for a sharp verdict.
        inputs: Points for `graphws.operations.forward`: data that exercises the network.
        generator: Source of random losses, signs and disturbances.
        run: Computes outputs from weights, differentiably, for networks that the graph cannot run itself.
        spaces: Names of the spaces to measure; all that move where None.
        losses: Random linear functions of the outputs, each one backward pass, at each of the weights.
        disturbances: How many disturbed weights are tried besides the given; 0 measures at these weights only.
        tolerance: Largest residual that counts as none; by dtype where None (1e-7, in float32 1e-3).
        beyond: Whether to look for more than a space claims.  Trying signs that are not claimed takes a run of the
            network for each space, and matrices a table of all pairs of elements, so a check of claims alone is much
            faster: its runs do not grow with the number of spaces.

    Raises:
        VerificationError: Without inputs and run, or where the outputs are not finite, do not depend on the weights or
            are not differentiable in them.
        GraphError: On an unknown space.
    """
    if run is None:
        if inputs is None:
            raise VerificationError("nothing to measure: give `inputs`, or `run`")
        points = inputs

        def run(candidate: Weights) -> Tensor:
            return outputs_of(graph, candidate, points)

    wanted = [graph.space(name) for name in spaces] if spaces is not None else [s for s in graph.spaces if s.moves]
    for space in wanted:
        if not space.moves:
            raise GraphError(f"space {space.name!r} is free: nothing acts on it")
    limit = tolerance if tolerance is not None else (1e-7 if weights.dtype == torch.float64 else 1e-3)
    trials = [weights] + [_disturbed(weights, LOUDNESS[k % 3], generator) for k in range(disturbances)]
    evidence: dict[str, list[Evidence]] = {space.name: [] for space in wanted}
    signs: dict[str, list[float]] = {space.name: [] for space in wanted}
    claimed = [space.name for space in wanted if "signs" in _PARTS[space.action]]
    others = [space.name for space in wanted if space.name not in claimed] if beyond else []
    for trial in trials:
        found = collect_evidence(
            graph, trial, run, [space.name for space in wanted], losses, generator,
            matrices=[space.name for space in wanted if beyond or space.action is Action.LINEAR],
        )  # fmt: skip
        errors = sign_errors(graph, trial, run, claimed, limit, generator)
        errors |= sign_errors(graph, trial, run, others, limit, generator, together=False)
        for space in wanted:
            evidence[space.name].append(found[space.name])
            signs[space.name].append(errors.get(space.name, math.nan))
    return tuple(_judge(space, evidence[space.name], signs[space.name], limit) for space in wanted)


def settle_actions(graph: NetworkGraph, measured: Sequence[MeasuredAction]) -> NetworkGraph:
    """The graph with every refuted or unconfirmed action reduced to what was found; the reason says so.

    Confirmed claims stay as they are, also where more was found: a larger action needs powers that fit.

    Args:
        graph: The graph that was measured.
        measured: What `measure_actions` gave.
    """
    changed: dict[str, Space] = {}
    for finding in measured:
        if finding.verdict in ("confirmed", "plain"):
            continue
        space = graph.space(finding.space)
        parts = _PARTS[finding.claimed] & _PARTS[finding.found] if finding.verdict == "refuted" else frozenset[str]()
        action = _action(parts)
        note = f"{finding.claimed} {finding.verdict} by the moment-map test"
        reason = f"{space.reason}; {note}" if space.reason else note
        changed[space.name] = replace(space, action=action, reason=reason)
    return replace(graph, spaces=tuple(changed.get(space.name, space) for space in graph.spaces))


def _disturbed(weights: Weights, loudness: float, generator: torch.Generator) -> Weights:
    """Weights with noise; tensors without negative entries (scales, variances) keep none, fresh zeros get some."""

    def shake(tensor: Tensor) -> Tensor:
        if not (tensor.is_floating_point() or tensor.is_complex()) or not tensor.numel():
            return tensor
        noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype, device=tensor.device)
        if not tensor.is_complex() and bool((tensor > 0).all()):
            return tensor * torch.exp(0.5 * loudness * noise)
        size = tensor.abs().square().mean().sqrt()
        return tensor + loudness * torch.where(size > 0, size, FRESH) * noise

    return weights.map(lambda tensor: shake(tensor.detach()))


def _judge(space: Space, evidence: Sequence[Evidence], signs: Sequence[float], limit: float) -> MeasuredAction:
    """The verdict on one space; the first piece of evidence is from the given weights."""
    seen = torch.stack([piece.alive for piece in evidence]).any(0)
    names = evidence[0].axes
    everywhere, here = _errors(evidence, signs), _errors(evidence[:1], signs[:1])
    basis, idle = exponent_basis(evidence, limit)
    return MeasuredAction(
        space.name,
        space.action,
        _action(_holding(everywhere, limit)),
        _action(_holding(here, limit)),
        everywhere,
        int(seen.sum()),
        int(evidence[0].alive.sum()),
        len(seen),
        tuple(tuple((names[k], e) for k, e in row.items()) for row in basis),
        tuple(names[k] for k in idle),
    )


def _errors(evidence: Sequence[Evidence], signs: Sequence[float]) -> dict[str, float]:
    scaling = [piece.scaling_error for piece in evidence if piece.alive.any()]
    matrices = [piece.matrix_error for piece in evidence if piece.alive.any()]
    return {
        "signs": max(signs) if not any(map(math.isnan, signs)) else math.nan,
        "scaling": max(scaling, default=math.nan),
        "matrices": max(matrices, default=math.nan),
    }


def _holding(errors: dict[str, float], limit: float) -> frozenset[str]:
    return frozenset(name for name, error in errors.items() if error <= limit)  # NaN does not hold


def _action(parts: frozenset[str]) -> Action:
    """The largest action that consists of these parts."""
    if {"scaling", "matrices"} <= parts:
        return Action.LINEAR
    return next(
        action
        for action in (Action.MONOMIAL, Action.SCALING, Action.SIGNED, Action.PERMUTATION)
        if _PARTS[action] <= parts
    )
