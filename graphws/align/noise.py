"""Inputs of noise, on which an alignment is refined where there are no data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

POINTS = 2048
"""Inputs that are drawn where nobody says how many."""
LEVEL = 0.5
"""Standard deviation of the inputs' levels."""


def noise_inputs(shape: Sequence[int], count: int = POINTS, *, generator: torch.Generator) -> Tensor:
    """White noise of many contrasts and levels, float64 of shape (count, *shape).

    What range real inputs have is not known, so every input has a contrast of its own, uniform in 0 to 1, and a level
    of its own, normal with deviation `LEVEL`.

    Args:
        shape: Of one input.
        count: How many.
        generator: Source of the noise.
    """
    one = [1] * len(shape)
    white = torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    contrast = torch.rand(count, *one, generator=generator, dtype=torch.float64)
    level = LEVEL * torch.randn(count, *one, generator=generator, dtype=torch.float64)
    return white * contrast + level
