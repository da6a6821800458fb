"""Attention: a mean with learned weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphws.errors import UsageError
from graphws.pooling import LearnedPooling, RowSegments


class Attention(LearnedPooling):
    """Weighs entries by a softmax of learned scores, with its own scores for every slot."""

    def module(self, channels: int, heads: int) -> nn.Module:
        """See `AttentionPool`."""
        return AttentionPool(channels, heads)

    def parameters(self, channels: int, heads: int) -> int:
        """One score vector a head."""
        return channels * heads


class AttentionPool(nn.Module):
    """Weighs entries by softmax(x·q), a score a head; heads share the channels out between them.

    Shapes:
        (batch, *index axes, channels) -> the same without the pooled axes;
        (rows, channels) and their segments -> (segments, channels).

    Raises:
        UsageError: Where heads do not divide channels.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        if channels % heads:
            raise UsageError(f"attention pooling: {heads} heads do not divide {channels} channels")
        self.heads = heads
        self.score = nn.Linear(channels, heads, bias=False)

    def forward(self, x: Tensor, over: tuple[int, ...] | RowSegments) -> Tensor:
        """Pools over axes, which must come before the channels, or over each of some segments of rows."""
        if not isinstance(over, tuple):
            return self._over(x, over)
        axes, score = over, self.score(x)
        moved = torch.movedim(score, axes, tuple(range(-len(axes) - 1, -1)))
        weight = moved.flatten(-len(axes) - 1, -2).softmax(-2).reshape(moved.shape)
        weight = torch.movedim(weight, tuple(range(-len(axes) - 1, -1)), axes)
        heads = x.unflatten(-1, (self.heads, -1))
        pooled: Tensor = (heads * weight.unsqueeze(-1)).sum(axes).flatten(-2)
        return pooled

    def _over(self, rows: Tensor, segments: RowSegments) -> Tensor:
        score: Tensor = self.score(rows)
        weight = (score - segments.spread(segments.max(score.detach()))).exp()
        weight = weight / segments.spread(segments.sum(weight))
        return segments.sum((rows.unflatten(-1, (self.heads, -1)) * weight.unsqueeze(-1)).flatten(-2))
