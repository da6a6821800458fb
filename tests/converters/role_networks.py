"""Networks of one family in several depths and widths, for tests of roles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def cnn(channels: Sequence[int], norm: bool = False, kernels: Sequence[int] = (3,), flat: bool = False) -> nn.Module:
    """Convolutions, then a mean over pixels (or all pixels of 12 x 12 halved once), then ten classes."""
    layers: list[nn.Module] = []
    for k, (before, after) in enumerate(zip([1, *channels], channels, strict=False)):
        size = kernels[k % len(kernels)]
        layers += [nn.Conv2d(before, after, size, padding=size // 2), *([nn.BatchNorm2d(after)] if norm else [])]
        layers += [nn.ReLU()]
    pool = nn.AdaptiveAvgPool2d(2 if flat else 1)
    return nn.Sequential(*layers, pool, nn.Flatten(), nn.Linear(channels[-1] * (4 if flat else 1), 10))


class BasicBlock(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after)
        self.second, self.norm2 = nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)
        projects = stride > 1 or before != after
        projection = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))
        self.shortcut = projection if projects else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.second(torch.relu(self.norm1(self.first(x)))))
        return torch.relu(y + self.shortcut(x))


class ResNet(nn.Module):
    """Stages of basic blocks; the stem's width is the first stage's."""

    def __init__(self, stages: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0])
        before, blocks = widths[0], []
        for stage, (count, width) in enumerate(zip(stages, widths, strict=True)):
            for k in range(count):
                blocks.append(BasicBlock(before, width, 2 if stage and not k else 1))
                before = width
        self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(before, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.blocks(torch.relu(self.norm(self.stem(x)))).mean((2, 3)))
        return y


class Block(nn.Module):
    """Attention, written out, and an MLP, perhaps gated."""

    def __init__(self, width: int, heads: int, fused: bool, gated: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        if fused:
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.o, self.up, self.down = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.gate = nn.Linear(width, 2 * width) if gated else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        points, tokens, width = y.shape
        parts = self.qkv(y).chunk(3, -1) if self.fused else (self.q(y), self.k(y), self.v(y))
        q, k, v = (part.reshape(points, tokens, self.heads, -1).transpose(1, 2) for part in parts)
        scores = q @ k.mT / math.sqrt(width // self.heads)
        later = torch.triu(torch.ones(tokens, tokens, dtype=torch.bool), 1)
        attention = scores.masked_fill(later, -math.inf).softmax(-1)
        x = x + self.o((attention @ v).transpose(1, 2).reshape(points, tokens, width))
        y = self.norm2(x)
        inner = functional.gelu(self.up(y)) if self.gate is None else functional.silu(self.gate(y)) * self.up(y)
        return x + self.down(inner)  # type: ignore[no-any-return]


class GPT(nn.Module):
    """A decoder on four tokens of a vocabulary of seven."""

    def __init__(
        self, layers: int, width: int, heads: int, fused: bool = False, gated: bool = False, tied: bool = False
    ) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(7, width), nn.Embedding(4, width)
        self.blocks = nn.ModuleList([Block(width, heads, fused, gated) for _ in range(layers)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 7, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        y = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        for block in self.blocks:
            y = block(y)
        return self.head(self.norm(y))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """PyTorch's own encoder, on five tokens."""

    def __init__(self, layers: int, width: int, heads: int, before: bool) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(11, width), nn.Parameter(torch.randn(5, width))
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, batch_first=True, norm_first=before)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.tokens(x) + self.positions).mean(1))  # type: ignore[no-any-return]


class Recurrent(nn.Module):
    """Reads sequences of three numbers; its last state gives two outputs."""

    def __init__(self, kind: Callable[..., nn.Module], layers: int, width: int, both: bool = False) -> None:
        super().__init__()
        self.rnn = kind(3, width, layers, batch_first=True, bidirectional=both)
        self.head = nn.Linear(width * (2 if both else 1), 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])  # type: ignore[no-any-return]


class LowRank(nn.Module):
    """A linear layer and a low-rank change of it."""

    def __init__(self, before: int, after: int, rank: int) -> None:
        super().__init__()
        self.base = nn.Linear(before, after)
        self.A, self.B = nn.Linear(before, rank, bias=False), nn.Linear(rank, after, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 0.5 * self.B(self.A(x))  # type: ignore[no-any-return]


def low_rank_mlp(widths: Sequence[int], rank: int) -> nn.Module:
    """An MLP of such layers."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [LowRank(before, after, rank), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _ids(vocabulary: int, tokens: int) -> Tensor:
    return torch.randint(0, vocabulary, (2, tokens), generator=torch.Generator().manual_seed(0))


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


Family = tuple[Callable[[], list[nn.Module]], Any]
FAMILIES: dict[str, Family] = {
    "CNN": (lambda: [cnn([4]), cnn([6, 4]), cnn([4, 4, 3, 5])], _normal(2, 1, 12, 12)),
    "CNN, batch norm": (lambda: [cnn([4], True), cnn([6, 4], True), cnn([4, 4, 3, 5], True)], _normal(2, 1, 12, 12)),
    "CNN, three kernels": (
        lambda: [
            cnn([2, 3, 3], kernels=(1, 3, 5)),
            cnn([3] * 4, kernels=(1, 3, 5, 1)),
            cnn([4] * 7, kernels=(1, 5, 3)),
        ],
        _normal(2, 1, 12, 12),
    ),
    "CNN, all pixels": (
        lambda: [cnn([3, 4], flat=True), cnn([2, 3, 3], flat=True), cnn([3, 4, 4, 3], flat=True)],
        _normal(2, 1, 12, 12),
    ),
    "ResNet": (
        lambda: [ResNet([1, 2], [4, 6]), ResNet([2, 2], [3, 5]), ResNet([3, 2, 2], [3, 4, 5])],
        _normal(2, 3, 8, 8),
    ),
    "GPT": (lambda: [GPT(1, 8, 2), GPT(2, 12, 3), GPT(4, 10, 2)], _ids(7, 4)),
    "GPT, fused and tied": (
        lambda: [GPT(1, 8, 2, True, tied=True), GPT(2, 12, 3, True, tied=True), GPT(4, 10, 2, True, tied=True)],
        _ids(7, 4),
    ),
    "GPT, gated": (lambda: [GPT(n, 4 * h, h, gated=True) for n, h in ((1, 2), (2, 3), (3, 2))], _ids(7, 4)),
    "encoder": (lambda: [Encoder(n, 4 * h, h, True) for n, h in ((1, 2), (2, 3), (4, 2))], _ids(11, 5)),
    "encoder, norms behind": (lambda: [Encoder(n, 4 * h, h, False) for n, h in ((1, 2), (2, 3), (4, 2))], _ids(11, 5)),
    "LSTM": (lambda: [Recurrent(nn.LSTM, n, n + 3) for n in (1, 2, 3)], _normal(2, 4, 3)),
    "GRU, both directions": (lambda: [Recurrent(nn.GRU, n, n + 3, True) for n in (1, 2, 3)], _normal(2, 4, 3)),
    "RNN": (lambda: [Recurrent(nn.RNN, n, n + 3) for n in (1, 2, 3)], _normal(2, 4, 3)),
    "LoRA": (
        lambda: [low_rank_mlp([3, 5, 2], 2), low_rank_mlp([3, 5, 6, 2], 3), low_rank_mlp([3, 4, 5, 6, 2], 2)],
        _normal(2, 3),
    ),
}
"""For each family networks of two sizes, one of a size that neither has, and example inputs of all."""
