"""Gradients through masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class StraightThrough(torch.autograd.Function):
    """``(soft, hard)`` -> hard, with the gradient of soft."""

    generate_vmap_rule = True

    @staticmethod
    def forward(soft: Tensor, hard: Tensor) -> Tensor:
        """The hard mask."""
        return hard.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """As if the mask had been soft."""
        return tangents[0].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """As if the mask had been soft."""
        return gradients[0], None


class EqualGradients(torch.autograd.Function):
    """The identity, whose gradient gets the same root mean square in every part of a row: that of the whole row.

    Parts without a gradient have none.  The gradient stays a descent direction, as each part keeps its own.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, sizes: Sequence[int]) -> Tensor:
        """The rows, (batch, sum of the sizes of the parts)."""
        return rows.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keeps the sizes."""
        ctx.sizes = list(inputs[1])

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Any:
        """The identity: only gradients are evened."""
        return tangents[0].clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The same for every part."""
        gradient: Tensor = gradients[0]
        whole = gradient.square().mean(1, keepdim=True).sqrt()
        parts = []
        for part in gradient.split(ctx.sizes, dim=1):
            own = part.square().mean(1, keepdim=True).sqrt()
            parts.append(part * torch.where(own > 0, whole / own.clamp(min=torch.finfo(own.dtype).tiny), own))
        return torch.cat(parts, dim=1), None
