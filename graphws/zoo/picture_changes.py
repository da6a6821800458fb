"""Random changes of pictures: turns, mirrors, light and colour, noise.

Pictures are (pictures, channels, rows, columns), floats in [0, 1].  Every picture has draws of its own from the
generator, which lives on the device of the pictures; nothing is changed in place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Corruption:
    """A picture turned, mirrored, changed in light and colour, and covered with noise, in this order.

    Args:
        rotation: Angles are uniform within ± so many degrees; what a turn leaves open is 0.
        flip: Whether left and right are exchanged in half of the pictures.
        jitter: See `jittered`.
        noise: Deviation of Gaussian noise on every number.
    """

    rotation: float = 0.0
    flip: bool = False
    jitter: float = 0.0
    noise: float = 0.0

    def __call__(
        self, pictures: Float[Tensor, "pictures channels rows columns"], generator: torch.Generator
    ) -> Float[Tensor, "pictures channels rows columns"]:
        """Corrupted pictures, in [0, 1].

        The draws do not depend on how strong a change is, so that strengths can be compared.
        """
        count, device = len(pictures), pictures.device
        unit = torch.rand(2, count, generator=generator, device=device)
        if self.rotation:
            pictures = turned(pictures, (2 * unit[0] - 1) * math.radians(self.rotation))
        if self.flip:
            pictures = torch.where((unit[1] < 0.5)[:, None, None, None], pictures.flip(-1), pictures)
        pictures = jittered(pictures, self.jitter, generator)
        normal = torch.randn(pictures.shape, generator=generator, device=device)
        return (pictures + self.noise * normal.to(pictures)).clamp(0, 1)


def turned(
    pictures: Float[Tensor, "pictures channels rows columns"], angles: Float[Tensor, " pictures"]
) -> Float[Tensor, "pictures channels rows columns"]:
    """Pictures turned about their middle, each by its angle (radians, counterclockwise to the eye), bilinearly."""
    cosine, sine = angles.cos(), angles.sin()
    rows = torch.stack([cosine, -sine, torch.zeros_like(sine), sine, cosine, torch.zeros_like(sine)], dim=1)
    grid = functional.affine_grid(rows.reshape(-1, 2, 3).to(pictures), list(pictures.shape), align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="zeros", align_corners=False)


def jittered(
    pictures: Float[Tensor, "pictures channels rows columns"], jitter: float, generator: torch.Generator
) -> Float[Tensor, "pictures channels rows columns"]:
    """Pictures brighter or darker, of more or less contrast, and, where they have colours, tinted.

    Args:
        pictures: In [0, 1]; the result may leave that range.
        jitter: Brightness and contrast are multiplied by factors within 1 ± this, colours within 1 ± half of it.
        generator: Of the factors.
    """
    count, channels = pictures.shape[:2]

    def factor(*shape: int, spread: float) -> Tensor:
        return 1 + spread * (2 * torch.rand(*shape, generator=generator, device=pictures.device) - 1)

    pictures = pictures * factor(count, 1, 1, 1, spread=jitter)
    mean = pictures.mean((1, 2, 3), keepdim=True)
    pictures = mean + (pictures - mean) * factor(count, 1, 1, 1, spread=jitter)
    if channels > 1:
        pictures = pictures * factor(count, channels, 1, 1, spread=jitter / 2)
    return pictures
