"""Small random networks of dense layers, convolutions or tokens; some steps know an order, some endings hide."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: list[Callable[[Tensor], Tensor]] = [
    torch.relu, torch.tanh, torch.sigmoid, functional.gelu, torch.sin, torch.abs, functional.softplus, torch.square,
    functional.hardswish, functional.elu, lambda h: functional.leaky_relu(h, 0.2), lambda h: h,
]  # fmt: skip
LAST_AXIS: list[Callable[[Tensor], Tensor]] = [
    lambda h: h.softmax(-1), lambda h: h.cumsum(-1), lambda h: h.roll(1, -1), lambda h: h.flip(-1),
    lambda h: h.sort(-1).values, lambda h: h * torch.arange(h.shape[-1]), lambda h: torch.cat(h.chunk(2, -1)[::-1], -1),
    lambda h: functional.layer_norm(h, h.shape[-1:]), lambda h: functional.normalize(h, dim=-1),
    lambda h: h.cummax(-1)[0],
    lambda h: functional.rms_norm(h, h.shape[-1:]), lambda h: h - h.mean(-1, keepdim=True), lambda h: h,
]  # fmt: skip
ENDINGS: list[Callable[[Tensor], Tensor]] = [
    lambda y: y, lambda y: y, lambda y: y, lambda y: y + 1e5,
    lambda y: y * torch.tensor([1e7] + [1.0] * (y.shape[-1] - 1)),
    lambda y: y.half().to(y.dtype), lambda y: torch.sigmoid(20 * y), lambda y: y.argmax(-1),
    lambda y: (100 * y).round(),
    lambda y: y.softmax(-1), lambda y: y.float().to(y.dtype), lambda y: y.sign(),
]  # fmt: skip


class RandomNetwork(nn.Module):
    """A network drawn by its seed; its `example` is a batch of inputs."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.rng = random.Random(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            kind = self.rng.choice([self._dense, self._pictures, self._tokens])
            kind()
            for name, tensor in self.named_buffers():
                if tensor.is_floating_point():
                    tensor.copy_(torch.rand(tensor.shape) + ("var" in name))
            for parameter in self.parameters():
                if parameter.ndim == 1:
                    parameter.data += 0.3 * torch.randn(parameter.shape)
            self.example = torch.randn(self.shape)
        self.ending = self.rng.choice(ENDINGS)
        self.rng = random.Random(0)
        self.eval()

    def _dense(self) -> None:
        widths = [self.rng.choice([4, 6]) for _ in range(self.rng.randint(1, 3))]
        self.layers, self.steps, before = nn.ModuleList(), [], 5
        self.norms = nn.ModuleList()
        for width in widths:
            self.layers.append(nn.Linear(before, width, bias=self.rng.random() < 0.8))
            norms = [nn.Identity(), nn.Identity(), nn.LayerNorm(width), nn.BatchNorm1d(width)]
            self.norms.append(self.rng.choice(norms))
            before = width
        self.steps = [(self.rng.choice(ACTIVATIONS), self.rng.choice([*LAST_AXIS, *[lambda h: h] * 6])) for _ in widths]
        self.last, self.shape, self.adds = nn.Linear(before, 3), (4, 5), self.rng.random() < 0.4

    def _pictures(self) -> None:
        channels = [3, *(self.rng.choice([4, 6]) for _ in range(self.rng.randint(1, 2)))]
        pairs = list(itertools.pairwise(channels))
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs)
        self.norms = nn.ModuleList(
            self.rng.choice([nn.Identity(), nn.BatchNorm2d(b), nn.GroupNorm(2, b)]) for _, b in pairs
        )
        self.steps = [(self.rng.choice(ACTIVATIONS), self.rng.choice(POOLS)) for _ in pairs]
        self.flat = self.rng.random() < 0.5
        self.shape, self.adds = (2, 3, 4, 4), False
        with torch.no_grad():
            features = self._features(torch.zeros(self.shape)).shape[-1]
        self.last = nn.Linear(features, 3)

    def _tokens(self) -> None:
        width = self.rng.choice([4, 8])
        inner: nn.Module = nn.TransformerEncoderLayer(
            width, 2, 6, 0.0, batch_first=True, norm_first=self.rng.random() < 0.5
        )
        if self.rng.random() < 0.4:
            inner = self.rng.choice([nn.GRU, nn.LSTM, nn.RNN])(width, 6, batch_first=True)
        self.layers, self.norms = nn.ModuleList([nn.Linear(5, width)]), nn.ModuleList([nn.Identity()])
        self.steps, self.inner = [(self.rng.choice(ACTIVATIONS), lambda h: h)], inner
        self.last = nn.Linear(width if isinstance(inner, nn.TransformerEncoderLayer) else 6, 3)
        self.shape, self.adds = (2, 3, 5), False

    def _features(self, x: Tensor) -> Tensor:
        for layer, norm, (activation, step) in zip(self.layers, self.norms, self.steps, strict=True):
            h = step(activation(norm(layer(x))))
            x = h + x if self.adds and h.shape == x.shape else h
        if hasattr(self, "inner"):
            x = self.inner(x)
            x = (x[0] if isinstance(x, tuple) else x).mean(1)
        if x.ndim > 2:
            x = x.flatten(1) if self.flat else x.mean((2, 3))
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.ending(self.last(self._features(x)))


POOLS: list[Callable[[Tensor], Tensor]] = [
    lambda h: h, lambda h: functional.max_pool2d(h, 2), lambda h: functional.avg_pool2d(h, 2), lambda h: h.softmax(1),
    lambda h: functional.channel_shuffle(h, 2), lambda h: h.roll(1, 1), lambda h: h.cumsum(1),
    lambda h: functional.interpolate(h, scale_factor=2), lambda h: h * h.mean((2, 3), keepdim=True),
]  # fmt: skip
