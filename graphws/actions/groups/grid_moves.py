"""Moves of pictures that reach every feature map: the symmetries of a square, and cyclic shifts.

A convolutional network has no one input space on which a group could act: the group moves pixels, and with them the
pixels of every feature map, and the taps of every kernel.  That works for moves of the whole grid only, which are the
eight symmetries of a square, each followed by a cyclic shift.  A convolution with kernel K obeys

    g (x * K) = (g x) * (g K),

where g acts on the taps without its shift.  This is the generalised adjunction of paper I, remark 4.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.groups.moves import Move, flip, half, mirror, quarter, transpose
from graphws.errors import UsageError
from graphws.graph import Monomial

SQUARE: dict[str, Move] = {
    "stay": lambda x: x,
    "mirror": mirror,
    "flip": flip,
    "half": half,
    "quarter": quarter,
    "three quarters": lambda x: x.rot90(3, (-2, -1)),
    "transpose": transpose,
    "antitranspose": lambda x: x.rot90(2, (-2, -1)).mT,
}
"""The symmetries of a square, as functions of tables (…, height, width)."""
_TURNS = ("quarter", "three quarters", "transpose", "antitranspose")


@dataclass(frozen=True)
class GridMove:
    """One move of pictures of a fixed size.

    Args:
        turn: A key of `SQUARE`, done first.
        shift: How many rows down and columns right, around the edge.
        grid: Height and width of the pictures whose pixels the shift counts.
    """

    turn: str
    shift: tuple[int, int]
    grid: tuple[int, int]

    def on_table(self, table: Tensor) -> Tensor:
        """A table (…, height, width), of any size that the shift reaches, moved.

        Raises:
            UsageError: Where a shift of pictures is no whole number of pixels of a smaller feature map, or the map is
                not square and the move turns it.  (A kernel is a small map.)
        """
        height, width = table.shape[-2:]
        if self.turn in _TURNS and height != width:
            raise UsageError(
                f"a move that turns pictures needs square kernels and feature maps, got {height} x {width}"
            )
        moved = SQUARE[self.turn](table)
        if self.shift == (0, 0):
            return moved
        steps = []
        for by, here, whole in zip(self.shift, (height, width), self.grid, strict=True):
            if here == 1:  # a mean over pixels knows no place
                steps.append(0)
                continue
            if by * here % whole:
                raise UsageError(
                    f"a shift by {by} of {whole} pixels is no whole number of pixels of a feature map "
                    f"{height} x {width}"
                )
            steps.append(by * here // whole)
        return moved.roll(steps, (-2, -1))

    def on_values(self, value: Tensor) -> Tensor:
        """Feature maps (…, height, width, channels) moved."""
        return self.on_table(value.movedim(-1, 0)).movedim(0, -1)

    def on_pixels(self, height: int, width: int) -> Monomial:
        """What it does to a feature map, flattened."""
        return Monomial(self.on_table(torch.arange(height * width).reshape(height, width)).flatten())

    def on_taps(self, height: int, width: int) -> Monomial:
        """What it does to the taps of a kernel, flattened: a kernel turns, it does not shift."""
        return GridMove(self.turn, (0, 0), self.grid).on_pixels(height, width)


def grid_move(perm: Tensor, grid: tuple[int, int]) -> GridMove:
    """The move that a permutation of the pixels of a grid is.

    Raises:
        UsageError: Where it is none.
    """
    height, width = grid
    if perm.numel() != math.prod(grid):
        raise UsageError(f"a permutation of {perm.numel()} pixels does not move a grid {height} x {width}")
    table = torch.arange(height * width).reshape(grid)
    for turn, move in SQUARE.items():
        turned = move(table)
        if turned.shape != table.shape:
            continue
        place = int((perm == turned[0, 0]).nonzero()[0, 0])  # where the corner of the turned picture went
        shift = (place // width, place % width)
        if torch.equal(turned.roll(shift, (0, 1)).flatten(), perm):
            return GridMove(turn, shift, grid)
    raise UsageError(
        "a network that convolves needs a group that moves whole pictures: mirrors, turns and cyclic shifts, "
        "with or without a map of the channels"
    )
