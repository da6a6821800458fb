"""A small transformer and its toy tasks: rearrange six digits."""

from __future__ import annotations

from collections.abc import Callable

import torch
from ensembles import Examples
from torch import Tensor, nn

DIGITS, LENGTH = 10, 6

TASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "reverse": lambda x: x.flip(-1),
    "rotate": lambda x: x.roll(1, -1),
    "swap": lambda x: x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2),
    "sort": lambda x: x.sort(-1).values,
    "mirror": lambda x: x[..., [0, 1, 2, 2, 1, 0]],
    "shuffle": lambda x: x[..., [2, 4, 0, 5, 1, 3]],
}
"""What is made of digits (…, LENGTH)."""


class Attention(nn.Module):
    """Attention of several heads over all positions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.v = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, positions, width) -> the same shape."""
        q, k, v = (f(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        found = torch.softmax(q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5, dim=-1) @ v
        return self.out(found.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """Attention and a multilayer perceptron, each behind a norm and beside a skip."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, positions, width) -> the same shape."""
        x = x + self.attention(self.norm1(x))
        return x + self.down(torch.relu(self.up(self.norm2(x))))


class ToyTransformer(nn.Module):
    """Embedded digits and positions, blocks, a norm, and logits of a digit at every position."""

    def __init__(self, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(DIGITS, width)
        self.positions = nn.Parameter(torch.randn(LENGTH, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, DIGITS)

    def forward(self, x: Tensor) -> Tensor:
        """Digits (batch, LENGTH) -> logits (batch, LENGTH, DIGITS)."""
        hidden = self.embedding(x) + self.positions
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.norm(hidden))


def digits(task: str, number: int, generator: torch.Generator) -> Examples:
    """Random digits and what a task makes of them."""
    x = torch.randint(DIGITS, (number, LENGTH), generator=generator)
    return Examples(x, TASKS[task](x))
