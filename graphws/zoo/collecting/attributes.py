"""What a state dict of an MLP does not say: its activations with their constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphws.errors import UsageError, nearest
from graphws.operations import ACTIVATIONS, Activation

DEFAULT = "relu"
"""The activation where nothing is said of a folder of plain state dicts."""


@dataclass(frozen=True)
class Attributes:
    """The caller's word on every network that no like network describes.

    Args:
        activation: Of the hidden layers, one for all or one each; None where nothing is said.
        omega: Frequency of sines, sin(ω x), one for all or one each.
        exponent: Of ``power``.
        slope: Of ``leaky_relu`` below 0.

    Raises:
        UsageError: On an unknown activation, constants of another one, or numbers that are not finite.
    """

    activation: str | Sequence[str] | None = None
    omega: float | Sequence[float] | None = None
    exponent: int | None = None
    slope: float | None = None

    def __post_init__(self) -> None:
        for name in ("activation", "omega"):
            value = getattr(self, name)
            if isinstance(value, Sequence) and not isinstance(value, str):
                object.__setattr__(self, name, tuple(value))
        for kind in self.kinds:
            if kind not in ACTIVATIONS:
                raise UsageError(f"unknown activation {kind!r}" + nearest(kind, ACTIVATIONS))
        for name, number in (("omega", w) for w in self.omegas):
            if not (math.isfinite(number) and number > 0):
                raise UsageError(f"{name} must be a positive number, got {number!r}")
        if self.slope is not None and not math.isfinite(self.slope):
            raise UsageError(f"slope must be a finite number, got {self.slope!r}")
        for name, kind in (("omega", "sine"), ("exponent", "power"), ("slope", "leaky_relu")):
            given = getattr(self, name) is not None
            if given and kind not in self.kinds:
                said = ", ".join(self.kinds) or "nothing"
                raise UsageError(f"{name} belongs to the activation {kind!r}, but the activation given is {said}")
            if not given and kind in self.kinds:
                raise UsageError(f"a state dict does not hold the {_WORDS[name]}: give --{name} ({name}=)")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The activations that are named."""
        return (self.activation,) if isinstance(self.activation, str) else tuple(self.activation or ())

    @property
    def omegas(self) -> tuple[float, ...]:
        """The frequencies that are given."""
        return (self.omega,) if isinstance(self.omega, int | float) else tuple(self.omega or ())

    def hidden(self, layers: int) -> list[Activation]:
        """The activation of each of so many hidden layers.

        Raises:
            UsageError: Where lists are of another length, or nothing is said.
        """
        if self.activation is None and layers:
            raise UsageError("nothing says what runs between the layers: give --activation (activation=)")
        kinds = _spread(self.activation, layers, "activation")
        omegas = _spread(self.omega, layers, "omega")
        return [self._one(kind, omega) for kind, omega in zip(kinds, omegas, strict=True)]

    def _one(self, kind: str, omega: float | None) -> Activation:
        constants = {"omega": omega, "exponent": self.exponent, "negative_slope": self.slope}
        return ACTIVATIONS[kind].with_constants(constants)

    def settings(self) -> dict[str, Any]:
        """For provenance: what is given, under its names."""
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: list(x) if isinstance(x, tuple) else x for name, x in given.items() if x is not None}


_WORDS = {
    "omega": "frequency of its sines",
    "exponent": "power of its activations",
    "slope": "slope of its leaky ReLUs",
}


def _spread(value: Any, layers: int, name: str) -> list[Any]:
    """One value for each hidden layer."""
    if value is None or isinstance(value, str | int | float):
        return [value] * layers
    if len(value) != layers:
        raise UsageError(f"{layers} hidden layers need one {name} or {layers}, got {len(value)}")
    return list(value)
