"""Statistics of orbits: which deviations count as none."""

from __future__ import annotations

import pytest
import torch

from graphws.errors import ZooError
from graphws.graph import NetworkGraph, Parameter, Space, Weights, orbits
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


def network(size: int, taps: int = 3) -> NetworkGraph:
    """A residual weight (two orbits), a kernel of taps, a scalar and a counter."""
    spaces = (Space("d", size), Space("taps", taps, "free"))
    parameters = (
        Parameter("R", "d d*", role="residual"),  # type: ignore[arg-type]
        Parameter("K", "d taps", role="kernel"),  # type: ignore[arg-type]
        Parameter("L", "d", role="kernel"),  # type: ignore[arg-type]
        Parameter("slope", "", "scale"),  # type: ignore[arg-type]
        Parameter("steps", "", "buffer"),  # type: ignore[arg-type]
    )
    return NetworkGraph(spaces, parameters)


def batches() -> list[Weights]:
    """Of two graphs, in turn, of different lengths, far from 0."""
    rng, found = torch.Generator().manual_seed(0), []
    for length, size in ((1, 3), (4, 5), (7, 3), (2, 5), (3, 3)):
        graph = network(size)
        floats = Weights.unflatten(graph, 1e3 + torch.randn(length, graph.numel, generator=rng, dtype=torch.float64))
        steps = torch.randint(0, 1000, (length,), generator=rng)
        found.append(Weights(graph, {**floats.tensors, "steps": steps}))
    return found


def test_against_all_numbers_in_a_row() -> None:
    """The plain reference: every number that counts in one tensor of float64, its mean and its deviation."""
    given = batches()
    graphs = [network(3), network(5)]
    statistics = orbit_statistics(graphs, iter(given))

    def check(moments: Moments, place: int, numbers: list[torch.Tensor]) -> None:
        row = torch.cat(numbers).double()
        torch.testing.assert_close(moments.mean[place], row.mean(), rtol=1e-13, atol=0)
        torch.testing.assert_close(moments.std[place], row.std(unbiased=False), rtol=1e-9, atol=0)

    for number, graph in enumerate(graphs):
        mine = [weights for weights in given if weights.graph == graph]
        for parameter in graph.parameters:
            labels = orbits(graph, parameter.name)
            moments = statistics.orbits[number][parameter.name]
            assert len(moments.mean) == int(labels.max()) + 1
            for label in range(len(moments.mean)):
                check(moments, label, [weights[parameter.name][:, labels == label].flatten() for weights in mine])
    assert statistics.roles.keys() == {"residual", "kernel", "slope", "steps"}
    for label, name in ((0, "off the diagonal"), (1, "on it")):
        chosen = [w["R"][:, orbits(w.graph, "R") == label].flatten() for w in given]
        assert chosen, name
        check(statistics.roles["residual"], label, chosen)
    kernels = [w[name].flatten() for w in given for name in ("K", "L")]  # three orbits and one: all as one
    check(statistics.roles["kernel"], 0, kernels)
    check(statistics.roles["slope"], 0, [w["slope"] for w in given])
    check(statistics.roles["steps"], 0, [w["steps"] for w in given])
    wrong = statistics.roles["steps"].mean + 1e-6
    assert not torch.allclose(wrong, torch.cat([w["steps"] for w in given]).double().mean(), rtol=1e-13, atol=0)


def test_whole_numbers_become_floats_of_the_type_of_the_others() -> None:
    given = batches()
    statistics = orbit_statistics([network(3), network(5)], given)
    assert statistics.normalise(given[0])["steps"].dtype == torch.float64
    assert statistics.normalise(given[0].to(dtype=torch.float32))["steps"].dtype == torch.float32
    whole = Weights(given[0].graph, {name: tensor.long() for name, tensor in given[0].items()})
    assert statistics.normalise(whole)["steps"].dtype == torch.float32


def test_a_role_of_several_orbits_needs_as_many() -> None:
    statistics = orbit_statistics([network(3), network(5)], batches())
    graph = network(1)
    with pytest.raises(ZooError) as caught:
        statistics.normalise(Weights.unflatten(graph, torch.zeros(1, graph.numel)))
    assert str(caught.value) == "parameter 'R' of role 'residual' has 1 orbits, those of the zoo have 2"


def test_networks_of_a_graph_that_was_not_given() -> None:
    with pytest.raises(ZooError) as caught:
        orbit_statistics([network(3)], batches())
    assert str(caught.value) == "statistics: these networks are of a graph that is none of those given"


def test_what_is_remembered_of_graphs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    statistics = orbit_statistics([network(3), network(5)], batches())
    monkeypatch.setattr("graphws.zoo.statistics.MOST_LABELS", 100)
    for size in range(2, 9):
        graph = network(size)
        weights = Weights.unflatten(graph, torch.full((1, graph.numel), 5.0, dtype=torch.float64))
        mean, std = statistics.spread(graph, "R", weights["R"])
        assert torch.equal(mean.diagonal(), statistics.roles["residual"].mean[1].expand(size))
        assert std.shape == (size, size)
        assert sum(labels.numel() for labels in statistics._labels.values()) <= 100
