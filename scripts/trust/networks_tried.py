"""The networks in which actions are looked for: random weights, in architectures that could be mistaken for symmetric.

An `Architecture` draws its sizes and its weights; `GROUPS` says what may act on inputs of its kind.  *Random* ones have
no symmetry unless the architecture has it by construction, which is measured.  *Deceptive* ones have symmetric weights
(all filters are their own image, or an action is planted) and a step that breaks the symmetry: a grid of windows that
starts on one side, a pad on one side, an order of positions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.verdicts import Draw
from tests.actions.architecture_cases import Net

Group = tuple[str | Mapping[str, Any], tuple[int, ...]]
"""A group, and the shape of one input that it acts on."""
ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (nn.Tanh, nn.ReLU, nn.GELU, nn.SiLU, nn.Sigmoid)
PICTURE, VECTOR, TOKENS, LINE = (3, 8, 8), (16,), (6, 4), (2, 8)


class Step(nn.Module):
    """A step without weights."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """The function's value."""
        return self.function(x)


class Coded(nn.Module):
    """A network behind learned positions."""

    def __init__(self, inner: nn.Module, shape: tuple[int, ...], draw: Draw) -> None:
        super().__init__()
        self.inner, self.code = inner, nn.Parameter(draw.normal(*shape))

    def forward(self, x: Tensor) -> Tensor:
        """The inner network's value."""
        y: Tensor = self.inner(x + self.code)
        return y


@dataclass(frozen=True)
class Architecture:
    """What is drawn.

    Attributes:
        build: The module of a draw, with random weights.
        inputs: Shape of one input.
        same: Whether outputs are of the shape of inputs, and move as they do.
        symmetric: Whether its weights are made symmetric afterwards: a deceptive one.
        partly: Whether layers before the step that breaks the symmetry truly have it, by construction.
        bar: The largest true error beside which "action found" is right.
    """

    build: Callable[[Draw], nn.Module]
    inputs: tuple[int, ...]
    same: bool = False
    symmetric: bool = False
    partly: bool = False
    bar: float = 1e-6

    def group(self, draw: Draw) -> Group:
        """One of the groups that may act on its inputs."""
        return draw.one(*GROUPS[self.inputs])


def _token_groups() -> tuple[Group, ...]:
    count = TOKENS[0]
    swap, shift = [1, 0, *range(2, count)], [*range(1, count), 0]
    return (
        ({"kind": "tokens", "generators": {"shift": shift}}, TOKENS),
        ({"kind": "tokens", "generators": {"swap": swap}}, TOKENS),
        ({"kind": "tokens", "generators": {"turn": [*reversed(range(count))]}}, TOKENS),
        ({"kind": "tokens", "generators": {"a": [1, 2, 0, *range(3, count)], "b": [1, 0, *range(2, count)]}}, TOKENS),
        ({"kind": "tokens", "grid": [2, 3], "move": "mirror"}, TOKENS),
        ({"kind": "tokens", "grid": [2, 3], "move": "rotations:2"}, TOKENS),
    )


_SQUARE = ("mirror", "flip", "rotations:2", "rotations:4", "transpose", "dihedral")
GROUPS: dict[tuple[int, ...], tuple[Group, ...]] = {
    PICTURE: (*((name, PICTURE) for name in _SQUARE), ({"kind": "channels", "permutation": [2, 1, 0]}, PICTURE)),
    VECTOR: (
        *((name, (1, 4, 4)) for name in (*_SQUARE, "translations:2")),
        ({"kind": "generated", "generators": {"a": [1, 0, *range(2, 16)]}}, VECTOR),
        ({"kind": "generated", "generators": {"a": [*range(1, 16), 0]}}, VECTOR),
        ({"kind": "generated", "generators": {"s": {"places": [*range(16)], "signs": [-1] * 16}}}, VECTOR),
    ),
    TOKENS: _token_groups(),
    LINE: (("mirror", LINE),),
}
"""The groups that may act on inputs of a shape."""


def _mlp(draw: Draw, layers: int, low: int, high: int, *, norm: Callable[[int], nn.Module] | None = None) -> nn.Module:
    steps: list[nn.Module] = []
    size, activation = VECTOR[0], draw.one(*ACTIVATIONS)
    for _ in range(layers):
        width = draw.number(low, high)
        steps += [nn.Linear(size, width), *([] if norm is None else [norm(width)]), activation()]
        size = width
    return nn.Sequential(*steps, nn.Linear(size, draw.number(2, 5)))


def _siren(draw: Draw) -> nn.Module:
    omega, width = draw.one(1.0, 5.0, 30.0), draw.number(4, 24)
    sine = lambda: Step(lambda x: torch.sin(omega * x))  # noqa: E731
    return nn.Sequential(nn.Linear(16, width), sine(), nn.Linear(width, width), sine(), nn.Linear(width, 3))


def _autoencoder_of_vectors(draw: Draw) -> nn.Module:
    width = draw.number(4, 24)
    return nn.Sequential(nn.Linear(16, width), draw.one(*ACTIVATIONS)(), nn.Linear(width, 16))


def _partly_invariant(draw: Draw) -> nn.Module:
    """Some neurons are invariant under the mirror, 10 to 90 %, of any weight beside the others; any biases."""
    net = _mlp(draw, 1, 8, 24)
    first: Any = net[0]  # type: ignore[index]
    count = max(1, round(draw.number(1, 9) / 10 * len(first.weight)))
    with torch.no_grad():
        rows = first.weight[:count].unflatten(1, (4, 4))
        first.weight[:count] = draw.one(0.1, 1.0, 30.0) * ((rows + rows.flip(-1)) / 2).flatten(1)
        first.bias.mul_(draw.one(0.0, 1.0, 20.0))
    return net


def _conv(draw: Draw, into: int, out: int, size: int = 3, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(into, out, size, **{"padding": size // 2, **options})


def _top(width: int, draw: Draw) -> tuple[nn.Module, ...]:
    return nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, draw.number(2, 4))


def _cnn(
    draw: Draw, *middle: Callable[[int], nn.Module], before: Callable[[], nn.Module] | None = None, **options: Any
) -> nn.Module:
    """Two convolutions with steps between them, and the mean of all positions."""
    width, second, activation = 2 * draw.number(2, 5), 2 * draw.number(2, 5), draw.one(*ACTIVATIONS[:3])
    first = [] if before is None else [before()]
    return nn.Sequential(
        *first,
        _conv(draw, 3, width),
        *(make(width) for make in middle),
        activation(),
        _conv(draw, width, second, **options),
        activation(),
        *_top(second, draw),
    )


def _dense_top(draw: Draw) -> nn.Module:
    width = draw.number(3, 6)
    return nn.Sequential(_conv(draw, 3, width), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16 * width, 3))


def _strided(draw: Draw) -> nn.Module:
    return _cnn(draw, stride=draw.one(2, 3), padding=draw.one(0, 1))


def _pointwise(draw: Draw) -> nn.Module:
    width = draw.number(4, 10)
    return nn.Sequential(
        _conv(draw, 3, width, 1), nn.ReLU(), _conv(draw, width, width, 1), nn.Tanh(), *_top(width, draw)
    )


def _residual(draw: Draw) -> nn.Module:
    width = draw.number(4, 8)

    def run(m: Any, x: Tensor) -> Tensor:
        h = F.relu(m.a(x))
        y: Tensor = m.l(F.relu(h + m.n(m.b(h))).mean((2, 3)))
        return y

    return Net(
        run, a=_conv(draw, 3, width), b=_conv(draw, width, width), n=nn.BatchNorm2d(width), l=nn.Linear(width, 3)
    )


def _depthwise(draw: Draw) -> nn.Module:
    width = draw.number(4, 8)
    apart = _conv(draw, width, width, groups=width)
    steps = (_conv(draw, 3, width, 1), nn.ReLU(), apart, nn.ReLU(), _conv(draw, width, 6, 1), nn.ReLU())
    return nn.Sequential(*steps, *_top(6, draw))


def _squeeze_excite(draw: Draw) -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        x = F.relu(m.c(x))
        y: Tensor = m.l((x * torch.sigmoid(m.b(F.relu(m.a(x.mean((2, 3))))))[:, :, None, None]).mean((2, 3)))
        return y

    return Net(run, c=_conv(draw, 3, 6), a=nn.Linear(6, 4), b=nn.Linear(4, 6), l=nn.Linear(6, 3))


def _unet(draw: Draw) -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        a = F.relu(m.a(x))
        y: Tensor = m.o(torch.cat([a, F.relu(m.u(F.relu(m.d(a))))], 1))
        return y

    width = draw.number(3, 5)
    down, up = nn.Conv2d(width, width, 2, 2), nn.ConvTranspose2d(width, width, 2, 2)
    return Net(run, a=_conv(draw, 3, width), d=down, u=up, o=_conv(draw, 2 * width, 3))


def _encoder(width: int) -> nn.Module:
    return nn.TransformerEncoderLayer(width, 2, 12, 0.0, "gelu", batch_first=True)


def _vit(draw: Draw, *, positions: bool) -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        tokens = m.p(x).flatten(2).transpose(1, 2)
        y: Tensor = m.l(m.t(tokens).mean(1))
        return y

    body: nn.Module = _encoder(8)
    return Net(run, p=nn.Conv2d(3, 8, 4, 4), t=Coded(body, (4, 8), draw) if positions else body, l=nn.Linear(8, 3))


def _mixer(draw: Draw) -> nn.Module:
    def run(m: Any, x: Tensor) -> Tensor:
        x = m.p(x).flatten(2).transpose(1, 2)
        x = x + m.t2(F.gelu(m.t1(x.transpose(1, 2)))).transpose(1, 2)
        y: Tensor = m.l((x + m.c2(F.gelu(m.c1(x)))).mean(1))
        return y

    return Net(
        run, p=nn.Conv2d(3, 6, 4, 4), t1=nn.Linear(4, 6), t2=nn.Linear(6, 4), c1=nn.Linear(6, 8), c2=nn.Linear(8, 6),
        l=nn.Linear(6, 3),
    )  # fmt: skip


def _set_network(draw: Draw) -> nn.Module:
    pool = draw.one("mean", "sum", "amax")
    width = draw.number(4, 10)
    inner = nn.Sequential(nn.Linear(4, width), nn.ReLU())
    return Net(lambda m, x: m.r(getattr(m.p(x), pool)(1)), p=inner, r=nn.Linear(width, 3))


def _set_transformer(draw: Draw) -> nn.Module:
    return Net(lambda m, x: m.r(m.t(m.p(x)).mean(1)), p=nn.Linear(4, 8), t=_encoder(8), r=nn.Linear(8, 3))


def _flat_tokens(draw: Draw) -> nn.Module:
    """A linear map of all tokens side by side behind one of each."""
    width = draw.number(3, 8)
    return Net(
        lambda m, x: m.r(torch.relu(m.p(x)).flatten(1)), p=nn.Linear(4, width), r=nn.Linear(TOKENS[0] * width, 3)
    )


def _messages(draw: Draw) -> nn.Module:
    edges = draw.normal(TOKENS[0], TOKENS[0]).abs()

    def run(m: Any, x: Tensor) -> Tensor:
        h = F.relu(m.edges @ m.a(x))
        y: Tensor = m.r(F.relu(m.edges @ m.b(h)).sum(1))
        return y

    net = Net(run, a=nn.Linear(4, 6), b=nn.Linear(6, 6), r=nn.Linear(6, 3))
    net.register_buffer("edges", edges)
    return net


def _lstm(draw: Draw) -> nn.Module:
    width = draw.number(3, 6)
    kind = draw.one(nn.LSTM, nn.GRU)
    layer = kind(4, width, batch_first=True)
    return Net(lambda m, x: m.r(m.h(x)[0][:, -1]), h=layer, r=nn.Linear(width, 3))


def _gated(draw: Draw) -> nn.Module:
    width = draw.number(4, 12)
    return Net(
        lambda m, x: m.r(torch.sigmoid(m.a(x)) * m.b(x)),
        a=nn.Linear(16, width), b=nn.Linear(16, width), r=nn.Linear(width, 3),
    )  # fmt: skip


def _residual_mlp(draw: Draw) -> nn.Module:
    width = draw.number(4, 12)

    def run(m: Any, x: Tensor) -> Tensor:
        h = m.a(x)
        y: Tensor = m.r(h + m.c(torch.tanh(m.b(h))))
        return y

    return Net(run, a=nn.Linear(16, width), b=nn.Linear(width, 8), c=nn.Linear(8, width), r=nn.Linear(width, 3))


def _line(draw: Draw, *, before: nn.Module | None = None, padding: int = 1) -> nn.Module:
    width = draw.number(4, 8)
    first = [] if before is None else [before]
    steps = (
        *first,
        nn.Conv1d(2, width, 3, padding=padding),
        nn.ReLU(),
        nn.Conv1d(width, width, 3, padding=1),
        nn.Tanh(),
    )
    return nn.Sequential(*steps, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, 3))


def _shuffled(draw: Draw) -> nn.Module:
    """Channels turned into pixels: which of four channels stands where breaks the symmetry."""
    width = draw.number(3, 6)
    steps = (_conv(draw, 3, 4 * width), nn.ReLU(), nn.PixelShuffle(2), _conv(draw, width, 6), nn.ReLU())
    return nn.Sequential(*steps, *_top(6, draw))


def _transposed(draw: Draw) -> nn.Module:
    up = nn.ConvTranspose2d(5, 6, 3, 2, padding=1, output_padding=1)
    return nn.Sequential(_conv(draw, 3, 5), nn.ReLU(), up, nn.ReLU(), *_top(6, draw))


def _one_side(draw: Draw) -> nn.Module:
    pads = [(1, 0, 1, 0), (0, 1, 0, 1), (2, 0, 2, 0), (0, 2, 1, 0)]
    return _cnn(draw, before=lambda: nn.ZeroPad2d(draw.one(*pads)))


def _even_kernel(draw: Draw) -> nn.Module:
    return _cnn(draw, lambda _: nn.ZeroPad2d((0, 1, 0, 1)), size=2, padding=0)


def _random(build: Callable[[Draw], nn.Module], inputs: tuple[int, ...], *, same: bool = False) -> Architecture:
    return Architecture(build, inputs, same)


def _deceptive(build: Callable[[Draw], nn.Module], inputs: tuple[int, ...] = PICTURE) -> Architecture:
    return Architecture(build, inputs, symmetric=True, partly=True)


ARCHITECTURES: dict[str, Architecture] = {
    "MLP, one layer": _random(lambda d: _mlp(d, 1, 4, 24), VECTOR),
    "MLP, two layers": _random(lambda d: _mlp(d, 2, 4, 16), VECTOR),
    "MLP, three layers": _random(lambda d: _mlp(d, 3, 4, 12), VECTOR),
    "MLP, tiny": _random(lambda d: _mlp(d, d.number(1, 2), 1, 3), VECTOR),
    "MLP, wide": _random(lambda d: _mlp(d, 1, 48, 80), VECTOR),
    "MLP, batch norm": _random(lambda d: _mlp(d, 2, 4, 12, norm=nn.BatchNorm1d), VECTOR),
    "MLP, layer norm": _random(lambda d: _mlp(d, 2, 4, 12, norm=nn.LayerNorm), VECTOR),
    "MLP, partly invariant": Architecture(_partly_invariant, VECTOR, partly=True, bar=0.5),
    "autoencoder of vectors": _random(_autoencoder_of_vectors, VECTOR, same=True),
    "SIREN": _random(_siren, VECTOR),
    "gated MLP": _random(_gated, VECTOR),
    "residual MLP": _random(_residual_mlp, VECTOR),
    "CNN": _random(lambda d: _cnn(d), PICTURE),
    "CNN, dense top": _random(_dense_top, PICTURE),
    "CNN, strides": _random(_strided, PICTURE),
    "CNN, pooled": _random(lambda d: _cnn(d, lambda _: d.one(nn.MaxPool2d, nn.AvgPool2d)(2)), PICTURE),
    "CNN, dilated": _random(lambda d: _cnn(d, dilation=2, padding=2), PICTURE),
    "CNN, batch norm": _random(lambda d: _cnn(d, nn.BatchNorm2d), PICTURE),
    "CNN, group norm": _random(lambda d: _cnn(d, lambda n: nn.GroupNorm(2, n)), PICTURE),
    "CNN, residual": _random(_residual, PICTURE),
    "CNN, depthwise": _random(_depthwise, PICTURE),
    "CNN of 1 x 1 filters": _random(_pointwise, PICTURE),
    "squeeze and excite": _random(_squeeze_excite, PICTURE),
    "U-Net": _random(_unet, PICTURE, same=True),
    "ViT, no positions": _random(lambda d: _vit(d, positions=False), PICTURE),
    "ViT": _random(lambda d: _vit(d, positions=True), PICTURE),
    "Mixer": _random(_mixer, PICTURE),
    "1-D convolution": _random(lambda d: _line(d), LINE),
    "DeepSets": _random(_set_network, TOKENS),
    "set transformer": _random(_set_transformer, TOKENS),
    "set transformer, positions": _random(lambda d: Coded(_set_transformer(d), TOKENS, d), TOKENS),
    "DeepSets, positions": _random(lambda d: Coded(_set_network(d), TOKENS, d), TOKENS),
    "tokens side by side": Architecture(_flat_tokens, TOKENS, partly=True),  # its first layer treats tokens alike
    "messages on a graph": _random(_messages, TOKENS),
    "LSTM and GRU": _random(_lstm, TOKENS),
    "symmetric; stride 2": _deceptive(lambda d: _cnn(d, stride=2)),
    "symmetric; stride 3": _deceptive(lambda d: _cnn(d, stride=3)),
    "symmetric; even kernel": _deceptive(_even_kernel),
    "symmetric; pad on one side": _deceptive(_one_side),
    "symmetric; ceil mode": _deceptive(
        lambda d: _cnn(d, lambda _: d.one(nn.MaxPool2d, nn.AvgPool2d)(3, ceil_mode=True))
    ),
    "symmetric; windows left over": _deceptive(lambda d: _cnn(d, lambda _: d.one(nn.MaxPool2d, nn.AvgPool2d)(3))),
    "symmetric; pooling stride 2": _deceptive(lambda d: _cnn(d, lambda _: nn.MaxPool2d(3, 2, 1))),
    "symmetric; pixel shuffle": _deceptive(_shuffled),
    "symmetric; nearest resize": _deceptive(
        lambda d: _cnn(d, lambda _: nn.Upsample(size=d.one(5, 6, 11), mode="nearest"))
    ),
    "symmetric; transposed": _deceptive(_transposed),
    "symmetric; cropped": _deceptive(lambda d: _cnn(d, lambda _: Step(lambda x: x[:, :, 1:, 2:]))),
    "symmetric; rolled": _deceptive(lambda d: _cnn(d, lambda _: Step(lambda x: x.roll((1, 2), (2, 3))))),
    "symmetric; running sum": _deceptive(lambda d: _cnn(d, lambda _: Step(lambda x: x.cumsum(3).cumsum(2)))),
    "symmetric; ramp": _deceptive(
        lambda d: _cnn(d, lambda _: Step(lambda x: x * torch.arange(64, dtype=x.dtype).reshape(8, 8)))
    ),
    "symmetric; causal line": _deceptive(lambda d: _line(d, before=nn.ConstantPad1d((2, 0), 0.0), padding=0), LINE),
}
"""By name; the table has a line for each."""
