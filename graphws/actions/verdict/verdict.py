"""The verdict: what the figures license one to say, layer by layer and of the whole.

A layer's action counts as

* *exact*, where its K-error is below 1e-6;
* *found*, where its squared error is at most half of the smallest that relabelled decoys reach
  (`graphws.actions.decoys.relabelled`), with a p-value of at most 0.05, and what it is on probes is what noise makes of
  a perfect action: at most twice that (`graphws.actions.measures.noise`), or at most 0.15;
* *linear only*, where neither holds but a linear action explains it (GL-error below 0.15);
* *none* otherwise.

No cosine and no error is large or small by itself: half of the squared error of decoys, .5 to .8, says that about three
quarters of what the layer hands on follow, and noise of a tenth may well change the outputs of a deep network by half
of their spread.

A layer counts only where a chain of such layers links it to an end (`graphws.actions.verdict.reached_layers`): it is
judged forward, by what it reads, from the inputs on; and backward, by what it writes, down from outputs that the group
moves.  So a symmetry that one layer breaks holds *up to* that layer, and again behind it where outputs say so.

What reads the inputs (or writes outputs that explain what is before them) must also do better than other groups on
pictures: smooth filters match their mirror image better than shuffled pixels, and just as well turned upside down.  So
its K-error is at most half of every decoy's (by weight errors, where decoys act on weights alone), or matched neurons
carry three times as much as under any decoy, and no decoy leaves a smaller error (fewer than four match by chance, and
count only with an error below 0.3).  Without decoys it must be below 0.15.  There decoys calibrate errors on probes, in
place of noise.

A space of few elements has too few relabellings for a p-value of 0.05.  Then layers below 0.15, and as far below each
decoy, are found where every layer is found or as small.

An action is one of all layers and of the function:

* it is *exact* only where that was seen end to end, on probes and on random inputs: a network that could not be run,
  or whose function changes by more than 1e-5 of its spread, has an action that was found at best.  The function of a
  network whose weights are left alone changes by 1e-3 at most (rounding, through many layers), or the group does not
  get through it, and it has none;
* it is *found* where the function changes by at most 0.3 of its spread (an unrelated one has √2), by at most half of
  what it does under any decoy and 0.5, or by at most 1.5 times what noise makes of a perfect action, and 1; and by less
  than under any decoy;
* it is one *in part* where some layers have it and others do not, with the layers at which it breaks; or where all have
  it in their weights and the function changes by more than that, but by no more than 1.5 times what noise makes of a
  perfect action: then nothing of it can be left in the function, whatever the weights are, and decoys, whose functions
  have nothing of it either, tell nothing.

A network whose outputs never change gets none: every group leaves them alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from graphws.actions.decoys.relabelled import RELABELLINGS
from graphws.actions.measures.layer_errors import LayerFigures
from graphws.actions.measures.noise import NoiseFigures
from graphws.actions.verdict.reached_layers import reached_layers
from graphws.actions.verdict.words import Findings, in_words
from graphws.shown import Shown

Outcome = Literal["exact action", "action found", "action in part", "no action found"]
LayerOutcome = Literal["exact", "found", "linear only", "none"]
Fit = Literal["exact", "found", "small"]

EXACT, SMALL = 1e-6, 0.15
SEEN, FOLLOWS = 1e-5, 1e-3
"""The largest end-to-end errors of an exact action, and of a function that follows its weights' exact action."""
EQUIVARIANT, CALIBRATED = 0.3, 0.5
HALF, TIMES, FEW = 0.5, 3.0, 4
LEVEL, TWICE, NOISE, DROWNED = 0.05, 2.0, 1.5, 1.0
"""The largest p-value of a layer; how many times the error of a perfect action with as much noise a layer's may be, and
the function's, in which single layers average out; and the error at which outputs have a correlation of one half with
where the group would have them.
"""


@dataclass(frozen=True, repr=False)
class Verdict(Shown):
    """The conclusion.

    Attributes:
        outcome: In three words.
        text: In a few sentences.
        layers: The outcome of each hidden layer, by space.
        ends: The same of layers whose action is given, as that of the outputs is.
        breaks_at: The layers that do not follow although what they read does; none where all do.
        trivial: The layers that have the action and in which no element moves.
        by_outputs: The layers that have it because what reads them says so, and not what they read.
    """

    outcome: Outcome
    text: str
    layers: Mapping[str, LayerOutcome] = field(default_factory=dict)
    ends: Mapping[str, LayerOutcome] = field(default_factory=dict)
    breaks_at: tuple[str, ...] = ()
    trivial: tuple[str, ...] = ()
    by_outputs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.text


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

    def at_inputs(self, space: str) -> bool:
        """Whether a layer reads an end, as it is given."""
        return bool(set(self.reads.get(space, ())) & set(self.given))


@dataclass(frozen=True)
class WholeFigures:
    """Errors of the whole function.

    Attributes:
        on_probes: On probes; None without any.
        on_random: On random inputs; None where the network could not be run.
        decoys: The decoys' on probes.
        noise: What noise alone would do.
        constant: Whether the outputs never change.
    """

    on_probes: float | None = None
    on_random: float | None = None
    decoys: Sequence[float] = ()
    noise: NoiseFigures = field(default_factory=NoiseFigures)
    constant: bool = False

    @property
    def decisive(self) -> float | None:
        """The error on probes, or else on random inputs."""
        return self.on_random if self.on_probes is None else self.on_probes

    @property
    def expected(self) -> float | None:
        """What noise makes of a perfect action there; None where the group does not get through the network's steps."""
        if self.noise.perfect is None or self.noise.perfect > FOLLOWS:
            return None
        return self.noise.on_random if self.on_probes is None else self.noise.end_to_end

    @property
    def largest(self) -> float | None:
        """The larger of the errors that were seen."""
        return max((e for e in (self.on_probes, self.on_random) if e is not None), default=None)


def fit_of(layer: LayerFigures, *, at_end: bool = False, backward: bool = False) -> Fit | None:
    """How well a layer's maps fit together; ``small`` counts only where all layers do.

    Args:
        layer: Its figures.
        at_end: Whether one of the maps is given, of the inputs or (backward) of the outputs.
        backward: Whether what it writes is known, and not what it reads.
    """
    evidence = layer.backward if backward else layer.relabelled
    if layer.k_error <= EXACT and not (backward and evidence is None):
        return "exact"
    if evidence is None:  # nothing that it reads is moved
        return "found" if not backward and layer.k_error <= SMALL else None
    expected = layer.noise is None or layer.k_error <= max(SMALL, TWICE * layer.noise)
    if not (_beats_decoys(layer) if at_end else expected) or not evidence.error**2 <= HALF * evidence.least**2:
        return None
    if evidence.p_value <= LEVEL:
        return "found"
    return "small" if len(evidence.decoys) < RELABELLINGS and layer.k_error <= SMALL else None


def _beats_decoys(layer: LayerFigures) -> bool:
    """Whether other groups explain a layer at an end less well."""
    rival = layer.best_rival
    if rival is None:
        return layer.k_error <= SMALL
    beside = layer.weight_error if rival.weights else layer.k_error
    enough = layer.matched * layer.size >= FEW or layer.k_error <= EQUIVARIANT
    many = enough and layer.carried >= TIMES * rival.carried and beside <= rival.k_error
    return many or beside <= HALF * rival.k_error


def judge(
    group: str,
    hidden: Sequence[LayerFigures],
    ends: Sequence[LayerFigures],
    links: Links,
    whole: WholeFigures | None = None,
) -> Verdict:
    """The verdict on a network.

    Args:
        group: Name of the group.
        hidden: The figures of its hidden layers, in order.
        ends: The figures of the layers whose action is given, as that of the outputs is.
        links: How layers hang together.
        whole: Errors of the whole function.
    """
    whole = whole or WholeFigures()
    every = [*hidden, *ends]
    fits = _counted(every, links)
    good = set() if whole.constant else good_layers(every, ends, links)
    outcomes: dict[str, LayerOutcome] = {x.space: _outcome(x, fits, good) for x in every}
    followed = bool(hidden) and all(layer.space in good for layer in hidden) and all(fits[x.space] for x in ends)
    exact = followed and all(outcome == "exact" for outcome in outcomes.values())
    drowned = followed and not exact and _drowned(whole)
    against = _against(whole, exact, links.through) if (followed and not drowned) or whole.constant else ""
    if against:
        good, outcomes = set(), dict.fromkeys(outcomes, "none")
    found = Findings(
        group=group,
        hidden=tuple(hidden),
        ends=tuple(ends),
        reads=links.reads,
        outcomes=outcomes,
        good=frozenset(good),
        fitting=frozenset(space for space, fit in fits.items() if fit),
        breaks_at=() if against else _breaks(every, fits, good, links),
        by_outputs=frozenset(good - reached_layers(_ahead(every, links, fits), links.reads, links.given, ())),
        behind=frozenset(links.behind),
        through=links.through,
        against=against,
        drowned=drowned,
        on_probes=None if whole.constant else whole.on_probes,
        on_random=None if whole.constant else whole.on_random,
        expected=whole.expected,
    )
    outcome: Outcome = "no action found"
    if followed and not against and not drowned:
        seen = whole.largest
        outcome = "exact action" if exact and seen is not None and seen <= SEEN else "action found"
    elif good & {layer.space for layer in hidden}:
        outcome = "action in part"
    return Verdict(
        outcome,
        in_words(found, outcome),
        {layer.space: outcomes[layer.space] for layer in hidden},
        {layer.space: outcomes[layer.space] for layer in ends},
        found.breaks_at,
        found.trivial,
        tuple(x.space for x in every if x.space in found.by_outputs),
    )


def _counted(every: Sequence[LayerFigures], links: Links) -> dict[str, Fit | None]:
    """How well each layer fits what it reads; small ones as found where all are found or as small."""
    fits: dict[str, Fit | None] = {x.space: fit_of(x, at_end=links.at_inputs(x.space)) for x in every}
    together = all(fits.values())
    return {space: ("found" if together else None) if fit == "small" else fit for space, fit in fits.items()}


def good_layers(every: Sequence[LayerFigures], ends: Sequence[LayerFigures], links: Links) -> set[str]:
    """The layers that fit and are linked to an end.

    Those that read nothing, as a learned query, are linked to nothing: they count beside others only.
    """
    given = {end.space for end in ends}
    fits = _counted(every, links)
    away = {space for space in given if fits.get(space) is None}
    ahead = _ahead(every, links, fits)
    back = {x.space for x in every if fit_of(x, at_end=x.space in given, backward=True) in ("exact", "found")}
    good = reached_layers(ahead, links.reads, links.given, back) - set(links.behind)
    return good if any(links.reads.get(space) for space in good - away) else set()


def _ahead(every: Sequence[LayerFigures], links: Links, fits: Mapping[str, Fit | None]) -> set[str]:
    """The layers that fit what they read, and whose steps hold no other layer that does not."""
    away = {layer.space for layer in every if layer.action == "given" and not fits[layer.space]}
    return {space for space, fit in fits.items() if fit and not away & set(links.among.get(space, ()))}


def _outcome(layer: LayerFigures, fits: Mapping[str, Fit | None], good: Collection[str]) -> LayerOutcome:
    if layer.space in good:
        return "exact" if layer.k_error <= EXACT else "found"
    return "linear only" if layer.gl_error is not None and layer.gl_error <= SMALL else "none"


def _breaks(
    every: Sequence[LayerFigures], fits: Mapping[str, Fit | None], good: Collection[str], links: Links
) -> tuple[str, ...]:
    """The layers that are not good although all that they read is, or is given."""
    layers = {layer.space for layer in every}
    alone = {space for space, fit in fits.items() if fit and not links.reads.get(space)}
    known = (set(good) | set(links.given) | alone) - (layers - set(good) - alone)
    reads = {space: set(links.reads.get(space, ())) & (layers | set(links.given)) - {space} for space in layers}
    open_layers = [x.space for x in every if x.space not in good and not fits[x.space]]
    return tuple(space for space in open_layers if reads[space] <= known)


def _drowned(whole: WholeFigures) -> bool:
    """Whether noise leaves nothing of a perfect action in the function, and no more is wrong with it."""
    error, expected = whole.decisive, whole.expected
    if whole.constant or error is None or expected is None:
        return False
    return DROWNED < error <= NOISE * expected


def _against(whole: WholeFigures, exact: bool, through: str) -> str:
    """Why the function speaks against an action that all layers have; empty where it does not, or was not seen."""
    if whole.constant:
        return "the network's outputs are the same for all inputs, so every group leaves them alone"
    error, rival = whole.decisive, min(whole.decoys, default=float("inf"))
    if error is None or error <= (FOLLOWS if exact else 0.0):
        return ""
    if not exact:
        if whole.on_probes is not None and error >= rival:
            return f"its function changes by {error:.1%} of its spread, no less than under a decoy ({rival:.1%})"
        calibrated = error <= min(CALIBRATED, HALF * rival) and (bool(whole.decoys) or whole.on_probes is None)
        noisy = whole.expected is not None and error <= min(DROWNED, NOISE * whole.expected)
        if error <= EQUIVARIANT or calibrated or noisy:
            return ""
    why = f"; the group's move does not get through {through}" if through else ""
    what = "are symmetric" if exact else "have much of the symmetry"
    return (
        f"the weights {what}, the function is not. Its outputs are {error:.0%} of their spread from where the group "
        f"would have them{why}"
    )
