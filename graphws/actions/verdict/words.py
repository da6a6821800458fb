"""The verdict in sentences: what holds, up to where, where it breaks, and why nothing stronger can be said."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from graphws.actions.measures.layer_errors import LayerFigures, Relabelled

_EXACT = 1e-6
_HALF = 0.5


@dataclass(frozen=True, eq=False)
class Findings:
    """What a verdict is about.

    Attributes:
        group: Name of the group.
        hidden: Figures of hidden layers, in order.
        ends: Figures of layers whose action is given.
        reads: What each layer reads.
        outcomes: The outcome of each layer.
        good: Layers that fit and are linked to an end.
        fitting: Layers that fit what they read, linked or not.
        breaks_at: Layers that do not follow although what they read does.
        by_outputs: Good layers that outputs explain, and not what they read.
        behind: Layers whose values the group's move of positions does not reach.
        through: The step that it does not get through.
        against: Why the whole speaks against an action; empty where it does not.
        drowned: Whether all layers have it in their weights, and noise hides it from the function.
        on_probes: End-to-end error on probes.
        on_random: The same on random inputs.
        expected: What noise makes of a perfect action end to end.
    """

    group: str
    hidden: tuple[LayerFigures, ...]
    ends: tuple[LayerFigures, ...]
    reads: Mapping[str, Collection[str]]
    outcomes: Mapping[str, str]
    good: frozenset[str]
    fitting: frozenset[str]
    breaks_at: tuple[str, ...]
    by_outputs: frozenset[str]
    behind: frozenset[str]
    through: str
    against: str
    drowned: bool
    on_probes: float | None
    on_random: float | None
    expected: float | None

    @property
    def every(self) -> tuple[LayerFigures, ...]:
        """All layers, those of ends last."""
        return (*self.hidden, *self.ends)

    @property
    def trivial(self) -> tuple[str, ...]:
        """Hidden layers that have the action and in which no element moves."""
        return tuple(layer.space for layer in self.hidden if layer.space in self.good and layer.trivial)


def in_words(found: Findings, outcome: str) -> str:
    """The verdict in a few sentences."""
    if found.against:
        return f"No action found: {found.against}.{_whole(found)}"
    if outcome == "exact action":
        worst = max(layer.k_error for layer in found.hidden)
        return (
            f"Exact action: {found.group} acts on every layer by the intertwiners of its activation "
            f"(largest error {worst:.1e}){_beside_decoys(found)}.{_whole(found)}{_trivially(found)}"
        )
    if outcome == "action found":
        worst = max(layer.k_error for layer in found.hidden)
        unseen = "" if found.on_probes is not None or found.on_random is not None else _UNSEEN
        return (
            f"Action found: {found.group} acts on every layer by the intertwiners of its activation, approximately "
            f"(largest error {worst:.2g}{_evidence(found)}){_beside_decoys(found)}."
            f"{_whole(found)}{unseen}{_trivially(found)}"
        )
    if found.drowned:
        return (
            f"Action in part: {found.group} acts on the weights of every layer by the intertwiners of its activation, "
            f"approximately ({_evidence(found).removeprefix('; ')}){_beside_decoys(found)}. "
            f"Noise hides it from the function.{_whole(found)}{_trivially(found)}"
        )
    whys = "; ".join(_why(layer, found) for layer in found.every if layer.space not in found.good)
    if outcome == "action in part":
        parts = [
            f"{layer.space} ({_by_what(layer, layer.space in found.by_outputs)})"
            for layer in found.hidden
            if layer.space in found.good
        ]
        rest = f" Not identified on {whys}." if whys else ""
        return (
            f"Action in part: {found.group} acts {where(found)}. Identified on {listed(parts)}.{rest}"
            f"{_whole(found)}{_trivially(found)}"
        )
    linear = [layer.space for layer in found.hidden if found.outcomes[layer.space] == "linear only"]
    bypass = f" A linear action explains {listed(linear)}, but none by neurons was identified." if linear else ""
    return f"No action found: {_nothing(found)}.{bypass}{_around(found.hidden)}{_whole(found)}"


_UNSEEN = " Nothing was seen end to end, so it is not called exact."


def where(found: Findings) -> str:
    """Up to which layers an action holds and where it breaks: ``exactly up to hidden2, and breaks at output``."""
    order = [layer.space for layer in found.every]
    parts: list[str] = []
    if _is_chain(found):
        first = 0
        while first < len(order):
            kind = _kind(found, order[first])
            last = first
            while last + 1 < len(order) and _kind(found, order[last + 1]) == kind:
                last += 1
            if kind:
                parts.append(f"{kind} {_range(order, first, last)}")
            elif order[first] in found.breaks_at:
                parts.append(f"breaks at {order[first]}")
            first = last + 1
        return listed(parts, ", ")
    for kind in ("exactly", "approximately"):
        names = [space for space in order if _kind(found, space) == kind]
        parts += [f"{kind} on {listed(names)}"] if names else []
    parts += [f"breaks at {listed(found.breaks_at)}"] if found.breaks_at else []
    return listed(parts, ", ")


def _kind(found: Findings, space: str) -> str:
    return {"exact": "exactly", "found": "approximately"}.get(found.outcomes[space], "") if space in found.good else ""


def _range(order: Sequence[str], first: int, last: int) -> str:
    if first == 0:
        return f"up to {order[last]}"
    if last == len(order) - 1:
        return f"from {order[first]} on"
    return f"on {order[first]}" if first == last else f"from {order[first]} to {order[last]}"


def _is_chain(found: Findings) -> bool:
    """Whether each layer reads the one before it and no other."""
    order = [layer.space for layer in found.every]
    before = [None, *order[:-1]]
    reads = [set(found.reads.get(space, ())) & set(order) for space in order]
    return all(read == ({last} if last else set()) for read, last in zip(reads, before, strict=True))


def _trivially(found: Findings) -> str:
    """Where no neuron moves, in a sentence; nothing where some neuron of every layer does."""
    trivial = set(found.trivial)
    good = [layer.space for layer in found.hidden if layer.space in found.good]
    if not trivial:
        return ""
    if trivial == {layer.space for layer in found.hidden}:
        return " It is the trivial one: it moves no neuron."
    first = next(k for k in range(len(good)) if set(good[k:]) <= trivial or k == len(good) - 1)
    if set(good[first:]) == trivial and good[-1] == found.hidden[-1].space:
        return f" It acts trivially from {good[first]} on: no neuron moves there."
    return f" It acts trivially on {listed([space for space in good if space in trivial])}: no neuron moves there."


def _evidence(found: Findings) -> str:
    """What speaks for all layers together: shares, and how decoys do on each."""
    least = min(layer.carried for layer in found.hidden)
    share = f"; matched neurons carry at least {least:.0%} of what a layer hands on"
    each = [x.relabelled for x in found.every if x.relabelled is not None and x.relabelled.decoys]
    if not each:
        return share
    ratio = max(e.error / e.least if e.least > 0 else 1.0 for e in each)
    worst = max(e.p_value for e in each)
    return f"{share}; weights at most {ratio:.2g} of what they are under relabellings, p ≤ {worst:.2g} on each layer"


def _beside_decoys(found: Findings) -> str:
    """What must be said of decoys where an action is found on every layer; nothing where none comes near."""
    if not all(layer.rivals for layer in found.hidden):
        return "; there is no decoy to compare with"
    for name in found.hidden[0].rivals:
        reached = [layer.rivals[name] for layer in found.every if name in layer.rivals]
        if all(rival.k_error <= 10 * _EXACT for rival in reached):
            return f"; {name} acts as exactly, so the network has more symmetry than this group"
    return ""


def _nothing(found: Findings) -> str:
    """Why no layer has it: the first that breaks it, or what nothing links to an end."""
    if found.breaks_at:
        broken = [layer for layer in found.every if layer.space in found.breaks_at]
        first = listed([f"at {layer.space} ({_against(layer)})" for layer in broken])
        loose = [layer.space for layer in found.hidden if layer.space in found.fitting - set(found.breaks_at)]
        alone = f"; maps that fit on {listed(loose)} are linked to no end" if loose else ""
        return f"{found.group} breaks {first}{alone}"
    loose = [layer.space for layer in found.hidden if layer.space in found.fitting]
    if loose:
        return f"maps fit on {listed(loose)} alone, which nothing links to what {found.group} does to inputs or outputs"
    if found.through:
        return f"the group's move does not get through {found.through}"
    return f"on no layer does {found.group} match neurons better than decoys do"


def _by_what(layer: LayerFigures, by_outputs: bool) -> str:
    """The figures that speak for a layer."""
    parts = [f"error {layer.k_error:.2g}", _beside(layer.backward if by_outputs else layer.relabelled)]
    if layer.action not in ("linear", "given"):
        parts.append(f"matched neurons carry {layer.carried:.0%} of what it hands on")
    if layer.trivial:
        parts.append("no neuron moves")
    return ("by a matrix; " if layer.action == "linear" else "") + ", ".join(filter(None, parts))


def _beside(evidence: Relabelled | None) -> str:
    """A layer's weights beside those of relabelled decoys."""
    if evidence is None or not evidence.decoys:
        return ""
    return f"in weights {evidence.error:.2g} beside {evidence.least:.2g} of decoys, p = {evidence.p_value:.2g}"


def _against(layer: LayerFigures) -> str:
    """The figures that speak against a layer."""
    parts = [f"error {layer.k_error:.2g}"]
    if layer.noise is not None:
        parts[0] += f" where noise would make {layer.noise:.2g}"
    evidence = layer.relabelled
    if evidence is None:
        return parts[0]
    if not evidence.decoys:
        return f"{parts[0]}, and what it reads cannot be relabelled"
    parts.append(_beside(evidence))
    rival = layer.best_rival
    if evidence.error**2 <= _HALF * evidence.least**2 and rival is not None:
        parts.append(f"decoy groups at best {rival.k_error:.2g}")
    return ", ".join(parts)


def _why(layer: LayerFigures, found: Findings) -> str:
    """Why a layer is not identified."""
    if layer.space in found.behind:
        return f"{layer.space}: the group's move does not get through {found.through}"
    if found.outcomes[layer.space] == "linear only":
        if layer.action == "linear":
            gap = f"GL-error {layer.gl_error:.2g}"
            return f"{layer.space}: a matrix explains it on probes ({gap}), but none that its weights agree with"
        return f"{layer.space}: it carries a linear action (GL-error {layer.gl_error:.2g}), not one by neurons"
    if layer.space in found.breaks_at:
        return f"{layer.space}: {_against(layer)}"
    if layer.space in found.fitting:
        return f"{layer.space}: error {layer.k_error:.2g}, but nothing links it to what the group does at an end"
    return f"{layer.space}: error {layer.k_error:.2g}, behind the break"


def _whole(found: Findings) -> str:
    """By how much the function changes, in sentences."""
    expected = ""
    decisive = found.on_random if found.on_probes is None else found.on_probes
    if found.expected is not None and decisive is not None and decisive > _EXACT and (found.good or found.against):
        expected = f" A perfect action with as much noise would change it by {found.expected:.2g}."
    if found.on_probes is not None:
        drawn = "" if found.on_random is None else f" On random inputs it changes by {found.on_random:.2g}."
        return f" End to end the function changes by {found.on_probes:.2g} of its spread.{expected}{drawn}"
    if found.on_random is not None:
        return f" End to end, on random inputs, the function changes by {found.on_random:.2g} of its spread.{expected}"
    return ""


def _around(hidden: Sequence[LayerFigures]) -> str:
    """Where negated copies let values pass around the activation."""
    parts = [f"{layer.negated:.0%} on {layer.space}" for layer in hidden if layer.negated >= _HALF]
    return f" Neurons with a negated copy, which can bypass the activation: {listed(parts)}." if parts else ""


def listed(parts: Sequence[str], before_last: str = " ") -> str:
    """Some words with commas and an ``and``."""
    return ", ".join(parts[:-1]) + f"{before_last}and " + parts[-1] if len(parts) > 1 else "".join(parts)
