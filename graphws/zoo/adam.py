"""Adam (Kingma and Ba 2015) on a flat vector, with the learning rate schedules that fits use.

Each hidden layer of a SIREN is stored multiplied by its ω (see `graphws.zoo.batched_mlp`).  Its gradient is then 1/ω of
the ordinary one, so Adam's step, ordinary in size for any scaling of the gradient, is multiplied by ω and its epsilon
divided by ω: the same trajectory, to rounding.  A weight decay adds decay·p to the ordinary gradient of p (L2, before
the moments), so decay/ω² times what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Literal

import torch
from torch import Tensor

from graphws.zoo.batched_mlp import FlatParameters

Schedule = Literal["none", "cosine"]

_FACTORS: dict[Schedule, Callable[[float], float]] = {
    "none": lambda passed: 1.0,
    "cosine": lambda passed: 0.5 * (1 + math.cos(math.pi * passed)),
}
"""What the learning rate is multiplied by when a share of the updates has passed."""


def rate(lr: float, schedule: Schedule, step: int, steps: int) -> float:
    """Learning rate of update `step` (from 1 to `steps`): constant, or half a cosine from `lr` down to 0."""
    return lr * _FACTORS[schedule](step / steps)


class Adam:
    """The state of Adam for the networks of one group.

    Args:
        parameters: What is optimised; each layer times its scale.
        scales: Of every layer: its ω, or 1.
        betas: Decay of the first and second moment.
        epsilon: Added to the root of the second moment.
        weight_decay: Pull of all parameters, biases too, towards 0, as a part of the gradient.
    """

    def __init__(
        self,
        parameters: FlatParameters,
        scales: Sequence[float],
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = parameters
        self.gradients = FlatParameters(parameters.shapes, len(parameters.layers[0]), parameters.flat)
        self.first = FlatParameters(parameters.shapes, len(parameters.layers[0]), parameters.flat)
        self.second = FlatParameters(parameters.shapes, len(parameters.layers[0]), parameters.flat)
        self._betas, self._epsilon, self._decay = betas, epsilon, weight_decay
        self._scales = tuple(scales)
        self._root = torch.empty_like(parameters.flat)

    def step(self, number: int, lr: float) -> None:
        """Update `number` (from 1) with the gradients that stand in `gradients`."""
        (beta1, beta2), gradient = self._betas, self.gradients.flat
        segments = self._segments()
        if self._decay:
            for part, scale in segments:
                gradient[part].add_(self.parameters.flat[part], alpha=self._decay / scale**2)
        self.first.flat.lerp_(gradient, 1 - beta1)
        self.second.flat.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        torch.sqrt(self.second.flat, out=self._root).div_(math.sqrt(1 - beta2**number))
        size = lr / (1 - beta1**number)
        for part, scale in segments:
            root = self._root[part].add_(self._epsilon / scale)
            self.parameters.flat[part].addcdiv_(self.first.flat[part], root, value=-size * scale)

    def _segments(self) -> list[tuple[slice, float]]:
        """Neighbouring layers of one scale, as a slice of the flat vector, and that scale."""
        segments, low = [], 0
        for scale, layers in groupby(zip(self._scales, self.parameters.ends, strict=True), key=itemgetter(0)):
            high = list(layers)[-1][1]
            segments.append((slice(low, high), scale))
            low = high
        return segments

    def keep(self, index: Tensor) -> None:
        """Go on with the networks at `index` alone."""
        self.parameters, self.gradients = self.parameters.keep(index), self.gradients.keep(index)
        self.first, self.second = self.first.keep(index), self.second.keep(index)
        self._root = torch.empty_like(self.parameters.flat)
