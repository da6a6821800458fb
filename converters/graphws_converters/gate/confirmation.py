"""Actions beyond permutations, put to a second test: the moment maps of gradients.

The rules claim signs, scales and matrices; the gate tries random ones.  Gradients see more: they say for each space on
its own whether the claim holds to first order at the network's own and at disturbed weights, and they tell neurons that
were exercised by the inputs from those that were never on, which agree with every claim.  Where gradients vanish they
are rounding, which neither confirms nor refutes: such a residual changes when the weights move by an epsilon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from graphws.checkpoints.conversion import ActionCheck
from graphws.errors import VerificationError
from graphws.graph import Action, NetworkGraph, Space, Weights
from graphws.operations import MeasuredAction, measure_actions
from graphws_converters.gate.reasons import reason_of

MOST_NUMBERS = 10_000_000
"""Networks beyond are not measured: gradients and disturbed copies take several times the memory of the weights."""
LOSSES = 2
DISTURBANCES = 2
NUDGES = 2
STEADY = 1e-3
"""How far a residual that refutes may move, relatively, when weights move by rounding errors; rounding itself jumps."""
ROUNDS = 1e4
"""How often larger than the coarsest type's epsilon a residual of gradients may be."""


def confirm(
    graph: NetworkGraph,
    weights: Weights,
    run: Callable[..., Tensor] | None,
    dtypes: Iterable[torch.dtype],
    generator: torch.Generator,
    dtype: torch.dtype | None = None,
) -> tuple[ActionCheck, ...]:
    """A verdict on every rich action that a graph claims.

    Args:
        graph: A graph that passed the gate.
        weights: The network's own numbers.
        run: The source, differentiable in its weights.
        dtypes: Types that take part in the computation.
        generator: Source of losses and disturbances.
        dtype: The type to run it in; that of the weights where None.

    Raises:
        VerificationError: Where gradients refute a claim; the first space is named.
    """
    rich = rich_spaces(graph)
    if not rich:
        return ()
    coarsest = max((torch.finfo(dtype).eps for dtype in dtypes if dtype.is_floating_point), default=0.0)
    if graph.numel > MOST_NUMBERS:
        return unconfirmed(graph, f"{graph.numel:,} numbers, and gradients are taken up to {MOST_NUMBERS:,}")
    if run is None or coarsest > torch.finfo(torch.float32).eps:
        return unconfirmed(graph, "gradients need a network that runs in float32 at least")
    tolerance = max(1e-7, ROUNDS * coarsest)
    state = generator.get_state()

    def measured(at: Weights, spaces: list[Space]) -> list[ActionCheck]:
        again = torch.Generator().set_state(state)
        found = measure_actions(
            graph, at, generator=again, run=run, spaces=[space.name for space in spaces],
            losses=LOSSES, disturbances=DISTURBANCES, tolerance=tolerance, beyond=False,
        )  # fmt: skip
        generator.set_state(again.get_state())
        return [_check(space, each) for space, each in zip(spaces, found, strict=True)]

    try:
        weights = weights.to(dtype=dtype)
        checks = measured(weights, rich)
        doubtful = [k for k, check in enumerate(checks) if check.verdict == "refuted"]
        for _ in range(NUDGES if doubtful else 0):
            nearby = measured(_nudged(weights, coarsest, generator), [rich[k] for k in doubtful])
            for k, other in zip(doubtful, nearby, strict=True):
                if not abs(other.error - checks[k].error) <= STEADY * checks[k].error:
                    reason = f"gradients are rounding: a residual of {checks[k].error:.1e} or {other.error:.1e}"
                    checks[k] = ActionCheck(rich[k].name, rich[k].action, "unconfirmed", reason=reason)
            doubtful = [k for k in doubtful if checks[k].verdict == "refuted"]
    except VerificationError as error:
        return unconfirmed(graph, str(error))
    except Exception as error:  # a second test that fails says nothing of the first
        return unconfirmed(graph, f"gradients cannot be taken: {reason_of(error)}")
    for space, check in zip(rich, checks, strict=True):
        if check.verdict == "refuted":
            raise VerificationError(
                f"the gradients refute {space.name!r} ({space}): a residual of {check.error:.1e} (allowed "
                f"{tolerance:.0e}), though a random element passed; rules and network disagree"
            )
    return tuple(checks)


def _nudged(weights: Weights, coarsest: float, generator: torch.Generator) -> Weights:
    """The weights, each off by about a rounding error of the coarsest type that takes part.

    A source in float64 that computes a part of itself in float32 does not feel less.
    """

    def nudged(x: Tensor) -> Tensor:
        if not x.is_floating_point() and not x.is_complex():
            return x
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
        return x * (1 + 4 * max(coarsest, torch.finfo(x.dtype).eps) * noise)

    return weights.map(nudged)


def rich_spaces(graph: NetworkGraph) -> list[Space]:
    """The spaces on which more than permutations are claimed to act."""
    return [space for space in graph.spaces if space.moves and space.action is not Action.PERMUTATION]


def unconfirmed(graph: NetworkGraph, reason: str) -> tuple[ActionCheck, ...]:
    """The same answer for every rich action."""
    return tuple(ActionCheck(space.name, space.action, "unconfirmed", reason=reason) for space in rich_spaces(graph))


_TRIED = {
    Action.SIGNED: ("signs",),
    Action.SCALING: ("scaling",),
    Action.MONOMIAL: ("signs", "scaling"),
    Action.LINEAR: ("signs", "scaling", "matrices"),
}
"""The residuals that belong to each action."""


def _check(space: Space, found: MeasuredAction) -> ActionCheck:
    if found.verdict == "unconfirmed":
        reason = f"{found.seen} of {found.size} elements have gradients"
        return ActionCheck(space.name, space.action, "unconfirmed", reason=reason)
    error = max(found.errors[part] for part in _TRIED[space.action])
    return ActionCheck(space.name, space.action, "confirmed" if found.verdict == "confirmed" else "refuted", error)
