"""A linear probe: what a linear map can tell of a property from a representation."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphws.layers.processes import sum_of_processes

FLAT = 1e-6
"""A number whose deviation is a smaller part of its mean is the same for all networks, up to rounding."""
CUT = 1e-10
"""Directions of the standardised representation with a smaller part of the largest variance are rounding."""


class LinearProbe(nn.Module):
    """Least squares with a constant, kept in buffers of float64: it is fitted, not trained.

    Args:
        size: Of a representation.
        targets: How many properties it tells.

    Shapes:
        (batch, size) -> (batch, targets)
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, size: int, targets: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(targets, size, dtype=torch.float64))
        self.register_buffer("bias", torch.zeros(targets, dtype=torch.float64))

    def forward(self, embeddings: Float[Tensor, "batch size"]) -> Float[Tensor, "batch targets"]:
        """The properties, in their own units."""
        told: Tensor = (embeddings.double() @ self.weight.T + self.bias).float()
        return told

    @torch.no_grad()
    def fit(self, parts: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Least squares over the networks of all processes, each of which gives some.

        Law: the answer is scikit-learn's ``LinearRegression``, where the numbers of a representation are independent;
        where they are not, the one that leaves out what they say twice.  It is NaN where a representation is.

        Args:
            parts: Representations (batch, size) and properties (batch, targets).
        """
        found = list(parts)
        x = torch.cat([self.weight.new_zeros(0, self.weight.shape[1]), *(e.double() for e, _ in found)])
        y = torch.cat([self.weight.new_zeros(0, len(self.weight)), *(t.double() for _, t in found)])
        count = sum_of_processes(x.new_tensor(float(len(x))))
        mean, level = sum_of_processes(x.sum(0)) / count, sum_of_processes(y.sum(0)) / count
        x, y = x - mean, y - level
        deviation = (sum_of_processes(x.square().sum(0)) / count).sqrt()
        unit = torch.where(deviation > FLAT * mean.abs(), deviation, torch.inf)
        x = x / unit
        both = sum_of_processes(torch.cat([x.T @ x, x.T @ y], dim=1))
        squares, products = both.split([x.shape[1], y.shape[1]], dim=1)
        if bool(both.isfinite().all()):
            slopes = torch.linalg.pinv(squares, rtol=CUT, hermitian=True) @ products
        else:
            slopes = torch.full_like(products, torch.nan)
        weight = (slopes / unit[:, None]).T
        self.weight.copy_(weight)
        self.bias.copy_(level - weight @ mean)
