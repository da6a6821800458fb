"""Adam (Kingma and Ba 2015) on a flat vector, with the learning rate schedules that fits use.

The hidden layers of a SIREN are stored multiplied by ω (see `graphws.zoo.batched_mlp`).  Their gradient is then 1/ω of
the ordinary one, so Adam's step, ordinary in size for any scaling of the gradient, is multiplied by ω and its epsilon
divided by ω: the same trajectory, to rounding.  A weight decay adds decay·p to the ordinary gradient of p (L2, before
the moments), so decay/ω² times what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
        parameters: What is optimised; hidden layers times `scale`.
        scale: ω, or 1.
        betas: Decay of the first and second moment.
        epsilon: Added to the root of the second moment.
        weight_decay: Pull of all parameters, biases too, towards 0, as a part of the gradient.
    """

    def __init__(
        self,
        parameters: FlatParameters,
        scale: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = parameters
        self.gradients = FlatParameters(parameters.shapes, len(parameters.layers[0]), parameters.flat)
        self.first = FlatParameters(parameters.shapes, len(parameters.layers[0]), parameters.flat)
        self.second = FlatParameters(parameters.shapes, len(parameters.layers[0]), parameters.flat)
        self._scale, self._betas, self._epsilon, self._decay = scale, betas, epsilon, weight_decay
        self._root = torch.empty_like(parameters.flat)

    def step(self, number: int, lr: float) -> None:
        """Update `number` (from 1) with the gradients that stand in `gradients`."""
        (beta1, beta2), gradient, last = self._betas, self.gradients.flat, self.parameters.last
        if self._decay:
            gradient[:last].add_(self.parameters.flat[:last], alpha=self._decay / self._scale**2)
            gradient[last:].add_(self.parameters.flat[last:], alpha=self._decay)
        self.first.flat.lerp_(gradient, 1 - beta1)
        self.second.flat.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        torch.sqrt(self.second.flat, out=self._root).div_(math.sqrt(1 - beta2**number))
        size = lr / (1 - beta1**number)
        self._move(slice(0, last), size * self._scale, self._epsilon / self._scale)
        self._move(slice(last, None), size, self._epsilon)

    def _move(self, part: slice, size: float, epsilon: float) -> None:
        root: Tensor = self._root[part].add_(epsilon)
        self.parameters.flat[part].addcdiv_(self.first.flat[part], root, value=-size)

    def keep(self, index: Tensor) -> None:
        """Go on with the networks at `index` alone."""
        self.parameters, self.gradients = self.parameters.keep(index), self.gradients.keep(index)
        self.first, self.second = self.first.keep(index), self.second.keep(index)
        self._root = torch.empty_like(self.parameters.flat)
