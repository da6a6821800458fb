"""The numeric gate: a claimed symmetry must leave the function alone, and breaking it must not.

Tracing, reading shapes or trusting names can be wrong; a random group element cannot.  `verify` draws random elements,
compares the outputs before and after (the *error*), and then applies each element with one parameter left behind (the
*control*): if that does not move the outputs either, the check has shown nothing and says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import VerificationError
from graphws.graph.group import Richness
from graphws.graph.network import NetworkGraph
from graphws.graph.weights import Weights
from graphws.operations.runner import outputs_of
from graphws.shown import Shown

Run = Callable[[Weights], Tensor]


@dataclass(frozen=True, repr=False)
class Verification(Shown):
    """Figures of a passed check.

    Attributes:
        error: Largest relative change of the outputs under a random element.
        control: Largest relative change when one parameter is left behind.
        draws: How many elements were drawn.
        actions: ``permutation`` or ``rich``.
        unseen: How many spaces no output depended on: of these the figures say nothing.
    """

    error: float
    control: float
    draws: int
    actions: Richness
    unseen: int = 0

    def __str__(self) -> str:
        unseen = f", nothing seen of {self.unseen} space{'s' * (self.unseen > 1)}" if self.unseen else ""
        tried = f"{self.draws} draws, {self.actions}{unseen}"
        return f"VERIFIED (error {self.error:.1e}, control {self.control:.1e}, {tried})"


def relative_change(before: Tensor, after: Tensor) -> float:
    """||after - before|| / ||before - mean(before)||, so that a constant offset cannot hide a change.

    Outputs that agree up to rounding have no spread to compare with; then it is ||after - before|| / ||before||.
    Whole numbers (classes) are compared as they are, complex ones with both their parts.
    """
    before, after = (_inexact(x) for x in (before, after))
    return float((after - before).norm() / scale_of(before))


def change_of_slices(before: Tensor, after: Tensor, least: float) -> float:
    """The largest relative change of a slice across one axis: a large column would hide what happens to a small one.

    Args:
        before: Of any shape.
        after: Of the same shape.
        least: Slices smaller than this share of the whole are compared with that share.
    """
    before, after = (_inexact(x) for x in (before, after))
    floor, worst = least * float(scale_of(before)), [0.0]
    for axis in range(before.ndim if before.ndim > 1 else 0):
        rows, moved = (x.movedim(axis, 0).flatten(1) for x in (before, after))
        size, spread = rows.norm(dim=1), (rows - rows.mean(1, keepdim=True)).norm(dim=1)
        scale = torch.where(spread > 8 * torch.finfo(size.dtype).eps * size, spread, size).clamp_min(floor)
        worst.append(float(((moved - rows).norm(dim=1) / scale.clamp_min(torch.finfo(size.dtype).tiny)).max()))
    return _largest(worst)


def scale_of(outputs: Tensor) -> Tensor:
    """What changes of outputs are compared with: ||x - mean(x)||, or ||x|| where that is rounding."""
    outputs = _inexact(outputs)
    spread, size, kind = (outputs - outputs.mean()).norm(), outputs.norm(), torch.finfo(outputs.dtype)
    scale: Tensor = spread if spread > 8 * kind.eps * size else size.clamp_min(kind.tiny)
    return scale


def _inexact(x: Tensor) -> Tensor:
    return x if x.is_floating_point() or x.is_complex() else x.double()


def _largest(changes: list[float]) -> float:
    """The maximum, where NaN (outputs that are not numbers) outweighs everything; 0 of nothing."""
    return next((change for change in changes if math.isnan(change)), max(changes, default=0.0))


def changed(weights: Weights, moved: Weights) -> list[str]:
    """The parameters that an element moves."""
    return [name for name, x in weights.items() if x is not moved[name] and not torch.equal(x, moved[name])]


def left_behind(weights: Weights, moved: Weights, name: str) -> Weights:
    """The moved weights with one parameter put back."""
    return Weights(weights.graph, {**moved.tensors, name: weights[name]})


def verify(
    graph: NetworkGraph,
    weights: Weights,
    inputs: Tensor | None = None,
    *,
    generator: torch.Generator,
    run: Run | None = None,
    actions: Richness = "permutation",
    draws: int = 3,
    tolerance: float = 1e-8,
    least_control: float = 1e-6,
    most_controls: int | None = None,
) -> Verification:
    """Checks that G leaves the function of the given networks alone.

    Args:
        graph: The graph whose group is on trial.
        weights: Networks to try it on; float64 for a sharp verdict.
        inputs: Points (points, d_in) for `graphws.operations.forward`.
        generator: Source of the random elements.
        run: Computes outputs from weights, for networks that the graph cannot run itself.
        actions: Permutations only, or the rich actions too.
        draws: How many elements to draw.
        tolerance: Largest relative change that still counts as none.
        least_control: Smallest relative change that counts as one.
        most_controls: How many parameters are left behind in turn, drawn anew for each element; all where None.

    Raises:
        VerificationError: Where an element changes the outputs, or where the control does not change them.
    """
    if run is None:
        if inputs is None:
            raise VerificationError("nothing to compare: give `inputs`, or `run`")
        points = inputs

        def run(candidate: Weights) -> Tensor:
            return outputs_of(graph, candidate, points)

    before = run(weights)
    errors, controls = [0.0], []
    for _ in range(draws):
        element = graph.group().random(generator, actions=actions, dtype=weights.dtype, moving=True)
        moved = element.act(weights)
        errors.append(relative_change(before, run(moved)))
        names = changed(weights, moved)
        if most_controls is not None and len(names) > most_controls:
            names = [names[k] for k in torch.randperm(len(names), generator=generator)[:most_controls].tolist()]
        controls += [relative_change(before, run(left_behind(weights, moved, name))) for name in names]
    error = _largest(errors)
    if not error <= tolerance:
        raise VerificationError(
            f"a random {actions} element changes the outputs by {error:.1e} (allowed {tolerance:.0e})"
        )
    control = _largest(controls)
    if not control >= least_control:
        raise VerificationError(
            f"the check proves nothing: leaving a parameter behind changes the outputs by {control:.1e} only "
            f"(at least {least_control:.0e} wanted)"
        )
    return Verification(error, control, draws, actions)
