"""Small networks of the architectures in everyday use, each with a group that acts on what it reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GRID, VECTOR, SET, LINE = (3, 8, 8), (16,), (6, 3), (2, 8)
SHIFT = {"kind": "tokens", "generators": {"shift": [*range(1, SET[0]), 0]}}


class Net(nn.Module):
    """Some layers, and a function of them and the input."""

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


class Positional(nn.Module):
    """A network of tokens behind a positional encoding that tells them apart."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.code = inner, nn.Parameter(torch.randn(SET))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.inner(x + self.code)
        return y


class Graph(nn.Module):
    """Two rounds of messages along the edges of a fixed graph: of a ring, or of one that is drawn at random."""

    def __init__(self, ring: bool) -> None:
        super().__init__()
        self.first, self.own, self.last = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        size = SET[0]
        edges = torch.rand(size, size) if not ring else torch.eye(size).roll(1, 0) + torch.eye(size).roll(-1, 0)
        self.register_buffer("edges", edges)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.edges @ self.first(x))
        h = F.relu(self.edges @ self.own(h))
        y: Tensor = self.last(h.sum(1))
        return y


class SliceOfChannels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = _conv(3, 8), _conv(4, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(x))
        y: Tensor = self.last(F.relu(self.second(h[:, :4])).mean((2, 3)))
        return y


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(3.0 * x)


def _conv(into: int, out: int, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(into, out, 3, padding=1, **options)


def _top(width: int = 8) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4)


def _phi() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU())


def _mlp(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(16, 12), *middle, nn.Linear(12, 4))


def _encoder(width: int) -> nn.Module:
    return nn.TransformerEncoderLayer(width, 2, 16, 0.0, "gelu", batch_first=True)


def _squeeze_excite(m: Any, x: Tensor) -> Tensor:
    x = F.relu(m.c(x))
    y: Tensor = m.l((x * torch.sigmoid(m.b(F.relu(m.a(x.mean((2, 3))))))[:, :, None, None]).mean((2, 3)))
    return y


def _dense(m: Any, x: Tensor) -> Tensor:
    x = F.relu(m.a(x))
    y: Tensor = m.l(torch.cat([x, F.relu(m.b(x))], 1).mean((2, 3)))
    return y


def _unet(m: Any, x: Tensor) -> Tensor:
    a = F.relu(m.a(x))
    y: Tensor = m.o(torch.cat([a, F.relu(m.u(F.relu(m.d(a))))], 1))
    return y


def _res_block(m: Any, x: Tensor) -> Tensor:
    x = F.relu(m.n1(m.c1(x)))
    y: Tensor = m.l(F.relu(x + m.n3(m.c3(F.relu(m.n2(m.c2(x)))))).mean((2, 3)))
    return y


def _vit(m: Any, x: Tensor) -> Tensor:
    y: Tensor = m.l(m.t(m.p(x).flatten(2).transpose(1, 2)).mean(1))
    return y


def _mixer(m: Any, x: Tensor) -> Tensor:
    x = m.p(x).flatten(2).transpose(1, 2)
    x = x + m.t2(F.gelu(m.t1(x.transpose(1, 2)))).transpose(1, 2)
    y: Tensor = m.l((x + m.c2(F.gelu(m.c1(x)))).mean(1))
    return y


def _attend(m: Any, x: Tensor) -> Tensor:
    x = m.p(x)
    y: Tensor = m.r(m.a(x, x, x, need_weights=False)[0].mean(1))
    return y


def _pairs(m: Any, x: Tensor) -> Tensor:
    """h_i = Σ_j φ(x_i, x_j): messages of everyone to everyone."""
    n = x.shape[1]
    both = torch.cat([x.unsqueeze(2).expand(-1, -1, n, -1), x.unsqueeze(1).expand(-1, n, -1, -1)], -1)
    y: Tensor = m.r(m.q(m.p(both).sum(2)).mean(1))
    return y


def _residual_mlp(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    y: Tensor = m.r(h + m.c(torch.tanh(m.b(h))))
    return y


def _cat_wrapper(m: Any, x: Tensor) -> Tensor:
    h = torch.tanh(m.a(x))
    return torch.cat([m.b(h), m.c(h)], -1)


@dataclass(frozen=True)
class Architecture:
    """A network and the group that is looked for in it.

    Attributes:
        build: Makes the module, with random weights.
        inputs: Shape of one input as the module reads it.
        group: Name or mapping of the group.
        output: How it acts on outputs.
        shape: Shape of one input for the group, where it is another.
    """

    build: Callable[[], nn.Module]
    inputs: tuple[int, ...]
    group: str | Mapping[str, Any]
    output: str = "invariant"
    shape: tuple[int, ...] | None = None

    def module(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.build().double().eval()

    def points(self, count: int, seed: int = 1) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(count, *self.inputs, generator=generator, dtype=torch.float64)


def _vectors(build: Callable[[], nn.Module]) -> Architecture:
    return Architecture(build, VECTOR, "mirror", shape=(1, 4, 4))


def _pictures(build: Callable[[], nn.Module], output: str = "invariant") -> Architecture:
    return Architecture(build, GRID, "mirror", output)


def _sets(build: Callable[[], nn.Module], output: str = "invariant") -> Architecture:
    return Architecture(build, SET, SHIFT, output)


S, L = nn.Sequential, nn.Linear
INVARIANT = {
    "DeepSets mean": _sets(lambda: Net(lambda m, x: m.r(m.p(x).mean(1)), p=_phi(), r=L(8, 2))),
    "DeepSets sum": _sets(lambda: Net(lambda m, x: m.r(m.p(x).sum(1)), p=_phi(), r=L(8, 2))),
    "DeepSets max": _sets(lambda: Net(lambda m, x: m.r(m.p(x).amax(1)), p=_phi(), r=L(8, 2))),
    "equivariant layer of sets": _sets(
        lambda: Net(
            lambda m, x: m.r(F.relu(m.a(x) + m.b(x.mean(1, keepdim=True)))), a=L(3, 8), b=L(3, 8, bias=False), r=L(8, 3)
        ),
        "same",
    ),
    "MultiheadAttention": _sets(
        lambda: Net(_attend, p=_phi(), r=L(8, 2), a=nn.MultiheadAttention(8, 2, batch_first=True))
    ),
    "set transformer": _sets(lambda: Net(lambda m, x: m.r(m.t(m.p(x)).mean(1)), p=_phi(), t=_encoder(8), r=L(8, 2))),
    "messages of everyone": _sets(lambda: Net(_pairs, p=S(L(6, 8), nn.ReLU()), q=S(L(8, 8), nn.ReLU()), r=L(8, 2))),
    "messages in a ring": _sets(lambda: Graph(ring=True)),
}
"""Networks that treat tokens alike: whatever their weights are, a permutation of tokens acts."""
GENERIC = {
    "MLP tanh": _vectors(lambda: _mlp(nn.Tanh())),
    "MLP ReLU": _vectors(lambda: S(L(16, 12), nn.ReLU(), L(12, 12), nn.ReLU(), L(12, 4))),
    "SIREN": _vectors(lambda: S(L(16, 12), Sine(), L(12, 12), Sine(), L(12, 4))),
    "residual MLP": _vectors(lambda: Net(_residual_mlp, a=L(16, 10), b=L(10, 12), c=L(12, 10), r=L(10, 4))),
    "MLP BatchNorm1d": _vectors(lambda: _mlp(nn.BatchNorm1d(12), nn.ReLU())),
    "MLP LayerNorm": _vectors(lambda: _mlp(nn.LayerNorm(12), nn.ReLU())),
    "MLP PReLU": _vectors(lambda: _mlp(nn.PReLU(12))),
    "softmax at the end": _vectors(lambda: S(_mlp(nn.Tanh()), nn.Softmax(-1))),
    "log-softmax at the end": _vectors(lambda: S(_mlp(nn.ReLU()), nn.LogSoftmax(-1))),
    "cat at the end": _vectors(lambda: Net(_cat_wrapper, a=L(16, 12), b=L(12, 2), c=L(12, 2))),
    "prelu at the end": _vectors(lambda: S(_mlp(nn.Tanh()), nn.PReLU(4))),
    "CNN with strides": _pictures(
        lambda: S(_conv(3, 8, stride=2), nn.ReLU(), nn.Conv2d(8, 8, 2, 2), nn.Tanh(), *_top())
    ),
    "CNN BatchNorm": _pictures(
        lambda: S(_conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), _conv(8, 8), *_top())
    ),
    "ResNet": _pictures(
        lambda: Net(
            _res_block,
            c1=_conv(3, 8),
            n1=nn.BatchNorm2d(8),
            c2=_conv(8, 6),
            n2=nn.BatchNorm2d(6),
            c3=_conv(6, 8),
            n3=nn.BatchNorm2d(8),
            l=L(8, 4),
        )
    ),
    "InstanceNorm": _pictures(
        lambda: S(_conv(3, 8), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), _conv(8, 8), nn.ReLU(), *_top())
    ),
    "LayerNorm on pictures": _pictures(lambda: S(_conv(3, 8), nn.LayerNorm([8, 8, 8]), nn.ReLU(), *_top())),
    "GroupNorm": _pictures(lambda: S(_conv(3, 8), nn.GroupNorm(2, 8), nn.ReLU(), *_top())),
    "CNN PReLU": _pictures(lambda: S(_conv(3, 8), nn.PReLU(8), *_top())),
    "global maximum": _pictures(lambda: S(_conv(3, 8), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), L(8, 4))),
    "slice of channels": _pictures(SliceOfChannels),
    "squeeze and excite": _pictures(lambda: Net(_squeeze_excite, c=_conv(3, 8), a=L(8, 4), b=L(4, 8), l=L(8, 4))),
    "DenseNet": _pictures(lambda: Net(_dense, a=_conv(3, 6), b=_conv(6, 6), l=L(12, 4))),
    "U-Net": _pictures(
        lambda: Net(_unet, a=_conv(3, 6), d=nn.Conv2d(6, 6, 2, 2), u=nn.ConvTranspose2d(6, 6, 2, 2), o=_conv(12, 3)),
        "same",
    ),
    "autoencoder": _pictures(lambda: S(nn.Conv2d(3, 8, 2, 2), nn.ReLU(), nn.ConvTranspose2d(8, 3, 2, 2)), "same"),
    "ViT": _pictures(lambda: Net(_vit, p=nn.Conv2d(3, 8, 2, 2), t=_encoder(8), l=L(8, 4))),
    "Mixer of patches": _pictures(
        lambda: Net(_mixer, p=nn.Conv2d(3, 8, 2, 2), t1=L(16, 10), t2=L(10, 16), c1=L(8, 12), c2=L(12, 8), l=L(8, 4))
    ),
    "messages along edges": _sets(lambda: Graph(ring=False)),
    "1-D convolution": Architecture(
        lambda: S(
            nn.Conv1d(2, 6, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(6, 8, 3, padding=1),
            nn.Tanh(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            L(8, 4),
        ),
        LINE,
        "mirror",
    ),
}
"""Networks with random weights, in which no group acts."""
