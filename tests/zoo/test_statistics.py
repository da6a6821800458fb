"""Statistics of orbits: which deviations count as none."""

from __future__ import annotations

import pytest
import torch

from graphws.graph import Weights
from graphws.operations import mlp_graph
from graphws.zoo import orbit_statistics
from graphws.zoo.statistics import Moments, Statistics

GRAPH = mlp_graph([1, 3, 1])


def constant(value: float) -> Weights:
    """Networks that are all the same number."""
    return Weights.unflatten(GRAPH, torch.full((9, GRAPH.numel), value, dtype=torch.float64))


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e6 + 0.1])
def test_an_orbit_that_is_constant_up_to_rounding_has_deviation_1(value: float) -> None:
    weights = constant(value)
    statistics = orbit_statistics(GRAPH, [weights])
    assert not value or any(float(std.max()) > 0 for std in [m.std for m in statistics.orbits[0].values()]), (
        "rounding shows"
    )
    for name, tensor in weights.items():
        mean, std = statistics.spread(GRAPH, name, tensor)
        torch.testing.assert_close(mean, tensor[0], rtol=1e-12, atol=0)
        assert torch.equal(std, torch.ones_like(std))
        assert float(statistics.normalise(weights)[name].abs().max()) <= 1e-9
        torch.testing.assert_close(statistics.restore(statistics.normalise(weights))[name], tensor)


@pytest.mark.parametrize("mean", [0.0, 1.0, -1e6])
def test_the_threshold_is_a_millionth_of_a_millionth_of_the_mean_and_of_one(mean: float) -> None:
    for factor, counts in ((0.9e-12, False), (1.1e-12, True)):
        std = factor * (1 + abs(mean))
        both = Moments(*(torch.full((3,), value, dtype=torch.float64) for value in (mean, std)))
        statistics = Statistics((GRAPH,), ({p.name: both for p in GRAPH.parameters},), {})
        _, found = statistics.spread(GRAPH, "W1", torch.zeros((), dtype=torch.float64))
        assert torch.equal(found, torch.full((3, 1), std if counts else 1.0, dtype=torch.float64))


def test_a_small_spread_is_normalised() -> None:
    flat = torch.randn(50, GRAPH.numel, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = Weights.unflatten(GRAPH, 1e-9 * flat)
    normal = orbit_statistics(GRAPH, [weights]).normalise(weights)
    for _, tensor in normal.items():
        torch.testing.assert_close(
            tensor.square().mean().sqrt(), torch.ones((), dtype=torch.float64), rtol=1e-3, atol=0
        )
