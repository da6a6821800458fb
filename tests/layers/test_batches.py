"""A batch answers like its networks one by one, however it is cut up on the way."""

from __future__ import annotations

import pytest
import torch

from graphws.layers import EquivariantLinear, Features, expand_blocks
from graphws.models import DWSNet
from graphws.operations import mlp_graph
from graphws.testing import random_features, random_weights

WIDE = mlp_graph([2, 32, 30, 32, 1])
"""Wide enough that a batch of some hundred networks does not fit into one block."""


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def part(features: Features, where: slice) -> Features:
    return features.replace({name: x[where] for name, x in features.tensors.items()})


@pytest.mark.parametrize("pool", ["mean", "max", "sum"])
def test_a_large_batch_is_its_parts(pool: str) -> None:
    torch.manual_seed(0)
    layer = EquivariantLinear(WIDE, 4, 8, expand_blocks(pool=pool)).double()
    features = random_features(WIDE, 4, 131, rng())
    whole = layer(features)
    weight = {name: torch.randn_like(x) for name, x in whole.tensors.items()}
    gradient = torch.autograd.grad(sum((x * weight[n]).sum() for n, x in whole.tensors.items()), layer.parameters())  # type: ignore[arg-type]
    total = [torch.zeros_like(p) for p in layer.parameters()]
    for where in (slice(0, 1), slice(1, 64), slice(64, 131)):
        few = layer(part(features, where))
        for name, x in few.tensors.items():
            torch.testing.assert_close(x, whole[name][where])
        loss = sum((x * weight[n][where]).sum() for n, x in few.tensors.items())
        for sum_so_far, one in zip(total, torch.autograd.grad(loss, layer.parameters()), strict=True):  # type: ignore[arg-type]
            sum_so_far += one
    for one, other in zip(gradient, total, strict=True):
        torch.testing.assert_close(one, other)


def test_tensors_need_not_be_contiguous() -> None:
    layer = EquivariantLinear(WIDE, 4, 8).double()
    features = random_features(WIDE, 4, 3, rng())
    strided = features.replace({n: torch.stack([x, x], -1)[..., 0] for n, x in features.tensors.items()})
    crossed = features.replace({**features.tensors, "W2": features["W2"].transpose(1, 2).contiguous().transpose(1, 2)})
    for name, x in layer(features).tensors.items():
        torch.testing.assert_close(layer(strided)[name], x)
        torch.testing.assert_close(layer(crossed)[name], x)


def test_a_model_answers_for_each_network_alone() -> None:
    torch.manual_seed(0)
    model = DWSNet(WIDE, 5, layers=3, channels=8).double()
    weights = random_weights(WIDE, 70, rng())
    model(weights)
    model.eval()
    whole = model(weights)
    assert isinstance(whole, torch.Tensor)
    for where in (slice(0, 1), slice(1, 40), slice(40, 70)):
        torch.testing.assert_close(model(weights.select(where)), whole[where])


def test_an_empty_batch_stays_empty() -> None:
    layer = EquivariantLinear(WIDE, 4, 8).double()
    features = part(random_features(WIDE, 4, 2, rng()), slice(0, 0))
    for name, x in layer(features).tensors.items():
        assert x.shape == (0, *WIDE.layout(name).sizes, WIDE.layout(name).free * 8)


def test_gradients_with_respect_to_inputs_alone() -> None:
    layer = EquivariantLinear(WIDE, 1, 1, expand_blocks(pool="mean")).double().requires_grad_(False)
    features = random_features(WIDE, 1, 2, rng())
    tensors = {name: x.requires_grad_() for name, x in features.tensors.items()}
    out = layer(features.replace(tensors))
    sum(x.sum() for x in out.tensors.values()).backward()  # type: ignore[union-attr]
    for name, x in tensors.items():
        assert x.grad is not None, name
