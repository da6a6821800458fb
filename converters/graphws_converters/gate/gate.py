"""The numeric gate: no graph leaves a converter before random elements of its group were tried on the source itself.

Each draw takes a random element of the rich group on every space at once and compares outputs before and after.  The
first draw uses the network's own weights, and is repeated on inputs of other kinds than the example's; later ones
disturb the weights, because a fresh bias is zero and fresh norms are equal, and zeros hide mistakes.  The *control*
leaves one parameter behind and must change the outputs, for each space on its own (`graphws_converters.gate.controls`).

Where a draw fails, bisection over the spaces names the first at fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from graphws.errors import VerificationError
from graphws.graph import GroupElement, NetworkGraph, Space, Weights
from graphws.operations import Verification
from graphws.reporter import Reporter
from graphws_converters.gate.controls import FEW, LEAST_CONTROL, RATIO, Sight, control_of, halves, sight
from graphws_converters.gate.outputs import Outputs, Run, change, finite, silent

DRAWS = 3
REPEATS = 4
"""How often the source is run again where an element changes shapes of outputs: random ones may agree by chance."""
RUNS_OF_A_DRAW = 3
"""Runs that a draw takes where nothing is wrong: before, after, and one control."""
ROUNDS = 1e3
"""How many times the change that rounding makes is still rounding."""
MOST_NOISE = 1_000_003
"""Random numbers that a tensor is disturbed by; a longer one goes through them again.

A prime: two rows of a matrix meet the same ones only where they are a million rows apart.
"""


@dataclass(frozen=True)
class Outcome:
    """What the gate saw: figures, or why they mean nothing; and what people should know."""

    verification: Verification | None
    reason: str = ""
    notes: tuple[str, ...] = ()


def tolerance_of(dtypes: Iterable[torch.dtype]) -> float:
    """The largest relative change of the outputs that counts as rounding, by the coarsest type that takes part."""
    coarsest = max((torch.finfo(dtype).eps for dtype in dtypes if dtype.is_floating_point), default=0.0)
    return max(1e-8, min(5e-2, 100 * coarsest))


def gate(
    graph: NetworkGraph,
    weights: Weights,
    run: Run,
    generator: torch.Generator,
    *,
    tolerance: float,
    draws: int = DRAWS,
    elsewhere: Sequence[tuple[str, Run]] = (),
    ties: bool = False,
    reporter: Reporter | None = None,
) -> Outcome:
    """Tries the group on the source.

    Args:
        graph: The graph on trial.
        weights: The network's own numbers, a batch of one; disturbed in place, because large networks fill memory.
        run: The source, with other weights.
        generator: Source of the elements and disturbances.
        tolerance: Largest relative change that counts as none.
        draws: How many elements.
        elsewhere: The source on inputs of other kinds, with a word for each.
        ties: Whether ties between neurons are decided by position: then inputs of other kinds, which may make ties,
            refute nothing.
        reporter: Hears of every run; their number is an estimate.

    Raises:
        VerificationError: Where an element changes the outputs; the space at fault is named.
    """
    few = [graph.extent(space.name) <= FEW for space in graph.spaces if space.moves]
    expected = draws * RUNS_OF_A_DRAW + 2 * len(elsewhere) + len(halves(few)) + 1
    with (reporter or Reporter()).work("trying the group on the network", expected, "runs") as progress:

        def counted(source: Run) -> Run:
            def ran(tried: Weights) -> Outputs:
                progress.advance()
                return source(tried)

            return ran

        others = [(name, counted(other)) for name, other in elsewhere]
        return _tried(graph, weights, counted(run), generator, tolerance, draws, others, ties)


def _tried(
    graph: NetworkGraph, weights: Weights, run: Run, generator: torch.Generator, tolerance: float, draws: int,
    elsewhere: Sequence[tuple[str, Run]], ties: bool,
) -> Outcome:  # fmt: skip
    """What the draws and controls show; see `gate`."""
    error, control, notes = 0.0, 0.0, []
    seen: Sight | None = None
    heard = False
    for draw in range(draws):
        if draw:
            disturb(weights, generator)
        before = run(weights)
        if not finite(before):
            if draw == 0:
                return Outcome(None, "the outputs are not finite numbers on these inputs")
            heard = True
            continue
        element = graph.group().random(generator, actions="rich", dtype=torch.float64, moving=True)
        moved = element.act(weights)
        found = change(before, run(moved))
        if not found <= tolerance:
            repeats = REPEATS if math.isinf(found) else 1
            again = max(change(before, run(weights)) for _ in range(repeats)) if element.maps else found
            if not again <= tolerance:
                how = "give outputs of other shapes" if math.isinf(again) else f"differ by {again:.1e}"
                raise VerificationError(
                    f"two runs on the same weights and inputs {how}: the network is not a function of them"
                )
            if found <= ROUNDS * _rounding(weights, before, run, tolerance, generator):
                return Outcome(None, f"an element changes the outputs by {found:.1e}, and rounding does no less")
            raise VerificationError(_blame(element, weights, before, run, found, tolerance))
        error = max(error, found)
        if draw == 0:
            failed = [_on_others(name, other, weights, moved, tolerance, generator) for name, other in elsewhere]
            notes = [text for text in failed if text]
            if notes and not ties:
                raise VerificationError(f"a random element changes the outputs {notes[0]}, not on the example inputs")
        quiet = silent(before)  # a layer that starts at 0: disturbed weights may show more
        heard = heard or not quiet
        if control < LEAST_CONTROL and not quiet:
            control = max(control, control_of(weights, moved, before, run))
        del moved  # before parts of the element make others
        if seen is None and draw >= min(1, draws - 1) and not quiet:
            seen = sight(element, weights, before, run, error, tolerance)
    if not heard and graph.log10_order() > 0:
        return Outcome(None, "all outputs are zero: there is nothing to measure a change by")
    seen = seen or Sight("the outputs are all zero at most of the weights that were tried")
    if seen.blind or seen.dead:
        seen = _with_strong_weights(graph, weights, run, generator, error, tolerance)
    notes = [f"a tie is decided by position: an element changes the outputs {text}" for text in notes]
    if control < LEAST_CONTROL:
        reason = f"leaving a parameter behind changes the outputs by {control:.1e} only: too little to tell"
        return Outcome(None, "no space has two neurons to exchange" if graph.log10_order() == 0 else reason)
    if seen.dead:
        notes.append(
            f"nothing is seen of {len(seen.dead)} spaces, first {seen.dead[0]!r}: no output depends on them here"
        )
    blind = seen.blind
    if error > control / RATIO:
        blind = f"an element changes the outputs by {error:.1e}, leaving a parameter behind by {control:.1e} only"
    if blind:
        return Outcome(None, f"{blind}: rounding is all that can be seen", tuple(notes))
    return Outcome(Verification(error, control, draws, "rich", len(seen.dead)), notes=tuple(notes))


def disturb(weights: Weights, generator: torch.Generator) -> None:
    """Moves weights nearby, in place, so that no two entries are equal by construction; what is positive stays so."""
    for x in _real(weights):
        noise = torch.randn(min(x.numel(), MOST_NOISE), generator=generator, dtype=torch.float32)
        noise = noise.repeat(-(-x.numel() // MOST_NOISE))[: x.numel()].reshape(x.shape)
        positive = x.numel() > 1 and bool(x.min() > 0)
        if positive:
            x.mul_(noise.mul_(0.1).exp_())
        else:
            spread = float(x.std()) if x.numel() > 1 else 0.0
            x.add_(noise, alpha=0.1 * (spread or 0.1))


def _real(weights: Weights) -> Iterator[torch.Tensor]:
    """The tensors that can be disturbed in place; of complex ones a view of their parts."""
    for _, x in weights.items():
        if x.numel() and (x.is_floating_point() or x.is_complex()):
            yield torch.view_as_real(x) if x.is_complex() else x


def _on_others(
    name: str, run: Run, weights: Weights, moved: Weights, tolerance: float, generator: torch.Generator
) -> str:
    """What an element does to the outputs on inputs of another kind; empty where nothing, or where they are refused."""
    try:
        before = run(weights)
    except Exception:  # the module is the user's, and may not be made for such inputs
        return ""
    if not finite(before):
        return ""
    try:
        found = change(before, run(moved))
    except Exception:  # it ran on the same inputs before
        return f"to an error on {name}"
    if found <= tolerance or found <= ROUNDS * _rounding(weights, before, run, tolerance, generator):
        return ""
    return f"by {found:.1e} (allowed {tolerance:.0e}) on {name}"


def _rounding(weights: Weights, before: Outputs, run: Run, tolerance: float, generator: torch.Generator) -> float:
    """How far the outputs move when every weight moves by a rounding error."""
    size = torch.finfo(torch.float64).eps if tolerance <= tolerance_of([torch.float64]) else tolerance / 100

    def nudged(x: torch.Tensor) -> torch.Tensor:
        if not x.is_floating_point() and not x.is_complex():
            return x
        return x * (1 + size * torch.randn(x.shape, generator=generator, dtype=torch.float64)).to(x.dtype)

    return change(before, run(weights.map(nudged)))


def _with_strong_weights(
    graph: NetworkGraph, weights: Weights, run: Run, generator: torch.Generator, error: float, tolerance: float
) -> Sight:
    """What is seen at weights of ordinary size, where branches that start near 0 are wide open."""
    for x in _real(weights):
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float32)
        positive = bool(x.min() > 0)
        x.copy_((0.3 * noise).exp_() if positive else noise / max(1, x[0, 0].numel() if x.ndim > 2 else 1) ** 0.5)
    before = run(weights)
    if not finite(before):
        return Sight("at weights of ordinary size the outputs are not finite")
    element = graph.group().random(generator, actions="rich", dtype=torch.float64, moving=True)
    error = max(error, change(before, run(element.act(weights))))
    return sight(element, weights, before, run, error, tolerance)


def _blame(element: GroupElement, weights: Weights, before: Outputs, run: Run, found: float, tolerance: float) -> str:
    """Names the first space whose part of an element changes the outputs.

    An element is the product of its parts, parents' parts first.  Bisection over how many of them act finds a part
    before which nothing changed and after which something did, in log2(spaces) runs.
    """
    spaces = [space for space in weights.graph.spaces if space.name in element.maps]

    def changed(some: Sequence[Space]) -> float:
        return change(before, run(element.alone(*(space.name for space in some)).act(weights)))

    good, bad = 0, len(spaces)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if changed(spaces[:middle]) <= tolerance else (good, middle)
    space = spaces[good]
    here = changed([space])
    how = f"alone it changes them by {here:.1e}" if not here <= tolerance else "though only together with those before"
    return (
        f"a random element changes the outputs by {found:.1e} (allowed {tolerance:.0e}); "
        f"the first space at fault is {space.name!r} ({space}): {how}"
    )
