"""Generators of one-parameter groups: what a small turn, shift, zoom or mixing of colours does to data.

A generator X is a linear map of one input; it generates ρ(t) = exp(tX).  Units: radians for a rotation, pixels for a
translation, the logarithm of the zoom for a scaling.  Pictures are functions on a grid:

=================  ===================================  =========================================================
``translation-x``  -∂/∂x, from a row's Fourier series   ρ(1) shifts by one pixel to the right, around the edge
``translation-y``  -∂/∂y                                the same downwards
``rotation``       x ∂/∂y - y ∂/∂x, differences         counter-clockwise as one sees it (y counts downwards)
``scaling``        -(x ∂/∂x + y ∂/∂y), differences      pictures grow
=================  ===================================  =========================================================

The frequency of half a cycle a pixel has no derivative that is real; it is left out, as usual.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import UsageError, nearest

PictureMap = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Generator:
    """A linear map X of one point.

    Attributes:
        name: What it is called.
        unit: What t counts.
        on_points: (points, *shape) to the same.
        on_pictures: The part that moves pixels, (…, height, width) to the same for any grid; None where pixels stay.
    """

    name: str
    unit: str
    on_points: Callable[[Tensor], Tensor]
    on_pictures: PictureMap | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """X x for each point."""
        return self.on_points(x)

    def matrix(self, shape: Sequence[int]) -> Tensor:
        """X as a matrix of flattened points of a shape; for small ones, and tests."""
        size = math.prod(shape)
        return self(torch.eye(size, dtype=torch.float64).reshape(size, *shape)).reshape(size, size).mT


def _fourier(x: Tensor, axis: int) -> Tensor:
    """Derivative along a periodic axis; the steps between neighbours are 1."""
    n = x.shape[axis]
    frequency = 2 * math.pi * torch.fft.rfftfreq(n, dtype=x.dtype, device=x.device)
    if n % 2 == 0:
        frequency = torch.where(torch.arange(len(frequency), device=x.device) == n // 2, 0.0, frequency)
    shape = [1] * x.ndim
    shape[axis] = len(frequency)
    slope: Tensor = torch.fft.irfft(torch.fft.rfft(x, dim=axis) * (1j * frequency.reshape(shape)), n=n, dim=axis)
    return slope


def _differences(x: Tensor, axis: int) -> Tensor:
    """Centred differences, half as wide at the edges."""
    if x.shape[axis] == 1:
        return torch.zeros_like(x)
    (slope,) = torch.gradient(x, dim=axis)
    return slope


def _coordinates(x: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row of every pixel, from the middle."""
    height, width = x.shape[-2:]
    rows = torch.arange(height, dtype=x.dtype, device=x.device) - (height - 1) / 2
    columns = torch.arange(width, dtype=x.dtype, device=x.device) - (width - 1) / 2
    return columns.expand(height, width), rows.unsqueeze(1).expand(height, width)


def _rotation(x: Tensor) -> Tensor:
    column, row = _coordinates(x)
    return column * _differences(x, x.ndim - 2) - row * _differences(x, x.ndim - 1)


def _scaling(x: Tensor) -> Tensor:
    column, row = _coordinates(x)
    return -(column * _differences(x, x.ndim - 1) + row * _differences(x, x.ndim - 2))


_PICTURES: Mapping[str, tuple[str, PictureMap]] = {
    "translation-x": ("pixel", lambda x: -_fourier(x, x.ndim - 1)),
    "translation-y": ("pixel", lambda x: -_fourier(x, x.ndim - 2)),
    "rotation": ("radian", _rotation),
    "scaling": ("log zoom", _scaling),
}
GENERATORS = tuple(_PICTURES)
"""Generators by name."""


def named_generator(name: str, shape: Sequence[int]) -> Generator:
    """A generator that moves pictures.

    Args:
        name: One of `GENERATORS`.
        shape: Shape of one input, (…, height, width).

    Raises:
        UsageError: On an unknown name, or inputs without rows and columns.
    """
    if name not in _PICTURES:
        raise UsageError(f"unknown generator {name!r}; there are {', '.join(GENERATORS)}" + nearest(name, GENERATORS))
    if len(shape) < 2:
        raise UsageError(f"generator {name!r} moves pictures: it needs a shape (…, height, width), got {tuple(shape)}")
    unit, function = _PICTURES[name]
    return Generator(name, unit, function, function)


def channel_mixing(matrix: Tensor, name: str = "channel mixing") -> Generator:
    """Colours mixed at the rate of a (channels, channels) matrix, the same at every pixel of (channels, height, width).

    Raises:
        UsageError: Where the matrix is not square.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise UsageError(f"channels are mixed by a square matrix, got one of shape {tuple(matrix.shape)}")
    return Generator(name, "unit", lambda x: torch.einsum("cd,pd...->pc...", matrix.to(x), x))


def matrix_generator(matrix: Tensor, name: str = "matrix") -> Generator:
    """Any linear map of the flattened point.

    Raises:
        UsageError: Where the matrix is not square.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise UsageError(f"a generator is a square matrix, got one of shape {tuple(matrix.shape)}")
    return Generator(name, "unit", lambda x: (x.flatten(1) @ matrix.to(x).mT).reshape(x.shape))


def shuffled(generator: Generator, shape: Sequence[int], random: torch.Generator) -> Generator:
    """A decoy: the generator between a random permutation of the numbers of a point and its inverse."""
    order = torch.randperm(math.prod(shape), generator=random)
    back = order.argsort()

    def apply(x: Tensor) -> Tensor:
        inside = x.flatten(1)[:, order.to(x.device)].reshape(x.shape)
        return generator(inside).flatten(1)[:, back.to(x.device)].reshape(x.shape)

    return Generator(f"{generator.name}, shuffled", generator.unit, apply)
