"""How near to zero is zero: the tolerance of a reduction, and where it comes from.

Every figure that is compared with it is relative: the norm of a neuron's slice over that of its layer, the distance of
two neurons over their norm.  So one number serves all layers, and there are three ways to choose it:

* ``dtype``: what rounding can do, 1e-9 in double and 1e-5 in single precision.  Only exact redundancy goes, and the
  function stays as it was;
* ``gap``: a trained network's redundant neurons are only nearly so.  If the sorted figures of all neurons fall apart
  into a cluster near zero and the rest, a factor of `LEAST_GAP` or more from one another, the tolerance is put between
  them; without such a gap, in all spaces together or in the one at hand, it is the dtype's;
* a number: as given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from graphws.errors import UsageError
from graphws.shown import Shown

LEAST_GAP = 3.0
"""Ratio of neighbours in the sorted figures that counts as a gap."""
LARGEST = 0.3
"""A figure above it never counts as nearly zero."""
MARGIN = 4.0
"""How far above the cluster near zero the tolerance is put: figures grow a little as other neurons go."""
ROUNDING = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}
"""What rounding can do, by type."""

Choice = float | Literal["dtype", "gap"]


@dataclass(frozen=True, repr=False)
class Tolerance(Shown):
    """A tolerance and why it is that.

    Args:
        value: Largest relative figure that still counts as zero.
        source: ``dtype``, ``gap`` or ``given``.
    """

    value: float
    source: str

    def __str__(self) -> str:
        return f"{self.value:.1e} ({self.source})"


def check_choice(choice: Choice) -> None:
    """Raises `UsageError` on a tolerance that is none."""
    allowed = choice in ("dtype", "gap") if isinstance(choice, str) else 0 <= choice < 1
    if not allowed:
        raise UsageError(f"tolerance must be 'dtype', 'gap' or a number of at least 0 and below 1; got {choice!r}")


def choose(choice: Choice, dtype: torch.dtype, figures: Tensor) -> Tolerance:
    """The tolerance for figures of one kind.

    Args:
        choice: What the caller asked for.
        dtype: Type that the weights were stored in.
        figures: The relative figures of every neuron of the layers looked at, in one row.
    """
    check_choice(choice)
    if not isinstance(choice, str):
        return Tolerance(float(choice), "given")
    floor = ROUNDING.get(dtype, ROUNDING[torch.float32])
    gap = _gap(figures, floor) if choice == "gap" else None
    return Tolerance(floor, "dtype") if gap is None else Tolerance(gap, "gap")


def _gap(figures: Tensor, floor: float) -> float | None:
    """A number inside the widest gap that begins below `LARGEST`, or None."""
    ranked = figures.double().clamp_min(floor).sort().values
    if ranked.numel() < 2:
        return None
    ratios = torch.where(ranked[:-1] <= LARGEST, ranked[1:] / ranked[:-1], 0.0)
    widest = int(ratios.argmax())
    if ratios[widest] < LEAST_GAP:
        return None
    low, high = float(ranked[widest]), float(ranked[widest + 1])
    return min(math.sqrt(low * high), MARGIN * low)
