"""The verdict: what the figures license one to say, in words.

A layer's action counts as

* *exact*, where its K-error is below 1e-6;
* *found*, where what it needs is matched, and its K-error is below 0.15 and at most half of every decoy's (by weight
  errors, where decoys act on weights alone), or matched neurons carry three times as much as under any decoy, and no
  decoy leaves a smaller error (fewer than four match by chance, and count only with an error below 0.3);
* *linear only*, where neither holds but a linear action explains it (GL-error below 0.15);
* *none* otherwise, and where no chain of such layers links it to an end of the network
  (`graphws.actions.verdict.reached_layers`).

A layer needs its neurons by what they carry: by their shares of what its readers get
(`graphws.actions.measures.needs`).  Where a share s is matched and the rest is unrelated to its image, what is read
changes by √(2 (1 - s)) of its spread; for s of at least 3/4 that is at most half of what an unrelated layer does, √2.

A layer whose values the group's move of positions does not reach has no action, whatever its weights are.

Behind layers that were found, one below 0.15 counts too where all errors on the way are at most half of each decoy's.
Without decoys a match of neurons says nothing, so a layer that is not exact counts only where all are below 0.15.
Without probes the outputs' layer must follow too: an error above 0.15 there leaves an action in part, unless the
largest of all errors is below 0.8 of every decoy's largest.

An action is one on all layers at once.  A decoy can always leave the middle of a network in place, without any error
there, and pay for it at the ends; so where the *largest* error of all layers is exact, or below 0.3 and at most half
of every decoy's largest, layers count as exact, or as found below 0.15, whatever decoys reach on single ones.  And
where every layer's *weights* are left alone, ends included, the action is exact whatever decoys reach: that is an
automorphism, which needs no calibration.  Decoys that do the same then say that the network has more symmetry than the
group.

An action is exact only where that was seen end to end, on probes and on random inputs: a network that could not be run,
or whose function changes by more than 1e-5 of its spread, has an action that was found at best.  The function of a
network whose weights are left alone changes by 1e-3 at most (rounding, through many layers), or the group does not get
through it, and it has none.  Without probes the function may change by 0.5 of its spread on random inputs.

A network whose function is not equivariant end to end gets no action at all: what matching finds then is noise.  It is
equivariant on probes where its error is below every decoy's and at most 0.3; up to 0.5 (an unrelated function has √2),
if it is also at most half of every decoy's.  A network whose outputs never change gets none either: every group leaves
them alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from graphws.actions.measures.layer_errors import LayerFigures
from graphws.actions.verdict.reached_layers import reached_layers

Outcome = Literal["exact action", "action found", "action in part", "no action found"]
LayerOutcome = Literal["exact", "found", "linear only", "none", "output"]

EXACT, SMALL = 1e-6, 0.15
SEEN, FOLLOWS = 1e-5, 1e-3
"""The largest end-to-end errors of an exact action, and of a function that follows its weights' exact action."""
EQUIVARIANT, CALIBRATED = 0.3, 0.5
HALF, TIMES, FEW, NEAR = 0.5, 3.0, 4, 0.8
NEEDED = 1 - HALF**2
"""Least share of what a layer's readers get that matched neurons carry."""


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
    """The outcome of one layer, on its own figures."""
    rival = layer.best_rival
    if layer.k_error <= EXACT and (rival is None or rival.k_error > 10 * EXACT):
        return "exact"
    if rival is not None:
        beside = layer.weight_error if rival.weights else layer.k_error
        close = layer.k_error <= SMALL and 2 * beside < rival.k_error
        enough = layer.matched * layer.size >= FEW or layer.k_error <= EQUIVARIANT
        many = enough and layer.carried >= TIMES * rival.carried and beside <= rival.k_error
        if layer.carried >= NEEDED and (close or many):
            return "found"
    if layer.gl_error is not None and layer.gl_error <= SMALL:
        return "linear only"
    return "none"


def judge_together(layers: Sequence[LayerFigures]) -> Literal["exact", "found"] | None:
    """What the largest errors of a network's layers say of all of them; None where they decide nothing."""
    worst = max((layer.k_error for layer in layers), default=0.0)
    names = {name for layer in layers for name in layer.rivals}
    if not names:
        return "found" if EXACT < worst <= SMALL else None
    exact, close = worst <= EXACT, worst <= EQUIVARIANT
    for name in names:
        reached = [layer for layer in layers if name in layer.rivals]
        rival = _largest(reached, name)
        in_weights = any(layer.rivals[name].weights for layer in reached)
        beside = max(layer.weight_error if in_weights else layer.k_error for layer in reached)
        exact, close = exact and rival > 10 * EXACT, close and 2 * beside < rival
    return "exact" if exact else "found" if close else None


def _largest(layers: Sequence[LayerFigures], name: str) -> float:
    """A decoy's largest error on the layers that it reaches."""
    return max(layer.rivals[name].k_error for layer in layers if name in layer.rivals)


def is_automorphism(hidden: Sequence[LayerFigures], ends: Sequence[LayerFigures]) -> bool:
    """Whether the action leaves all weights alone, the ends' too, and every neuron has a filter that says so."""
    every = [*hidden, *ends]
    exact = all(max(layer.k_error, layer.weight_error) <= EXACT for layer in every)
    return bool(hidden and ends) and exact and all(layer.carried >= 1 - EXACT for layer in hidden)


def _within(layer: LayerFigures, together: Literal["exact", "found"] | None) -> Literal["exact", "found"] | None:
    """What the network's largest errors say of one layer."""
    falls_short = layer.k_error > SMALL or layer.carried < NEEDED
    return None if together == "found" and falls_short else together


@dataclass(frozen=True)
class Links:
    """How layers hang together; see `graphws.actions.verdict.reached_layers`.

    Attributes:
        reads: What each layer reads, by the spaces that they write.
        given: Spaces whose maps are given and say something: inputs, and outputs that the group moves.
        behind: Layers whose values the group's move of positions does not reach.
        through: The step that it does not get through; empty where there is none.
        among: For each layer the others whose weights stand among its steps.  One whose map is given, as that of a
            positional encoding is, must fit too: what it is added to does not come from the group otherwise.
    """

    reads: Mapping[str, Collection[str]]
    given: Collection[str]
    behind: Collection[str] = ()
    through: str = ""
    among: Mapping[str, Collection[str]] = field(default_factory=dict)


def _refuted(exact: bool, error: float, through: str) -> str:
    """Why what the weights say is not so of the function; empty where it is."""
    if error <= (FOLLOWS if exact else CALIBRATED):
        return ""
    why = f"; the group's move does not get through {through}" if through else ""
    what = "are symmetric" if exact else "have much of the symmetry"
    return (
        f"the weights {what}, the function is not. Its outputs are {error:.0%} of their spread from where the group "
        f"would have them{why}"
    )


def judge(
    group: str,
    hidden: Sequence[LayerFigures],
    end_to_end: float | None,
    decoys_end_to_end: Sequence[float] = (),
    ends: Sequence[LayerFigures] = (),
    *,
    links: Links | None = None,
    constant: bool = False,
    on_random: float | None = None,
) -> Verdict:
    """The verdict on a network.

    Args:
        group: Name of the group.
        hidden: The figures of its hidden layers, in order.
        end_to_end: Error of the whole function; None without probes.
        decoys_end_to_end: The decoys' errors.
        ends: The figures of the layers whose action is given, as that of the outputs is.
        links: How layers hang together; every layer counts by itself where None.
        constant: Whether the network's outputs never change.
        on_random: Error of the whole function on random inputs; None where the network could not be run.
    """
    symmetric = is_automorphism(hidden, ends)
    against_function = _against(end_to_end, decoys_end_to_end, symmetric, constant)
    if against_function:
        text = f"No action found: {against_function}."
        return Verdict("no action found", text, {layer.space: "none" for layer in hidden})
    together = "exact" if symmetric else judge_together([*hidden, *ends])
    outcomes = {layer.space: _within(layer, together) or judge_layer(layer) for layer in hidden}
    loose = _loose(outcomes, ends, together, links)
    outcomes |= {layer.space: _unlinked(layer) for layer in hidden if layer.space in loose}
    outcomes |= dict.fromkeys(_following(outcomes, hidden, links), "found")
    behind = set(links.behind if links else ()) & set(outcomes)
    outcomes |= dict.fromkeys(behind, "none")
    good = [layer for layer in hidden if outcomes[layer.space] in ("exact", "found")]
    whole = _whole(end_to_end, on_random)
    open_ends = _open_ends(hidden, ends) if end_to_end is None else []
    if hidden and len(good) == len(hidden) and not open_ends:
        worst, least = max(layer.k_error for layer in hidden), min(layer.carried for layer in hidden)
        against = _beside_decoys(hidden, ends)
        exact = all(outcome == "exact" for outcome in outcomes.values())
        seen = [error for error in (end_to_end, on_random) if error is not None]
        decides = on_random if end_to_end is None else end_to_end
        refuted = "" if decides is None else _refuted(exact, decides, links.through if links else "")
        if refuted:
            return Verdict("no action found", f"No action found: {refuted}.{whole}", dict.fromkeys(outcomes, "none"))
        if exact and seen and max(seen) <= SEEN:
            return Verdict(
                "exact action",
                f"Exact action: {group} acts on every layer by the intertwiners of its activation "
                f"(largest error {worst:.1e}){against}.{whole}",
                outcomes,
            )
        matched = f"; matched neurons carry at least {least:.0%} of what a layer hands on"
        unseen = "" if seen else " Nothing was seen end to end, so it is not called exact."
        return Verdict(
            "action found",
            f"Action found: {group} acts on every layer by the intertwiners of its activation, approximately "
            f"(largest error {worst:.2g}{matched}){against or '; no decoy does as well'}.{whole}{unseen}",
            outcomes,
        )
    if not good:
        linear = [layer.space for layer in hidden if outcomes[layer.space] == "linear only"]
        bypass = f" A linear action explains {_listed(linear)}, but none by neurons was identified." if linear else ""
        nothing = f"No action found: {_nothing(group, hidden, loose)}."
        return Verdict("no action found", f"{nothing}{bypass}{_around(hidden)}{whole}", outcomes)
    parts = [f"on {layer.space} ({_by_what(layer)})" for layer in good]
    rest = [
        f"{x.space}: the group's move does not get through {links.through if links else ''}"
        if x.space in behind
        else f"{x.space}: {_why(x, outcomes[x.space], x.space in loose)}"
        for x in hidden
        if x not in good
    ]
    rest += [f"{x.space}: {_why(x, 'none', False)}" for x in open_ends]
    return Verdict(
        "action in part",
        f"Action in part: {group} acts {_listed(parts)}. Not identified on {'; '.join(rest)}.{whole}",
        outcomes,
    )


def _loose(
    outcomes: Mapping[str, LayerOutcome],
    ends: Sequence[LayerFigures],
    together: Literal["exact", "found"] | None,
    links: Links | None,
) -> set[str]:
    """The layers that fit by themselves, but that nothing links to an end."""
    fit = {space for space, outcome in outcomes.items() if outcome in ("exact", "found")}
    if links is None:
        return set()
    known = {end.space for end in ends if _within(end, together) or _explained(end)}
    away = {end.space for end in ends if end.k_error > SMALL}
    whole = {space for space in fit if not away & set(links.among.get(space, ()))}
    return fit - reached_layers(whole | known, links.reads, links.given)


def _open_ends(hidden: Sequence[LayerFigures], ends: Sequence[LayerFigures]) -> list[LayerFigures]:
    """The ends of large error, where the largest of all errors is near a decoy's largest.

    Probes see them end to end; without them an action that stops before the outputs would pass for one of the whole.
    """
    every = [*hidden, *ends]
    worst = max((layer.k_error for layer in every), default=0.0)
    names = {name for layer in every for name in layer.rivals}
    rivals = [_largest(every, name) for name in names]
    if rivals and worst < NEAR * min(rivals):
        return []
    return [end for end in ends if end.k_error > SMALL]


def _following(outcomes: Mapping[str, LayerOutcome], hidden: Sequence[LayerFigures], links: Links | None) -> set[str]:
    """Layers of small error behind layers that were found: what a decoy reaches there, it reaches without those.

    So all errors on the way count, the group's largest against each decoy's largest.
    """
    if links is None:
        return set()
    every = {layer.space: layer for layer in hidden}
    found = {space for space, outcome in outcomes.items() if outcome in ("exact", "found")}
    new: set[str] = set()
    for layer in hidden:
        before = set(links.reads.get(layer.space, ())) & set(every)
        falls_short = layer.k_error > SMALL or layer.carried < NEEDED
        if layer.space in found or falls_short or not before or not before <= found | new:
            continue
        way = [every[space] for space in found | new] + [layer]
        worst = max(step.k_error for step in way)
        rivals = [_largest(way, name) for name in layer.rivals]
        if rivals and 2 * worst < min(rivals):
            new.add(layer.space)
    return new


def _explained(end: LayerFigures) -> bool:
    """Whether the layer of an end, whose neurons are not matched, is better than decoys' by its error."""
    rival = end.best_rival
    return end.k_error <= SMALL and rival is not None and 2 * end.k_error < rival.k_error


def _unlinked(layer: LayerFigures) -> LayerOutcome:
    return "linear only" if layer.gl_error is not None and layer.gl_error <= SMALL else "none"


def _beside_decoys(hidden: Sequence[LayerFigures], ends: Sequence[LayerFigures]) -> str:
    """What must be said of decoys where an action is found on every layer; nothing where none comes near."""
    if not all(layer.rivals for layer in hidden):
        return "; there is no decoy to compare with"
    for name in hidden[0].rivals:
        reached = [layer.rivals[name] for layer in (*hidden, *ends) if name in layer.rivals]
        if all(rival.k_error <= 10 * EXACT for rival in reached):
            return f"; {name} acts as exactly, so the network has more symmetry than this group"
    return ""


def _nothing(group: str, hidden: Sequence[LayerFigures], loose: Collection[str]) -> str:
    if loose:
        names = _listed([layer.space for layer in hidden if layer.space in loose])
        return f"maps fit on {names} alone, which nothing links to what {group} does to inputs or outputs"
    if any(layer.rivals for layer in hidden):
        return f"on no layer does {group} match neurons better than decoys do"
    return f"{group} leaves errors above {SMALL} on some layer, and there is no decoy to compare with"


def _against(error: float | None, decoys: Sequence[float], symmetric: bool, constant: bool) -> str:
    """Why the whole function speaks against any action; empty where it does not, or where nothing was measured."""
    if constant:
        return "the network's outputs are the same for all inputs, so every group leaves them alone"
    if error is None or (symmetric and error <= EXACT):
        return ""
    rival = min(decoys, default=float("inf"))
    if error >= rival:
        return f"its function changes by {error:.1%} of its spread, no less than under a decoy ({rival:.1%})"
    if error <= EQUIVARIANT or (decoys and error <= min(CALIBRATED, rival / 2)):
        return ""
    return f"its function changes by {error:.0%} of its spread under the group, so it is not equivariant"


def _by_what(layer: LayerFigures) -> str:
    """The figures that speak for a layer, beside the decoys' where those are worse."""
    rival, error = layer.best_rival, f"error {layer.k_error:.2g}"
    if rival is not None and 2 * layer.k_error < rival.k_error:
        error = f"{error}, decoys at least {rival.k_error:.2g}"
    if layer.action == "linear":
        return f"by a matrix; {error}"
    beside = "" if rival is None or layer.carried < TIMES * rival.carried else f", decoys at most {rival.carried:.0%}"
    return f"{_share(layer)}{beside}; {error}"


def _share(layer: LayerFigures) -> str:
    return f"matched neurons carry {layer.carried:.0%} of what it hands on"


def _why(layer: LayerFigures, outcome: LayerOutcome, loose: bool) -> str:
    if outcome == "linear only" and layer.action == "linear":
        return f"a matrix explains it on probes (GL-error {layer.gl_error:.2g}), but none that its weights agree with"
    share = "" if layer.action in ("linear", "given") else f", {_share(layer)}"
    if outcome == "linear only":
        return f"it carries a linear action (GL-error {layer.gl_error:.2g}), not one by neurons{share}"
    if loose:
        return f"error {layer.k_error:.2g}, but nothing links it to what the group does to inputs or outputs{share}"
    return f"error {layer.k_error:.2g}, no better than decoys or too large{share}"


def _whole(end_to_end: float | None, on_random: float | None) -> str:
    """By how much the function changes, in sentences."""
    if end_to_end is not None:
        drawn = "" if on_random is None else f" On random inputs it changes by {on_random:.2g}."
        return f" End to end the function changes by {end_to_end:.2g} of its spread.{drawn}"
    if on_random is not None:
        return f" End to end, on random inputs, the function changes by {on_random:.2g} of its spread."
    return ""


def _around(hidden: Sequence[LayerFigures]) -> str:
    """Where negated copies let values pass around the activation."""
    parts = [f"{layer.negated:.0%} on {layer.space}" for layer in hidden if layer.negated >= HALF]
    return f" Neurons with a negated copy, which can bypass the activation: {_listed(parts)}." if parts else ""


def _listed(parts: Sequence[str]) -> str:
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)
