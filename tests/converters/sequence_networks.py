"""Networks over sequences and sets: recurrent layers, attention, experts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Recurrent(nn.Module):
    """An embedding, a recurrent layer, a linear one on its last output."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.embed, self.rnn = nn.Embedding(13, 8), kind(8, 10, batch_first=True, **options)  # type: ignore[arg-type]
        width = (options.get("proj_size") or 10) * (2 if options.get("bidirectional") else 1)
        self.head = nn.Linear(width, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(x))[0][:, -1])


class Attention(nn.Module):
    """torch's own attention layer between two linear ones."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(5, 12), nn.Linear(12, 3)
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        return self.head(x + self.attention(x, x, x, need_weights=False)[0])


class EncoderDecoder(nn.Module):
    """torch's own transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 12), nn.Linear(12, 11)
        self.transformer = nn.Transformer(12, 3, 1, 1, 16, batch_first=True)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.head(self.transformer(self.embed(source), self.embed(target)))


class ViT(nn.Module):
    """A vision transformer whose q, k and v are one linear layer, and whose attention is spelled out."""

    def __init__(self, width: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.heads, self.patches = heads, nn.Conv2d(3, width, 4, 4)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, width)), nn.Parameter(torch.randn(1, 5, width))
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 20), nn.Linear(20, width)
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        batch, tokens, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = (q @ k.transpose(-2, -1) * (width // self.heads) ** -0.5).softmax(-1)
        x = x + self.out((scores @ v).transpose(1, 2).reshape(batch, tokens, width))
        x = x + self.down(functional.gelu(self.up(self.norm2(x))))
        return self.head(self.norm3(x)[:, 0])


class TiedLanguageModel(nn.Module):
    """The embedding is the output layer's weight, too."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.norm = nn.Embedding(17, 12), nn.Linear(12, 12), nn.LayerNorm(12)
        self.head = nn.Linear(12, 17, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        return self.head(self.norm(h + torch.tanh(self.mix(h))))


class Experts(nn.Module):
    """Experts stacked in one tensor; the two best of each token are looked up by their index."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gate, self.head = nn.Linear(6, 8), nn.Linear(8, 4, bias=False), nn.Linear(8, 3)
        self.up, self.bias = nn.Parameter(torch.randn(4, 8, 10)), nn.Parameter(torch.randn(4, 10))
        self.down = nn.Parameter(torch.randn(4, 10, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        best, which = self.gate(x).softmax(-1).topk(2, -1)
        h = functional.gelu(torch.einsum("bd,bkdh->bkh", x, self.up[which]) + self.bias[which])
        y = torch.einsum("bkh,bkhd->bkd", h, self.down[which])
        return self.head((best.unsqueeze(-1) * y).sum(1))


class LoopedExperts(Experts):
    """The same experts, each picked by its number, and all of them summed."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        weights, y = self.gate(x).softmax(-1), torch.zeros_like(x)
        for k in range(4):
            y = y + weights[:, k : k + 1] * (functional.gelu(x @ self.up[k] + self.bias[k]) @ self.down[k])
        return self.head(y)


class ListedExperts(nn.Module):
    """Experts in a list; which of them runs is no axis of any tensor, only the columns of the gate are."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.head = nn.Linear(6, 4), nn.Linear(6, 3)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 6)) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        weights = self.gate(x).softmax(-1)
        y = torch.zeros_like(x)
        for k, expert in enumerate(self.experts):
            y = y + weights[:, k : k + 1] * expert(x)
        return self.head(y)


class SlopedHeads(nn.Module):
    """Attention whose heads are told apart by constant slopes; each head's q, k and v stand together."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(6, 36), nn.Linear(12, 3)
        self.register_buffer("slopes", torch.tensor([0.5, 0.25, 0.125]).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, 3, 4).transpose(1, 2).unbind(3)
        places = torch.arange(tokens)
        scores = q @ k.transpose(-2, -1) - self.slopes * (places[:, None] - places).abs()
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, 12))
