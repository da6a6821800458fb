"""Small transformers that tests of streams share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Attention and a perceptron, each behind a norm."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.before(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        x = x + self.o(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        out: Tensor = x + self.down(functional.gelu(self.up(self.between(x))))
        return out


class ViT(nn.Module):
    """A vision transformer on 8 x 8 pictures in patches of 4 x 4."""

    def __init__(self, cls: bool = False, width: int = 12, heads: int = 3, hidden: int = 14, blocks: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(16, width)
        self.cls = nn.Parameter(torch.randn(1, 1, width)) if cls else None
        self.pos = nn.Parameter(torch.randn(1, 4 + cls, width))
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(functional.unfold(x, 4, stride=4).transpose(1, 2))
        if self.cls is not None:
            x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        x = x + self.pos
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        out: Tensor = self.head(x[:, 0] if self.cls is not None else x.mean(1))
        return out


class Encoder(nn.Module):
    """PyTorch's own encoder layers."""

    def __init__(self, norm_first: bool = True) -> None:
        super().__init__()
        self.embed, self.pos = nn.Linear(4, 8), nn.Parameter(torch.randn(1, 5, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 10, batch_first=True, norm_first=norm_first, dropout=0.0)
        self.layers = nn.TransformerEncoder(layer, 1, norm=nn.LayerNorm(8), enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layers(self.embed(x) + self.pos).mean(1))
        return out


class Rotary(nn.Module):
    """One block whose queries and keys are turned by their places, on a stream of RMS norms."""

    def __init__(self, width: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.embed, self.norm, self.last = nn.Linear(3, width), nn.RMSNorm(width), nn.RMSNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.head = nn.Linear(width, 2)
        half = width // heads // 2
        self.register_buffer("speed", 100.0 ** (-torch.arange(half) / half), persistent=False)

    def turned(self, x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[2])[:, None] * torch.cat([self.speed, self.speed])  # type: ignore[list-item]
        low, high = x.chunk(2, -1)
        return x * angle.cos() + torch.cat([-high, low], -1) * angle.sin()

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        y = self.norm(x)
        q, k, v = (f(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        a = functional.scaled_dot_product_attention(self.turned(q), self.turned(k), v)
        out: Tensor = self.head(self.last(x + self.o(a.transpose(1, 2).flatten(2))))
        return out
