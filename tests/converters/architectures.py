"""Small networks of every kind that converters must understand, and the group that each must get.

`ARCHITECTURES` maps a name to a function that builds a network and example inputs; `GROUPS` says what the group of its
weight space is: one text a space, ``S_6 wr S_4`` for 6 head dimensions in each of 4 heads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.converters.sequence_networks import (
    Attention,
    EncoderDecoder,
    Experts,
    ListedExperts,
    LoopedExperts,
    Recurrent,
    SlopedHeads,
    TiedLanguageModel,
    ViT,
)

Built = tuple[nn.Module, tuple[Any, ...]]


class Siren(nn.Module):
    """Sines of a fixed frequency."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 16), nn.Linear(16, 16), nn.Linear(16, 3)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in list(self.layers)[:-1]:
            x = torch.sin(30.0 * layer(x))
        return self.layers[-1](x)


def convolution(inputs: int, outputs: int, stride: int = 1, groups: int = 1, size: int = 3) -> nn.Sequential:
    """Convolution and batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)
    )


class Residual(nn.Module):
    """Two convolutions beside a shortcut, of option A (zeros for new channels) or B (a projection)."""

    def __init__(self, inputs: int, outputs: int, stride: int, option: str) -> None:
        super().__init__()
        self.first, self.second = convolution(inputs, outputs, stride), convolution(outputs, outputs)
        self.more, self.stride = outputs - inputs, stride
        project = option == "B" and (stride > 1 or self.more > 0)
        self.shortcut = convolution(inputs, outputs, stride, size=1) if project else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(torch.relu(self.first(x)))
        if self.shortcut is not None:
            return torch.relu(y + self.shortcut(x))
        x = x[:, :, :: self.stride, :: self.stride]
        return torch.relu(y + functional.pad(x, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2)))


class ResNet(nn.Module):
    """A stem, three stages, a mean over pixels."""

    def __init__(self, option: str) -> None:
        super().__init__()
        self.stem = convolution(3, 4)
        self.stages = nn.Sequential(
            Residual(4, 4, 1, option), Residual(4, 8, 2, option), Residual(8, 8, 1, option), Residual(8, 12, 2, option)
        )
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(torch.relu(self.stem(x))).mean((2, 3)))


class DenseNet(nn.Module):
    """Every layer reads all before it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(6 + 4 * k), nn.ReLU(), nn.Conv2d(6 + 4 * k, 4, 3, padding=1)) for k in range(3)
        )
        self.head = nn.Linear(18, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.head(torch.relu(x).mean((2, 3)))


class UNet(nn.Module):
    """Down, up, and across by concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = convolution(3, 6), convolution(6, 8)
        self.bottom = convolution(8, 10)
        self.up2, self.join2 = nn.ConvTranspose2d(10, 8, 2, 2), convolution(16, 8)
        self.up1, self.join1 = nn.Upsample(scale_factor=2), convolution(14, 6)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu(self.down1(x))
        b = torch.relu(self.down2(functional.max_pool2d(a, 2)))
        c = torch.relu(self.bottom(functional.max_pool2d(b, 2)))
        y = torch.relu(self.join2(torch.cat([self.up2(c), b], 1)))
        return self.head(torch.relu(self.join1(torch.cat([self.up1(y), a], 1))))


class InvertedResidual(nn.Module):
    """MobileNet's block: expand, depthwise convolution, squeeze and excite, project, add."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.expand, self.depthwise = convolution(channels, hidden, size=1), convolution(hidden, hidden, groups=hidden)
        self.squeeze, self.excite = nn.Conv2d(hidden, 4, 1), nn.Conv2d(4, hidden, 1)
        self.project = convolution(hidden, channels, size=1)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.hardswish(self.depthwise(functional.hardswish(self.expand(x))))
        gate = functional.hardsigmoid(self.excite(torch.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return x + self.project(y * gate)


class GroupNormNet(nn.Module):
    """Group norms, and a convolution in groups."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(3, 12, 3, padding=1), nn.GroupNorm(4, 12)
        self.grouped, self.norm2 = nn.Conv2d(12, 8, 3, groups=2), nn.GroupNorm(2, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.silu(self.norm1(self.first(x)))
        return self.head(functional.gelu(self.norm2(self.grouped(x))).mean((2, 3)))


class VAE(nn.Module):
    """Mean and log variance side by side in one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 6))
        self.decoder = nn.Sequential(nn.Linear(3, 12), nn.ReLU(), nn.Linear(12, 8))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, -1)
        return self.decoder(mean * torch.exp(0.5 * log_variance)), mean.sum(-1)


class Mixer(nn.Module):
    """MLPs over tokens and over channels in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.tokens = nn.Sequential(nn.Linear(16, 10), nn.GELU(), nn.Linear(10, 16))
        self.channels = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.channels(self.norm2(x))
        return self.head(x.mean(1))


class SuperResolution(nn.Module):
    """Channels that become pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(4, 8, 1), nn.Conv2d(8, 12, 1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shuffle(torch.relu(self.first(x)))
        return self.shuffle(self.last(torch.relu(self.second(x))))


class SliceWrite(nn.Module):
    """Writes into part of a tensor in place: half of the hidden neurons skip the activation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 10), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h[:, :4] = torch.tanh(h[:, :4])
        return self.second(h)


class WeightNorm(nn.Module):
    """A weight computed from a direction and a length."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Linear(6, 10))
        self.second = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


def _tokens(*shape: int, count: int = 11) -> Tensor:
    return torch.randint(0, count, shape, generator=torch.Generator().manual_seed(0))


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 3))


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 10), nn.ReLU(), nn.Linear(10, 4),
    )  # fmt: skip


def _vgg() -> nn.Module:
    stages = [nn.Sequential(convolution(a, b), nn.ReLU(inplace=True)) for a, b in ((3, 6), (6, 6), (6, 8), (8, 8))]
    return nn.Sequential(
        stages[0], stages[1], nn.MaxPool2d(2), stages[2], stages[3], nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 10), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(10, 4),
    )  # fmt: skip


def _mobilenet() -> nn.Module:
    blocks = [InvertedResidual(6, 12), InvertedResidual(6, 12)]
    return nn.Sequential(
        convolution(3, 6), nn.Hardswish(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )


def _encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(12, 3, 16, batch_first=True, norm_first=True, activation="gelu")
    return nn.Sequential(
        nn.Linear(5, 12), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(12, 3)
    )


ARCHITECTURES: dict[str, Callable[[], Built]] = {
    "MLP": lambda: (_mlp(), (_normal(4, 7),)),
    "SIREN": lambda: (Siren(), (_normal(9, 2),)),
    "CNN + flatten": lambda: (_cnn(), (_normal(2, 3, 10, 10),)),
    "VGG": lambda: (_vgg(), (_normal(2, 3, 8, 8),)),
    "ResNet, option A": lambda: (ResNet("A"), (_normal(2, 3, 8, 8),)),
    "ResNet, option B": lambda: (ResNet("B"), (_normal(2, 3, 8, 8),)),
    "DenseNet": lambda: (DenseNet(), (_normal(2, 3, 6, 6),)),
    "U-Net": lambda: (UNet(), (_normal(1, 3, 8, 8),)),
    "MobileNet, squeeze-excite": lambda: (_mobilenet(), (_normal(2, 3, 6, 6),)),
    "GroupNorm, grouped convolution": lambda: (GroupNormNet(), (_normal(2, 3, 6, 6),)),
    "VAE": lambda: (VAE(), (_normal(4, 8),)),
    "MLP-Mixer": lambda: (Mixer(), (_normal(2, 3, 16, 16),)),
    "LSTM": lambda: (Recurrent(nn.LSTM), (_tokens(3, 5),)),
    "LSTM, 2 layers, both directions": lambda: (Recurrent(nn.LSTM, num_layers=2, bidirectional=True), (_tokens(3, 5),)),
    "LSTM, projected": lambda: (Recurrent(nn.LSTM, proj_size=6), (_tokens(3, 5),)),
    "GRU": lambda: (Recurrent(nn.GRU), (_tokens(3, 5),)),
    "nn.MultiheadAttention": lambda: (Attention(), (_normal(2, 5, 5),)),
    "nn.TransformerEncoder": lambda: (_encoder(), (_normal(2, 4, 5),)),
    "nn.Transformer": lambda: (EncoderDecoder(), (_tokens(2, 5), _tokens(2, 4))),
    "ViT": lambda: (ViT(), (_normal(2, 3, 8, 8),)),
    "heads told apart by slopes": lambda: (SlopedHeads(), (_normal(2, 5, 6),)),
    "language model, tied": lambda: (TiedLanguageModel(), (_tokens(2, 5),)),
    "experts in one tensor": lambda: (Experts(), (_normal(5, 6),)),
    "experts in a loop": lambda: (LoopedExperts(), (_normal(5, 6),)),
    "experts in a list": lambda: (ListedExperts(), (_normal(5, 6),)),
    "super-resolution": lambda: (SuperResolution(), (_normal(1, 3, 4, 4),)),
    "write into a slice": lambda: (SliceWrite(), (_normal(5, 4),)),
    "weight norm": lambda: (WeightNorm(), (_normal(4, 6),)),
}

GROUPS: dict[str, str] = {
    "MLP": "S_16 · S_12",
    "SIREN": "S_16 · S_16",
    "CNN + flatten": "S_6 · S_8 · S_10",
    "VGG": "S_6 · S_6 · S_8 · S_8 · S_10",
    "ResNet, option A": "S_4 · S_4 · S_8 · S_2 · S_2 · S_8 · S_12 · S_2 · S_2",
    "ResNet, option B": "S_4 · S_4 · S_8 · S_8 · S_8 · S_12 · S_12",
    "DenseNet": "S_6 · S_4 · S_4 · S_4",
    "U-Net": "S_6 · S_8 · S_10 · S_8 · S_8 · S_6",
    "MobileNet, squeeze-excite": "S_6 · S_12 · S_4 · S_12 · S_4",
    "GroupNorm, grouped convolution": "S_2 · S_2 wr S_2 · S_3 · S_4 wr S_2",
    "VAE": "S_12 · S_3 · S_12",
    "MLP-Mixer": "S_8 · S_10 · S_12",
    "LSTM": "S_8 · S_10",
    "LSTM, 2 layers, both directions": "S_8 · S_10 · S_10 · S_10 · S_10",
    "LSTM, projected": "S_8 · S_10 · S_6",
    "GRU": "S_8 · S_10",
    "nn.MultiheadAttention": "S_12 · S_3 · S_4 wr S_3 · S_4 wr S_3",
    "nn.TransformerEncoder": "S_12 · S_3 · S_4 wr S_3 · S_4 wr S_3 · S_16 · S_3 · S_4 wr S_3 · S_4 wr S_3 · S_16",
    "nn.Transformer": "S_12 · S_3 · S_4 wr S_3 · S_4 wr S_3 · S_16 · S_3 · "
    "S_4 wr S_3 · S_4 wr S_3 · S_3 · S_4 wr S_3 · S_4 wr S_3 · S_16",
    "ViT": "S_12 · S_3 · S_4 wr S_3 · S_4 wr S_3 · S_20",
    "heads told apart by slopes": " · ".join(["S_4"] * 6),
    "language model, tied": "S_12",
    "experts in one tensor": "S_8 · S_4 · S_10 wr S_4 · S_8",
    "experts in a loop": "S_8 · S_10 · S_10 · S_10 · S_10 · S_8",
    "experts in a list": "S_6 · S_5 · S_5 · S_5 · S_5",
    "super-resolution": "S_4 · S_8",
    "write into a slice": "S_4 · S_6",
    "weight norm": "S_10",
}


def build(name: str) -> Built:
    """A network with repeatable weights, and inputs."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ARCHITECTURES[name]()
