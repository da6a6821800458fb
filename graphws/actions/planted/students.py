"""Students: networks trained to compute what a planted one computes, told nothing of its symmetry.

The theorem speaks about networks that are equivariant and identifiable; planted networks are so by construction.  A
student shows that training gets there by itself: fitted from random weights to the outputs of a symmetric teacher of
its own size, it ends at the teacher's weights up to the intertwiner group, and the teacher's action is found in it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.operations import outputs_of

_RATE, _ADAM, _POLISH = 1e-2, 1000, 1500
"""Learning rate and steps of Adam, then at most so many of L-BFGS."""
_TRIES, _REACHED = 4, 1e-12
"""How many of the starts are polished at most, the best first; the relative error at which no other is."""


def fit_student(
    graph: NetworkGraph, inputs: Tensor, targets: Tensor, generator: torch.Generator, *, starts: int = 8
) -> tuple[Weights, float]:
    """The best of some networks fitted to a function: Adam from several random starts, then L-BFGS.

    Small networks have poor minima, so one start is often not enough: the starts are polished in the order of their
    errors until one reaches rounding.

    Args:
        graph: The student's graph, with one input.
        inputs: (points, features), float64 if the fit is to reach rounding.
        targets: (points, outputs), of the same type.
        generator: Source of the starts.
        starts: How many.

    Returns:
        Weights, float: The student, a batch of one, and its mean squared error relative to the targets' variance.

    Raises:
        UsageError: Where the fit diverged.
    """
    spread = targets.var()

    def losses(numbers: Tensor) -> Tensor:
        out = outputs_of(graph, Weights.unflatten(graph, numbers), inputs)
        return (out - targets).square().mean((1, 2)) / spread

    def start() -> Tensor:
        tensors = {}
        for parameter in graph.parameters:
            shape = (starts, *graph.shape(parameter.name))
            width = shape[-1] if len(shape) > 2 else 1
            drawn = torch.randn(shape, generator=generator, dtype=inputs.dtype)
            tensors[parameter.name] = drawn / width**0.5 if len(shape) > 2 else 0.1 * drawn
        return Weights(graph, tensors).flatten()

    many = start().requires_grad_()
    adam = torch.optim.Adam([many], lr=_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, _ADAM)
    for _ in range(_ADAM):
        adam.zero_grad()
        losses(many).sum().backward()
        adam.step()
        schedule.step()
    final = losses(many.detach())
    if not bool(torch.isfinite(final).any()):
        raise UsageError("no student converged: are inputs and targets finite and of moderate size?")
    best: tuple[float, Tensor] | None = None
    for k in final.nan_to_num(float("inf")).argsort().tolist()[:_TRIES]:
        numbers = _polished(many.detach()[k : k + 1], losses)
        error = float(losses(numbers)[0])
        if best is None or error < best[0]:
            best = (error, numbers)
        if error < _REACHED:
            break
    assert best is not None
    return Weights.unflatten(graph, best[1]), best[0]


def _polished(start: Tensor, losses: Callable[[Tensor], Tensor]) -> Tensor:
    numbers = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [numbers], max_iter=_POLISH, tolerance_grad=1e-14, tolerance_change=1e-18, history_size=50,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = losses(numbers).sum()
        loss.backward()
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return numbers.detach()
