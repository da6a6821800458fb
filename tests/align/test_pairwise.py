from __future__ import annotations

import pytest
import torch

from graphws.align import align
from graphws.align.objective import closeness
from graphws.errors import GraphError, UsageError
from graphws.graph import GroupElement, NetworkGraph, Weights
from graphws.matching import Metric, balanced_metric
from graphws.operations import forward, mlp_graph
from tests.align.cases import ATTENTION, GRAPHS, MLPS, distance, network, points

each_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
runnable = pytest.mark.parametrize("graph", {**MLPS, **ATTENTION}.values(), ids={**MLPS, **ATTENTION})


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@each_graph
def test_a_moved_network_comes_back(graph: NetworkGraph) -> None:
    first = network(graph)
    for seed in range(3):
        second = graph.group().random(rng(seed), actions="rich").act(first)
        assert distance(first, second) > 0.3
        found = align(first, second, generator=rng())
        assert graph.group().contains(found.element)
        assert distance(first, found.aligned) < 1e-8
        assert min(found.after.values()) > 1 - 1e-12
        assert min(found.before.values()) < 0.9


@pytest.mark.parametrize("name", ["relu", "deep tanh", "gelu, wide and narrow", "standard form", "residual"])
def test_noise_on_both_sides_does_not_hide_the_permutation(name: str) -> None:
    graph = GRAPHS[name]
    first = network(graph)
    planted = graph.group().random(rng(3))
    noisy = Weights.unflatten(graph, first.flatten() + 0.1 * network(graph, 5).flatten())
    found = align(first, planted.act(noisy), generator=rng())
    for space in graph.spaces:
        if space.parent is None and space.moves and str(space.action) != "linear":
            undone = found.element.maps[space.name].compose(planted.maps[space.name])  # type: ignore[arg-type]
            assert torch.equal(undone.perm, torch.arange(space.size))  # type: ignore[union-attr]


@runnable
def test_activations_bring_a_moved_network_back(graph: NetworkGraph) -> None:
    first = network(graph)
    second = graph.group().random(rng(1), actions="rich").act(first)
    found = align(first, second, method="activations", inputs=points(graph))
    assert distance(first, found.aligned) < 1e-6
    torch.testing.assert_close(forward(graph, found.aligned, points(graph)), forward(graph, second, points(graph)))


@runnable
def test_attributions_bring_a_moved_network_back_from_its_outputs_alone(graph: NetworkGraph) -> None:
    first, x = network(graph), points(graph)
    second = graph.group().random(rng(1), actions="rich").act(first)
    found = align(first, second, method="attributions", run=lambda w: forward(graph, w, x), generator=rng())
    assert distance(first, found.aligned) < 1e-6


def test_permutations_only_leave_scales_and_signs_alone() -> None:
    graph = MLPS["mixed"]
    first = network(graph)
    element = graph.group().random(rng(1))
    found = align(first, element.act(first), actions="permutation", generator=rng())
    assert distance(first, found.aligned) == 0
    assert graph.group().contains(found.element, "permutation")
    rich = graph.group().random(rng(1), actions="rich").act(first)
    assert distance(first, align(first, rich, actions="permutation", generator=rng()).aligned) > 0.1  # control
    assert distance(first, align(first, rich, generator=rng()).aligned) < 1e-12


def test_closeness_never_falls_and_a_start_is_improved() -> None:
    graph = mlp_graph([10, 30, 30, 30, 5], "gelu")
    lengths = set()
    for seed in range(6):
        found = align(network(graph, seed), network(graph, seed + 50), generator=rng(seed))
        assert all(b > a for a, b in zip(found.record, found.record[1:], strict=False))
        lengths.add(len(found.record))
    assert max(lengths) > 2


def test_more_starts_never_hurt() -> None:
    graph = mlp_graph([10, 30, 30, 5], "gelu")
    first, second = network(graph, 1), network(graph, 2)
    few = align(first, second, generator=rng(), restarts=0).record[-1]
    assert align(first, second, generator=rng(), restarts=6).record[-1] >= few
    assert align(first, second).record == align(first, second).record  # without a generator nothing is drawn


def test_unbalanced_closeness_lets_wide_layers_decide() -> None:
    """The objective of git re-basin, sum <A, B>: each way of counting wins by its own measure."""
    graph = mlp_graph([10, 40, 40, 40, 5], "gelu")
    loud = {"W3": 30.0}
    networks = [Weights(graph, {n: loud.get(n, 1.0) * x for n, x in network(graph, k).items()}) for k in (1, 2)]
    found = {b: align(*networks, actions="permutation", generator=rng(), balanced=b) for b in (True, False)}
    for metric, winner in ((balanced_metric(networks[0]), True), (Metric(), False)):
        values = {b: closeness(networks[0], each.aligned, metric) for b, each in found.items()}
        assert max(values, key=lambda b: values[b]) is winner
        assert found[winner].record[-1] == pytest.approx(values[winner])


def test_unrelated_networks_do_not_come_to_agree() -> None:
    graph = MLPS["deep tanh"]
    found = align(network(graph, 1), network(graph, 2), generator=rng())
    assert max(found.after[name] for name in ("W3", "W4", "W5")) < 0.6  # control: agreement is not for free
    assert sum(found.after.values()) > sum(found.before.values())


def test_the_element_is_for_the_networks_as_they_were_given() -> None:
    graph = MLPS["mixed"]
    first, second = network(graph), graph.group().random(rng(1), actions="rich").act(network(graph))
    found = align(first, second, generator=rng())
    assert isinstance(found.element, GroupElement)
    assert found.element.graph == graph
    assert distance(found.element.act(second), found.aligned) == 0
    assert distance(found.element.inverse().act(found.aligned), second) < 1e-12


def test_errors() -> None:
    graph = MLPS["relu"]
    first = network(graph)
    with pytest.raises(GraphError, match=r"^networks of different graphs cannot be aligned$"):
        align(first, network(MLPS["sine"]))
    with pytest.raises(GraphError, match=r"^alignment takes one network on each side, got batches of 1 and 2$"):
        align(first, network(graph, batch=2))
    with pytest.raises(UsageError, match=r"^activations are those on some data: give inputs$"):
        align(first, first, method="activations")
    with pytest.raises(UsageError, match=r"^attributions are those of outputs: give run and a generator$"):
        align(first, first, method="attributions")
    message = r"^method must be one of weights, activations, attributions; got 'weight'; did you mean 'weights'\?$"
    with pytest.raises(UsageError, match=message):
        align(first, first, method="weight")  # type: ignore[arg-type]
