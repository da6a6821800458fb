"""Gauge fixing of networks that converters make: the function stays, and the gauge that went in does not matter."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from torch import Tensor

from graphws import convert, forward
from graphws.graph import GroupElement, Monomial, NetworkGraph, Parameter, Space, Weights
from graphws.graph.space import Action
from graphws.operations import canonical_gauge, gauge_left
from tests.converters.architectures import ARCHITECTURES, build

BATCH = 3
QUICK = ("MLP", "SIREN", "VGG", "U-Net", "MobileNet, squeeze-excite", "MLP-Mixer", "GRU", "nn.TransformerEncoder")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@lru_cache(maxsize=4)
def converted(name: str) -> tuple[Weights, tuple[Tensor, ...]]:
    """Three networks near a converted one, in float64, and inputs."""
    module, inputs = build(name)
    found = convert(module.eval(), inputs if len(inputs) > 1 else inputs[0], generator=rng())
    one = Weights.cat([found.weights.to(dtype=torch.float64)] * BATCH)
    noisy = one.map(lambda x: x * (1 + 0.1 * torch.rand(x.shape, generator=rng(1))) if x.is_floating_point() else x)
    return noisy, tuple(x.double() if x.is_floating_point() else x for x in inputs)


def regauged(weights: Weights) -> Weights:
    """Signs and scales that the group allows, no permutations, no matrices."""
    element = weights.graph.group().random(rng(5), weights.batch, "rich", moving=True)
    maps = {
        name: Monomial(torch.arange(here.size).expand(weights.batch, -1), here.scale)
        for name, here in element.maps.items()
        if isinstance(here, Monomial)
    }
    return GroupElement(weights.graph, maps).act(weights)  # type: ignore[arg-type]


def difference(one: Weights, other: Weights) -> float:
    return float((one.flatten().double() - other.flatten().double()).abs().max())


def error(one: Weights, other: Weights, inputs: tuple[Tensor, ...]) -> float:
    """Largest difference of outputs, relative."""
    found = []
    for weights in (one, other):
        outputs = forward(weights.graph, weights, inputs if len(inputs) > 1 else inputs[0])
        found.append(outputs if isinstance(outputs, tuple) else (outputs,))
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_laws(name: str) -> None:
    weights, inputs = converted(name)
    graph, fixed, moved = weights.graph, canonical_gauge(weights), regauged(weights)
    assert error(weights, fixed, inputs) < 1e-12
    assert difference(canonical_gauge(fixed), fixed) < 1e-12
    assert difference(canonical_gauge(moved), fixed) < 1e-9
    permutation = graph.group().random(rng(6), BATCH)
    assert difference(canonical_gauge(permutation.act(weights)), permutation.act(fixed)) < 1e-9
    for key, tensor in weights.items():
        assert fixed[key].dtype == tensor.dtype, "counters stay counters"
        assert tensor.is_floating_point() or torch.equal(fixed[key], tensor)
    rich = {space.action for space in graph.spaces if space.moves} - {Action.PERMUTATION, Action.LINEAR}
    if rich:
        assert difference(moved, weights) > 0.1, "the law of gauges is not empty"
        assert difference(fixed, weights) > 0.01


def test_a_network_that_is_disturbed_is_noticed() -> None:
    """The check itself can fail."""
    weights, inputs = converted("VGG")
    fixed = canonical_gauge(weights)
    name = next(p.name for p in weights.graph.parameters if p.kind == "weight")
    assert error(weights, Weights(fixed.graph, {**fixed.tensors, name: fixed[name] * 1.01}), inputs) > 1e-6


def test_linear_spaces_are_left_as_they_are() -> None:
    weights, _ = converted("GRU")
    left = gauge_left(weights.graph)
    assert left == tuple(space.name for space in weights.graph.spaces if space.action is Action.LINEAR)
    assert left
    element = weights.graph.group().random(rng(2), BATCH, "rich")
    alone = GroupElement(weights.graph, {name: element.maps[name] for name in left}).act(weights)
    assert difference(canonical_gauge(alone), canonical_gauge(weights)) > 0.1
    assert gauge_left(converted("VGG")[0].graph) == ()


def test_whole_numbers_decide_nothing() -> None:
    """A mask over neurons stands before their weights: it must not set the type of scales, nor decide signs."""
    graph = NetworkGraph(
        (Space("x", 2, "free"), Space("h", 4, action=Action.MONOMIAL), Space("y", 1, "free")),
        (Parameter("mask", "h^0", "buffer"), Parameter("W", "h x*"), Parameter("V", "y h*")),  # type: ignore[arg-type]
    )
    weights = Weights(
        graph,
        {
            "mask": torch.tensor([[1, 0, 1, 1]] * BATCH),
            "W": torch.randn(BATCH, 4, 2, generator=rng(), dtype=torch.float64),
            "V": torch.randn(BATCH, 1, 4, generator=rng(1), dtype=torch.float64),
        },
    )
    fixed = canonical_gauge(weights)
    assert fixed["W"].dtype == torch.float64
    torch.testing.assert_close(fixed["W"].norm(dim=2), torch.ones(BATCH, 4, dtype=torch.float64))
    assert bool((fixed["W"].sum(2) >= 0).all())
    assert torch.equal(fixed["mask"], weights["mask"])
