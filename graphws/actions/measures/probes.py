"""What probes must be to say anything: inputs that differ, and that the group moves.

On pictures that are their own mirror image every network looks as if the mirror did nothing inside it: all errors are
0, with every neuron in its place.  The same holds for equal colours under a permutation of channels.  Such probes are
refused; weights alone say more.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.actions.groups.symmetry import DataSymmetry, is_identity
from graphws.errors import DataError, UsageError

LEAST = 0.05
"""Share of their spread by which every element of a group must move probes."""


def moved_share(symmetry: DataSymmetry, data: Tensor) -> float:
    """The least ‖g x - x‖ / ‖x - mean‖ of any element that moves inputs at all; infinite where none does.

    Args:
        symmetry: The group.
        data: Probes (points, …), as the group acts on them.

    Raises:
        DataError: Where all probes are alike.
    """
    return min((share for share in _shares(symmetry, data) if share is not None), default=float("inf"))


def shares_of_reach(symmetry: DataSymmetry, data: Tensor) -> tuple[float, ...]:
    """For each element ‖g x - x‖ / (√2 ‖x - mean‖), at most 1: unrelated inputs are √2 spreads apart.

    1 for elements that leave all inputs alone, on which nothing depends.
    """
    return tuple(1.0 if share is None else min(1.0, share / 2**0.5) for share in _shares(symmetry, data))


def _shares(symmetry: DataSymmetry, data: Tensor) -> list[float | None]:
    """For each element ‖g x - x‖ / ‖x - mean‖; None for those that move no input."""
    points = data.detach().reshape(len(data), -1).to("cpu", torch.float64)
    spread = float((points - points.mean(0)).norm())
    if spread <= 1e-9 * float(points.norm()):
        raise DataError(f"all {len(data)} probes are the same input, so nothing can be measured on them")
    return [
        None if is_identity(symmetry.input[g]) else float((symmetry.on_inputs(g, points) - points).norm()) / spread
        for g in range(symmetry.order)
    ]


def check_moved(symmetry: DataSymmetry, data: Tensor) -> None:
    """Refuses probes that cannot show how a group acts; those that do not fit it at all are left to `pose`.

    Args:
        symmetry: The group.
        data: Probes (points, …).

    Raises:
        DataError: Where all probes are alike.
        UsageError: Where some element leaves them nearly as they are.
    """
    if data.ndim < 2 or not len(data) or data[0].numel() != symmetry.input[0].size or not data.isfinite().all():
        return
    share = moved_share(symmetry, data)
    if share < LEAST:
        raise UsageError(
            f"{symmetry.name} moves these probes by {share:.1%} of their spread only, so they cannot show how it acts: "
            "give others, or none"
        )
