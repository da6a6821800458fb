"""Moves of pictures: what mirrors, rotations and translations do to the pixels of a grid.

A move is a function of a grid: it takes a table of shape (…, height, width) and gives the moved table.  Applied to the
table of pixel numbers it gives the permutation of a flattened picture, for any number of channels; so one move acts on
pictures, on feature maps and on the taps of a kernel alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import UsageError
from graphws.graph import Monomial

Move = Callable[[Tensor], Tensor]


def mirror(x: Tensor) -> Tensor:
    """Left and right exchanged."""
    return x.flip(-1)


def flip(x: Tensor) -> Tensor:
    """Top and bottom exchanged."""
    return x.flip(-2)


def quarter(x: Tensor) -> Tensor:
    """A quarter turn, counter-clockwise."""
    return x.rot90(1, (-2, -1))


def half(x: Tensor) -> Tensor:
    """A half turn."""
    return x.flip((-2, -1))


def transpose(x: Tensor) -> Tensor:
    """Rows and columns exchanged."""
    return x.mT


@dataclass(frozen=True)
class Moves:
    """A group of moves by generators and relations.

    Args:
        name: What it is called.
        generators: A move for each generator.
        relations: Words that are the identity; ``{rows}`` and ``{columns}`` are how many shifts lead once around.
        square: Whether it needs as many rows as columns.
        step: Pixels by which one shift moves rows and columns, for translations.
    """

    name: str
    generators: Mapping[str, Move]
    relations: tuple[str, ...]
    square: bool = False
    step: tuple[int, int] = (1, 1)

    def on(self, shape: tuple[int, ...]) -> dict[str, Monomial]:
        """The permutation that each generator is on pictures of shape (…, height, width), flattened.

        Raises:
            UsageError: On a shape without rows and columns, or one that is not square where it must be.
        """
        self._check(shape)
        table = torch.arange(math.prod(shape)).reshape(shape)
        return {key: Monomial(move(table).flatten()) for key, move in self.generators.items()}

    def relations_on(self, shape: tuple[int, ...]) -> tuple[str, ...]:
        """The relations on pictures of a shape; `UsageError` as `on`."""
        self._check(shape)
        rows, columns = (n // math.gcd(n, by) for n, by in zip(shape[-2:], self.step, strict=True))
        return tuple(text.format(rows=rows, columns=columns) for text in self.relations)

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) < 2 or any(n < 1 for n in shape):
            raise UsageError(f"group {self.name!r} moves pictures: it needs a shape (…, height, width), got {shape}")
        if self.square and shape[-1] != shape[-2]:
            raise UsageError(f"group {self.name!r} needs square pictures, got {shape[-2]} x {shape[-1]}")


def translations(rows: int, columns: int) -> Moves:
    """Cyclic shifts down by a number of rows and to the right by a number of columns; 0 for none that way.

    Raises:
        UsageError: On negative numbers, or 0 both ways.
    """
    if min(rows, columns) < 0 or rows == columns == 0:
        raise UsageError(f"group 'translations': a step is like 1 or [0, 2] (rows, columns), got {[rows, columns]}")
    shifts: dict[str, Move] = {}
    relations = []
    if columns:
        shifts["right"] = lambda x: x.roll(columns, -1)
        relations.append("right^{columns}")
    if rows:
        shifts["down"] = lambda x: x.roll(rows, -2)
        relations.append("down^{rows}")
    if len(shifts) == 2:
        relations.append("right down right^-1 down^-1")
    return Moves("translations", shifts, tuple(relations), step=(rows, columns))


PICTURES = {
    "mirror": Moves("mirror", {"m": mirror}, ("m^2",)),
    "flip": Moves("flip", {"f": flip}, ("f^2",)),
    "rotations-2": Moves("rotations-2", {"r": half}, ("r^2",)),
    "rotations-4": Moves("rotations-4", {"r": quarter}, ("r^4",), square=True),
    "transpose": Moves("transpose", {"t": transpose}, ("t^2",), square=True),
    "dihedral": Moves("dihedral", {"r": quarter, "m": mirror}, ("r^4", "m^2", "m r m r"), square=True),
    "translations": translations(1, 1),
}
"""Groups of moves by name; ``rotations`` of order n is ``rotations-n``."""


def channel_permutation(permutation: list[int], shape: tuple[int, ...]) -> Monomial:
    """The map of flattened pictures (channels, height, width) that puts channel permutation[c] at place c.

    Raises:
        UsageError: Where it is no permutation of the channels.
    """
    if len(shape) != 3 or sorted(permutation) != list(range(shape[0])):
        channels = shape[0] if len(shape) == 3 else "no"
        raise UsageError(f"{permutation} is no permutation of the {channels} channels of shape {shape}")
    table = torch.arange(math.prod(shape)).reshape(shape)
    return Monomial(table[permutation].flatten())


def token_permutation(order: Tensor, tokens: int, features: int) -> Monomial:
    """The map of flattened tokens (tokens, features) that puts token order[t] at place t."""
    table = torch.arange(tokens * features).reshape(tokens, features)
    return Monomial(table[order].flatten())
