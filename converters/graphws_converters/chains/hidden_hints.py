"""The caller's hints, one for each hidden layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from graphws.checkpoints.conversion import Hints
from graphws.errors import UsageError, nearest
from graphws.operations import ACTIVATIONS
from graphws_converters.chains.activations import Hint

Value = TypeVar("Value", str, float)


def hidden_hints(hints: Hints, layers: int) -> list[Hint]:
    """A hint for each of so many hidden layers.

    Raises:
        UsageError: On an unknown activation, a list of the wrong length, or constants of another activation.
    """
    kinds = _spread(hints.activation, layers, "activation") if hints.activation is not None else [None] * layers
    omegas = _spread(hints.omega, layers, "omega") if hints.omega is not None else [None] * layers
    for kind in kinds:
        if kind is not None and kind not in ACTIVATIONS:
            raise UsageError(f"unknown activation {kind!r}" + nearest(kind, ACTIVATIONS))
    if hints.activation is not None and "sine" not in kinds and hints.omega is not None:
        raise UsageError(f"omega belongs to sine activations, activation= says {', '.join(map(str, kinds))}")
    return [
        Hint(kind, None if omega is None else float(omega), hints.exponent)
        for kind, omega in zip(kinds, omegas, strict=True)
    ]


def _spread(value: Value | Sequence[Value], layers: int, name: str) -> list[Value]:
    """One value for each hidden layer."""
    if isinstance(value, str | int | float):
        return [value] * layers
    if len(value) != layers:
        raise UsageError(f"{layers} hidden layers need one {name} or {layers}, got {len(value)}")
    return list(value)
