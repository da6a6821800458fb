"""Every kind of probes that find_actions is given: those that say much, and those that could fool it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor

from benchmarks.verdicts import Draw
from graphws.actions.groups.symmetry import DataSymmetry


def _normal(draw: Draw, shape: tuple[int, ...], _: DataSymmetry) -> Tensor:
    return draw.normal(draw.one(30, 60, 100), *shape)


def _few(draw: Draw, shape: tuple[int, ...], _: DataSymmetry) -> Tensor:
    return draw.normal(draw.number(4, 8), *shape)


def _nearly_symmetric(draw: Draw, shape: tuple[int, ...], symmetry: DataSymmetry) -> Tensor:
    """Means over the group with 5 to 40 % of noise, which is all that the group moves."""
    x = draw.normal(60, *shape)
    return _mean(x, symmetry) + draw.number(5, 40) / 100 * draw.normal(60, *shape)


def _mixed(draw: Draw, shape: tuple[int, ...], symmetry: DataSymmetry) -> Tensor:
    """x and its image under one element, mixed: (1 - a) x + a g x, a from 5 to 40 %."""
    x, a = draw.normal(60, *shape), draw.number(5, 40) / 100
    return (1 - a) * x + a * symmetry.on_inputs(draw.number(0, symmetry.order - 1), x)


def _digits(draw: Draw, shape: tuple[int, ...], _: DataSymmetry) -> Tensor:
    """Pictures of digits, a channel each, averaged or repeated to the size that is read."""
    channels, height, width = shape if len(shape) == 3 else (1, *shape) if len(shape) == 2 else (1, 4, shape[0] // 4)
    points, pictures = 60, digits()
    picked = pictures[torch.randint(len(pictures), (points * channels,), generator=draw.rng)]
    sized = torch.nn.functional.interpolate(picked[:, None], (height, width), mode="bilinear", align_corners=False)
    return sized.reshape(points, *shape)


def _symmetrised_digits(draw: Draw, shape: tuple[int, ...], symmetry: DataSymmetry) -> Tensor:
    """Digits whose group mean is added to them, 60 to 95 % of it."""
    x, share = _digits(draw, shape, symmetry), draw.number(60, 95) / 100
    return (1 - share) * x + share * _mean(x, symmetry)


def _sparse(draw: Draw, shape: tuple[int, ...], _: DataSymmetry) -> Tensor:
    kept = torch.rand(60, *shape, generator=draw.rng) < draw.one(0.05, 0.1, 0.3)
    return draw.normal(60, *shape) * kept


def _positive(draw: Draw, shape: tuple[int, ...], _: DataSymmetry) -> Tensor:
    return draw.normal(60, *shape).abs()


def _low_rank(draw: Draw, shape: tuple[int, ...], _: DataSymmetry) -> Tensor:
    size = int(torch.tensor(shape).prod())
    rank = draw.number(1, 3)
    return (draw.normal(60, rank) @ draw.normal(rank, size)).reshape(60, *shape)


def _constant(draw: Draw, shape: tuple[int, ...], symmetry: DataSymmetry) -> Tensor:
    """One input, symmetric or not, with a little noise."""
    one = draw.normal(1, *shape) * 5
    return (_mean(one, symmetry) if draw.one(True, False) else one) + 0.1 * draw.normal(60, *shape)


KINDS: dict[str, Callable[[Draw, tuple[int, ...], DataSymmetry], Tensor] | None] = {
    "none": None,
    "normal": _normal,
    "few": _few,
    "nearly symmetric": _nearly_symmetric,
    "mixed with their images": _mixed,
    "digits": _digits,
    "symmetrised digits": _symmetrised_digits,
    "sparse": _sparse,
    "positive": _positive,
    "of low rank": _low_rank,
    "constant with noise": _constant,
}
"""How probes (points, *shape) are drawn for a group; None for none."""


def _mean(x: Tensor, symmetry: DataSymmetry) -> Tensor:
    """The mean of x over the group."""
    return torch.stack([symmetry.on_inputs(g, x) for g in range(symmetry.order)]).mean(0)


@lru_cache(maxsize=1)
def digits() -> Tensor:
    """The 1,797 pictures of digits that come with scikit-learn, (1797, 8, 8), standardised."""
    pictures = torch.from_numpy(load_digits().images).double()
    return (pictures - pictures.mean()) / pictures.std()
