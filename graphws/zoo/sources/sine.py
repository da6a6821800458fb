"""Sine waves a·sin(bx) on [-π, π], paper D's sections 7.1 and 7.2: the target is a wave's amplitude or frequency."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from graphws.errors import DataError, nearest
from graphws.zoo.sources.limit import Limit
from graphws.zoo.sources.samples import Samples

INPUTS = ("unit", "radians")
"""What a network may read of a place x: x/π, or x."""


def load_sine(
    *,
    count: int = 1000,
    amplitude: Sequence[float] = (1.0, 1.0),
    frequency: Sequence[float] = (0.5, 10.0),
    points: int = 2000,
    inputs: str = "unit",
    seed: int = 0,
    limit: int | Limit | None = None,
) -> Samples:
    """Waves with a and b drawn uniformly.

    The networks' coordinate is u = x/π in [-1, 1], or x itself.  Columns ``amplitude`` (a) and ``frequency`` (b, in
    radians per unit of x).  The peak is the range of the largest wave, twice the upper amplitude.

    Args:
        count: How many waves.
        amplitude: Bounds of a.
        frequency: Bounds of b.
        points: Equidistant points on [-π, π], both ends included.
        inputs: What a network reads: ``unit`` for u, ``radians`` for x.
        seed: Decides the draws.
        limit: At most so many of them.

    Raises:
        DataError: On bounds in the wrong order or both 0, or fewer than one wave or two points.
    """
    if inputs not in INPUTS:
        raise DataError(
            f"source 'sine': inputs is one of {', '.join(INPUTS)}, got {inputs!r}" + nearest(inputs, INPUTS)
        )
    if count < 1 or points < 2:
        raise DataError(f"source 'sine' needs at least 1 wave and 2 points, got {count} and {points}")
    for name, bounds in (("amplitude", amplitude), ("frequency", frequency)):
        ordered = len(bounds) == 2 and all(map(math.isfinite, bounds)) and bounds[0] <= bounds[1]
        if not ordered:
            raise DataError(f"source 'sine': {name} must be [low, high], got {list(bounds)}")
    for name, bounds in (("amplitude", amplitude), ("frequency", frequency)):
        if max(map(abs, bounds)) == 0:
            raise DataError(f"source 'sine': {'an' if name == 'amplitude' else 'a'} {name} of 0 leaves nothing to fit")
    rng = np.random.default_rng(seed)
    a, b = (low + (high - low) * rng.random(count) for low, high in (amplitude, frequency))
    u = torch.linspace(-1, 1, points, dtype=torch.float64)
    x = math.pi * u
    values = torch.from_numpy(a)[:, None] * torch.sin(torch.from_numpy(b)[:, None] * x)
    return Samples(
        "sine",
        (x if inputs == "radians" else u).unsqueeze(1),
        values.float().unsqueeze(2),
        peak=2 * max(map(abs, amplitude)),
        shape=(points,),
        table={"amplitude": a, "frequency": b},
    ).limited(limit)
