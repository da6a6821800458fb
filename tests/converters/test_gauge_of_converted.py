"""Fixing the gauge of converted networks: the function stays, and what the gauge fixes is gone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import graphws
from graphws.graph import Weights
from graphws.operations import forward
from graphws.operations.canonical_gauge import canonical_gauge


class Block(nn.Module):
    """Attention and an MLP beside a residual stream."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, tokens, width) to the same."""
        q, k, v = self.qkv(self.norms[0](x)).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        changed: Tensor = x + self.down(torch.relu(self.up(self.norms[1](x))))
        return changed


def cnn(activation: type[nn.Module], norm: bool) -> nn.Module:
    middle = [nn.BatchNorm2d(4)] if norm else []
    layers = [nn.Conv2d(1, 4, 3), *middle, activation(), nn.Conv2d(4, 6, 3), activation()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                assert tensor is not None
                tensor.normal_()
            assert module.running_var is not None
            module.running_var.uniform_(0.5, 2)
    return net.eval()


NETWORKS = {
    "batch norm": (lambda: cnn(nn.ReLU, norm=True), (3, 1, 8, 8), True),
    "tanh": (lambda: cnn(nn.Tanh, norm=False), (3, 1, 8, 8), True),
    "attention": (lambda: nn.Sequential(nn.Linear(5, 8), Block(8), nn.Linear(8, 3)).double().eval(), (2, 6, 5), False),
}
"""The network, the shape of its inputs, and whether signs and scales are all that acts beside permutations."""


@pytest.mark.parametrize("name", NETWORKS)
def test_the_function_stays_and_what_is_fixed_is_gone(name: str) -> None:
    torch.manual_seed(0)
    make, shape, whole = NETWORKS[name]
    points = torch.randn(shape, dtype=torch.float64)
    found = graphws.convert(make(), points)
    weights = found.weights
    assert weights is not None
    fixed = canonical_gauge(weights)
    torch.testing.assert_close(forward(found.graph, fixed, points), forward(found.graph, weights, points))
    assert not _same(fixed, weights), "something is fixed"
    again = canonical_gauge(fixed)
    for key, tensor in fixed.items():
        torch.testing.assert_close(again[key], tensor)
    if whole:
        draw = torch.Generator().manual_seed(1)
        moved = found.graph.group().random(draw, 1, "rich", torch.float64).act(weights)
        assert not _same(moved, weights), "the group moves them"
        assert _same(canonical_gauge(moved), fixed)


def _same(one: Weights, other: Weights) -> bool:
    """Whether the numbers are the same, in whatever order neurons stand."""
    return all(
        torch.allclose(tensor.double().flatten().sort()[0], other[name].double().flatten().sort()[0])
        for name, tensor in one.items()
    )
