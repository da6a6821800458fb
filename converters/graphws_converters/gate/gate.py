"""The numeric gate: no graph leaves a converter before random elements of its group were tried on the source itself.

Each draw takes a random element of the rich group on every space at once and compares outputs before and after.  The
first draw uses the network's own weights; later ones disturb them, because a fresh bias is zero and fresh norms are
equal, and zeros hide mistakes.  The *control* leaves one parameter behind and must change the outputs.

Where a draw fails, bisection over the spaces names the first at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import VerificationError
from graphws.graph import GroupElement, NetworkGraph, Weights
from graphws.operations import Verification
from graphws.operations.verify import relative_change

Run = Callable[[Weights], Tensor]
DRAWS = 3
MOST_CONTROLS = 12
"""How many parameters are left behind, spread over the network, in search for one that moves the outputs."""
LEAST_CONTROL = 1e-6


@dataclass(frozen=True)
class Outcome:
    """What the gate saw: figures, or why they mean nothing."""

    verification: Verification | None
    reason: str = ""


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
) -> Outcome:
    """Tries the group on the source.

    Args:
        graph: The graph on trial.
        weights: The network's own numbers, a batch of one; disturbed in place, because large networks fill memory.
        run: The source, with other weights.
        generator: Source of the elements and disturbances.
        tolerance: Largest relative change that counts as none.
        draws: How many elements.

    Raises:
        VerificationError: Where an element changes the outputs; the space at fault is named.
    """
    error, control = 0.0, 0.0
    for draw in range(draws):
        if draw:
            disturb(weights, generator)
        before = run(weights)
        if not bool(torch.isfinite(before).all()):
            if draw == 0:
                return Outcome(None, "the outputs are not finite numbers on these inputs")
            continue
        element = graph.group().random(generator, actions="rich", dtype=torch.float64)
        moved = element.act(weights)
        change = relative_change(before, run(moved))
        if not change <= tolerance:
            raise VerificationError(_blame(element, weights, before, run, change, tolerance))
        error = max(error, change)
        if control < LEAST_CONTROL:
            control = max(control, _control(weights, moved, before, run))
        del moved
    if control >= LEAST_CONTROL:
        return Outcome(Verification(error, control, draws, "rich"))
    if graph.log10_order() == 0:
        return Outcome(None, "no space has two neurons to exchange")
    return Outcome(None, f"leaving a parameter behind changes the outputs by {control:.1e} only: too little to tell")


def disturb(weights: Weights, generator: torch.Generator) -> None:
    """Moves weights nearby, in place, so that no two entries are equal by construction; what is positive stays so."""
    for _, x in weights.items():
        if not x.is_floating_point() or x.numel() == 0:
            continue
        positive = x.numel() > 1 and bool(x.min() > 0)
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float32)
        if positive:
            x.mul_((0.1 * noise).exp_())
        else:
            spread = float(x.std()) if x.numel() > 1 else 0.0
            x.add_(noise, alpha=0.1 * (spread or 0.1))


def _control(weights: Weights, moved: Weights, before: Tensor, run: Run) -> float:
    """The largest change with one parameter left behind, over parameters spread through the network."""
    names = [name for name, x in moved.items() if not torch.equal(x, weights[name])]
    names = [name for name in names if weights.graph.parameter(name).kind == "weight"] or names
    largest = 0.0
    for name in names[:: max(1, len(names) // MOST_CONTROLS)]:
        broken = Weights(weights.graph, {**moved.tensors, name: weights[name]})
        largest = max(largest, relative_change(before, run(broken)))
        if largest >= 1e-3:
            break
    return largest


def _blame(element: GroupElement, weights: Weights, before: Tensor, run: Run, change: float, tolerance: float) -> str:
    """Names the first space whose part of an element changes the outputs.

    An element is the product of its parts, parents' parts first.  Bisection over how many of them act finds a part
    before which nothing changed and after which something did, in log2(spaces) runs.
    """
    again = relative_change(before, run(weights))
    if not again <= tolerance or not element.maps:  # without a part that acts, only the run itself can differ
        return f"two runs on the same weights and inputs differ by {again:.1e}: the network is not a function of them"
    parts = [(space, element.alone(space.name)) for space in weights.graph.spaces if space.name in element.maps]

    def changed(first: GroupElement) -> float:
        return relative_change(before, run(first.act(weights)))

    kept, good, bad = GroupElement(weights.graph), 0, len(parts)
    while bad - good > 1:
        middle = (good + bad) // 2
        tried = kept
        for _, part in parts[good:middle]:
            tried = part @ tried
        if changed(tried) <= tolerance:
            kept, good = tried, middle
        else:
            bad = middle
    space, part = parts[good]
    here = changed(part)
    how = f"alone it changes them by {here:.1e}" if not here <= tolerance else "though only together with those before"
    return (
        f"a random element changes the outputs by {change:.1e} (allowed {tolerance:.0e}); "
        f"the first space at fault is {space.name!r} ({space}): {how}"
    )
