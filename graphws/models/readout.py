"""What reads the invariants of a network: a multilayer perceptron, as behind paper D's invariant layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from graphws.layers.norm import moments

MakeReadout = Callable[[int], nn.Module]
"""Makes a module (batch, width) -> answer from the width."""


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation with the statistics of the whole batch, also where several processes share it."""

    def forward(self, input: Tensor) -> Tensor:
        """Normalises (batch, features); in one process this is torch's own."""
        if not self.training:
            return super().forward(input)
        found = moments([(input, None)])
        with torch.no_grad():
            unbiased = found.variance * (found.count / max(found.count - 1, 1))
            assert self.momentum is not None
            for running, new in ((self.running_mean, found.mean), (self.running_var, unbiased)):
                assert running is not None
                running.lerp_(new.to(running.dtype), self.momentum)
        normal = (input - found.mean) * torch.rsqrt(found.variance + self.eps)
        return torch.addcmul(self.bias, normal, self.weight)


def perceptron(width: int, outputs: int, hidden: Sequence[int] = (), dropout: float = 0.0) -> nn.Sequential:
    """Linear, norm, ReLU, dropout, …, linear.

    Args:
        width: Length of the input.
        outputs: Length of the output.
        hidden: Widths of hidden layers; none: one linear map.
        dropout: Share of hidden features set to zero in training.
    """
    modules: list[nn.Module] = []
    widths = [width, *hidden, outputs]
    for k, (a, b) in enumerate(pairwise(widths)):
        if k:
            modules += [BatchNorm(a), nn.ReLU(), nn.Dropout(dropout)]
        modules.append(nn.Linear(a, b))
    return nn.Sequential(*modules)


def scaled_linear(width: int, outputs: int, scale: float) -> nn.Linear:
    """A linear map whose initial numbers are `scale` times as large: for outputs that become weights."""
    found = nn.Linear(width, outputs)
    with torch.no_grad():
        found.weight.mul_(scale)
        found.bias.mul_(scale)
    return found


def readout_of(outputs: int | MakeReadout) -> MakeReadout:
    """What makes a readout, where only the length of its output is given: a linear map."""
    if not isinstance(outputs, int):
        return outputs
    length = outputs
    return lambda width: perceptron(width, length)
