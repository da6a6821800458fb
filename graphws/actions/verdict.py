"""The verdict: what the figures license one to say, in words.

A layer's action counts as

* *exact*, where its K-error is below 1e-6;
* *found*, where it is below 0.15 and at most half of every decoy's (by weight errors, where decoys act on weights
  alone), or where at least half of its neurons are matched, three times as many as under any decoy;
* *linear only*, where neither holds but a linear action explains it (GL-error below 0.15);
* *none* otherwise.

An action is one on all layers at once.  A decoy can always leave the middle of a network in place, without any error
there, and pay for it at the ends; so where the *largest* error of all layers is exact, or below 0.3 and at most half
of every decoy's largest, layers count as exact, or as found below 0.15, whatever decoys reach on single ones.

A network whose function is not equivariant end to end gets no action at all: what matching finds then is noise.  It is
equivariant on probes where its error is below every decoy's and at most 0.3; up to 0.5 (an unrelated function has √2),
if it is also at most half of every decoy's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from graphws.actions.figures import LayerFigures

Outcome = Literal["exact action", "action found", "action in part", "no action found"]
LayerOutcome = Literal["exact", "found", "linear only", "none", "output"]

EXACT, SMALL = 1e-6, 0.15
EQUIVARIANT, CALIBRATED = 0.3, 0.5
HALF, TIMES = 0.5, 3.0


@dataclass(frozen=True)
class Verdict:
    """The conclusion.

    Attributes:
        outcome: In three words.
        text: In a few sentences.
        layers: The outcome of each layer, by space.
    """

    outcome: Outcome
    text: str
    layers: Mapping[str, LayerOutcome] = field(default_factory=dict)


def judge_layer(layer: LayerFigures) -> LayerOutcome:
    """The outcome of one hidden layer."""
    rival = layer.best_rival
    if layer.k_error <= EXACT and (rival is None or rival.k_error > 10 * EXACT):
        return "exact"
    beside = layer.weight_error if rival is not None and rival.weights else layer.k_error
    close = layer.k_error <= SMALL and (rival is None or 2 * beside < rival.k_error)
    many = layer.matched >= HALF and (rival is None or layer.matched >= TIMES * rival.matched)
    if close or many:
        return "found"
    if layer.gl_error is not None and layer.gl_error <= SMALL:
        return "linear only"
    return "none"


def judge_together(layers: Sequence[LayerFigures]) -> Literal["exact", "found"] | None:
    """What the largest errors of a network's layers say of all of them; None where they decide nothing."""
    worst = max((layer.k_error for layer in layers), default=0.0)
    names = {name for layer in layers for name in layer.rivals}
    if not names:
        return None
    exact, close = worst <= EXACT, worst <= EQUIVARIANT
    for name in names:
        reached = [layer for layer in layers if name in layer.rivals]
        rival = max(layer.rivals[name].k_error for layer in reached)
        in_weights = any(layer.rivals[name].weights for layer in reached)
        beside = max(layer.weight_error if in_weights else layer.k_error for layer in reached)
        exact, close = exact and rival > 10 * EXACT, close and 2 * beside < rival
    return "exact" if exact else "found" if close else None


def _within(layer: LayerFigures, together: Literal["exact", "found"] | None) -> Literal["exact", "found"] | None:
    """What the network's largest errors say of one layer."""
    return None if together == "found" and layer.k_error > SMALL else together


def judge(
    group: str,
    hidden: Sequence[LayerFigures],
    end_to_end: float | None,
    decoys_end_to_end: Sequence[float] = (),
    ends: Sequence[LayerFigures] = (),
) -> Verdict:
    """The verdict on a network.

    Args:
        group: Name of the group.
        hidden: The figures of its hidden layers, in order.
        end_to_end: Error of the whole function; None without probes.
        decoys_end_to_end: The decoys' errors.
        ends: The figures of the layers whose action is given, as that of the outputs is.
    """
    together = judge_together([*hidden, *ends])
    outcomes = {layer.space: _within(layer, together) or judge_layer(layer) for layer in hidden}
    against_function = _not_equivariant(end_to_end, decoys_end_to_end)
    if against_function:
        text = f"No action found: {against_function}."
        return Verdict("no action found", text, {layer.space: "none" for layer in hidden})
    good = [layer for layer in hidden if outcomes[layer.space] in ("exact", "found")]
    whole = f" End to end the function changes by {end_to_end:.2g} of its spread." if end_to_end is not None else ""
    if hidden and len(good) == len(hidden):
        worst = max(layer.k_error for layer in hidden)
        measured = all(layer.rivals for layer in hidden)
        against = "; no decoy does as well" if measured else "; there is no decoy to compare with"
        if all(outcome == "exact" for outcome in outcomes.values()):
            return Verdict(
                "exact action",
                f"Exact action: {group} acts on every layer by the intertwiners of its activation "
                f"(largest error {worst:.1e}){'' if measured else against}.{whole}",
                outcomes,
            )
        return Verdict(
            "action found",
            f"Action found: {group} acts on every layer by the intertwiners of its activation, approximately "
            f"(largest error {worst:.2g}){against}.{whole}",
            outcomes,
        )
    if not good:
        linear = [layer.space for layer in hidden if outcomes[layer.space] == "linear only"]
        bypass = f" A linear action explains {_listed(linear)}, but none by neurons was identified." if linear else ""
        nothing = f"No action found: on no layer does {group} match neurons better than decoys do."
        return Verdict("no action found", f"{nothing}{bypass}{_around(hidden)}{whole}", outcomes)
    parts = []
    for layer in good:
        against = f", decoys at most {layer.best_rival.matched:.0%}" if layer.best_rival else ""
        parts.append(
            f"on {layer.space} ({layer.matched:.0%} of its neurons matched{against}; error {layer.k_error:.2g})"
        )
    rest = [f"{layer.space}: {_why(layer, outcomes[layer.space])}" for layer in hidden if layer not in good]
    return Verdict(
        "action in part",
        f"Action in part: {group} acts {_listed(parts)}. Not identified on {'; '.join(rest)}.{whole}",
        outcomes,
    )


def _not_equivariant(error: float | None, decoys: Sequence[float]) -> str:
    """Why the whole function is not equivariant; empty where it is, or where nothing was measured."""
    if error is None:
        return ""
    rival = min(decoys, default=float("inf"))
    if error >= rival:
        return f"its function changes by {error:.1%} of its spread, no less than under a decoy ({rival:.1%})"
    if error <= EQUIVARIANT or (decoys and error <= min(CALIBRATED, rival / 2)):
        return ""
    return f"its function changes by {error:.0%} of its spread under the group, so it is not equivariant"


def _why(layer: LayerFigures, outcome: LayerOutcome) -> str:
    if outcome == "linear only":
        return f"it carries a linear action (GL-error {layer.gl_error:.2g}), not one by neurons"
    return f"error {layer.k_error:.2g}, no better than decoys or too large"


def _around(hidden: Sequence[LayerFigures]) -> str:
    """Where negated copies let values pass around the activation."""
    parts = [f"{layer.negated:.0%} on {layer.space}" for layer in hidden if layer.negated >= HALF]
    return f" Neurons with a negated copy, which can bypass the activation: {_listed(parts)}." if parts else ""


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)
