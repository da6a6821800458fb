"""``zoo.network.recipe``: how the networks of a zoo start, as those who made such zoos have it.

What a network starts from stays in its weights, so a recipe decides how well they can be read afterwards: docs/zoos.md
has what was measured.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

Recipe = Literal["siren", "dwsnets", "graphws"]
Omega = float | tuple[float, float] | Literal["grid"]


@dataclass(frozen=True)
class Start:
    """What a recipe gives to the keys of ``zoo.network`` that a spec leaves out; they are described there."""

    omega: Omega
    start: float
    first: Literal["siren", "hidden"]
    offset: float

    def filled(self, given: dict[str, Any]) -> dict[str, Any]:
        """The keys that are given, and the recipe's for all others."""
        return {**asdict(self), **given}


RECIPES: dict[Recipe, Start] = {
    "siren": Start(omega=30.0, start=1.0, first="siren", offset=0.0),
    "dwsnets": Start(omega=30.0, start=1.0, first="hidden", offset=0.5),
    "graphws": Start(omega="grid", start=0.3, first="siren", offset=0.0),
}

_HIGHEST = 30.0


def omega_of_grid(length: int) -> float:
    """ω for signals that are known at `length` points along the longer side of a grid over [-1, 1].

    The highest frequency that the grid determines is N = π(length - 1)/2; above it a network's ω fills the weights with
    what the data do not say.  5 at 8 pixels and 10 at 28 read well; between and beyond them ω goes with the root of N,
    as a whole number of at most SIREN's 30.

    >>> [omega_of_grid(length) for length in (8, 28, 32, 2000)]
    [5.0, 10.0, 10.0, 30.0]
    """
    highest = math.pi * (length - 1) / 2
    return min(_HIGHEST, max(1.0, float(round(1.5 * math.sqrt(highest)))))
