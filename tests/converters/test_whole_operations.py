"""What a network computes is in its file with every constant: it runs from there as its module does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.checkpoints import load_network, save_network
from graphws.converting import convert
from graphws.operations import forward


class Residual(nn.Module):
    """A residual MLP whose sum weighs what it adds."""

    def __init__(self, activation: Callable[[Tensor], Tensor], alpha: float = 1.0) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.activation, self.alpha = activation, alpha

    def forward(self, x: Tensor) -> Tensor:
        h = self.activation(self.first(x))
        return self.last(torch.add(h, self.activation(self.second(h)), alpha=self.alpha))


def _cnn(activation: Callable[[Tensor], Tensor], alpha: float = 1.0) -> nn.Module:
    class Activation(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return activation(x)

    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, eps=1e-3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.add(x, activation(self.norm(self.conv(x))), alpha=alpha)

    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), Activation(), Shortcut(), nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2), Activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 3),
    )  # fmt: skip


CASES: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "relu": (torch.relu, 1.0),
    "add alpha=2": (torch.relu, 2.0),
    "leaky_relu slope .2": (lambda x: functional.leaky_relu(x, 0.2), 1.0),
    "elu alpha 2": (lambda x: functional.elu(x, 2.0), 1.0),
    "celu alpha 2": (lambda x: functional.celu(x, 2.0), 1.0),
    "softplus beta 2": (lambda x: functional.softplus(x, beta=2.0), 1.0),
    "hardtanh -2..2": (lambda x: functional.hardtanh(x, -2.0, 2.0), 1.0),
    "gelu tanh": (lambda x: functional.gelu(x, approximate="tanh"), 1.0),
    "softshrink .3": (lambda x: functional.softshrink(x, 0.3), 1.0),
    "threshold": (lambda x: functional.threshold(x, 0.5, -1.0), 1.0),
    "clamp": (lambda x: x.clamp(-0.5, 1.5), 1.0),
    "power": (lambda x: x**3 / 10, 1.0),
    "rounding": (lambda x: torch.div(x, 3, rounding_mode="floor") + x, -0.5),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("make", "shape"), [(Residual, (4,)), (_cnn, (1, 6, 6))])
def test_the_file_computes_what_the_module_computes(
    tmp_path: Path, make: Callable[..., nn.Module], shape: tuple[int, ...], name: str
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make(*CASES[name]).double().eval()
    for buffer, tensor in module.named_buffers():
        if tensor.is_floating_point():
            tensor.add_(0.3 if buffer.endswith("mean") else 0.5)
    rng = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(5, *shape, generator=rng, dtype=torch.float64)
    save_network(convert(module, x, generator=rng), tmp_path / "net.safetensors")
    found = load_network(tmp_path / "net.safetensors")
    assert str(found.runs).endswith("any batch)"), found.runs
    assert found.weights is not None
    points = 3 * torch.randn(40, *shape, generator=rng, dtype=torch.float64)
    with torch.no_grad():
        truth, got = module(points), forward(found.graph, found.weights, points)
    assert isinstance(got, Tensor)
    assert float((got[0] - truth).norm() / truth.norm()) < 1e-12
