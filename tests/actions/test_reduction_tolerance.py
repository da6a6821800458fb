"""The tolerance of a reduction, seen in the weights: a gap between what is redundant but for noise and the rest."""

from __future__ import annotations

import pytest
import torch

from graphws.actions.reduction import reduce
from graphws.actions.reduction.nearness import RULES, figures
from graphws.actions.reduction.rules import Distances, duplicate_figures
from graphws.actions.reduction.slices import places
from graphws.converting import load_graph_file
from graphws.graph import Weights
from tests.actions.redundancy import plant, random_mlp


def rng(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("noise", [1e-4, 1e-3, 1e-2])
def test_the_gap_is_found_under_noise(noise):
    """Noise relative to the layer's weights: the tolerance is put between redundant neurons and the others."""
    generator = rng(0)
    core = random_mlp([60, 32, 32, 60], "tanh", generator)
    large = core
    for layer in (1, 2):
        large = plant(large, layer, "tanh", generator, unread=8, constant=0, duplicates=8)
    loud = large.map(lambda x: x + noise * x.std() * torch.randn(x.shape, generator=generator, dtype=x.dtype))
    assert reduce(loud).removed == 0
    found = reduce(loud, tolerance="gap")
    assert [s.size for s in found.graph.spaces] == [60, 32, 32, 60]
    assert noise < found.tolerances["duplicate"].value < 30 * noise
    assert found.tolerances["duplicate"].source == "gap"
    assert found.change < 10 * noise


def test_a_gap_may_open_as_others_go():
    """Neurons that only dead ones read, and columns shared out among copies, look alive until those are gone."""
    generator, widths = rng(1), [300, 48, 48, 300]
    large = random_mlp(widths, "tanh", generator)
    for layer in (2, 1):
        large = plant(large, layer, "tanh", generator, unread=8, constant=0, duplicates=8)
    dead, idle = ((large[name][0].norm(dim=0) == 0).nonzero().flatten() for name in ("W3", "W2"))
    weights = {name: x.clone() for name, x in large.items()}
    weights["W1"][0, idle] /= 300**0.5
    weights["W2"][0, dead] /= 48**0.5
    read = torch.randn(8, 8, generator=generator, dtype=torch.float64) / 48**0.5
    weights["W2"][0, dead.unsqueeze(1), idle] = read  # the dead of layer 2 read those of layer 1

    def noise(x):
        return 0.1 * x.std() * torch.randn(x.shape, generator=generator, dtype=x.dtype)

    found = reduce(Weights(large.graph, {name: x + noise(x) for name, x in weights.items()}), tolerance="gap")
    assert [s.size for s in found.graph.spaces] == widths
    assert {found.tolerances[rule].source for rule in ("inactive", "duplicate")} == {"gap"}
    assert reduce(found.weights, tolerance="gap").removed == 0


@pytest.mark.slow
def test_trained_networks_have_no_gap(shared):
    """Three networks trained on CIFAR-10: their figures fall off gradually, and nothing is called redundant."""
    for name, first in (("ae_tanh", "tanh"), ("cls_tanh", "tanh"), ("ae_gelu", "gelu")):
        path = shared / "checkpoints" / "cifar-mirror" / f"{name}.pt"
        found = reduce(load_graph_file(path, activation=[first, "gelu", "gelu"]).weights, tolerance="gap")
        assert found.removed == 0
        assert {tolerance.source for tolerance in found.tolerances.values()} == {"dtype"}


def test_nearly_constant_neurons_show_a_gap():
    """Rows of noise with large biases: what counts is the row, and their values go into the next bias."""
    generator = rng(2)
    core = random_mlp([60, 32, 60], "tanh", generator)
    large = plant(core, 1, "tanh", generator, unread=0, constant=6, duplicates=0)
    loud = large.map(lambda x: x + 1e-3 * x.std() * torch.randn(x.shape, generator=generator, dtype=x.dtype))
    found = reduce(loud, tolerance="gap")
    assert found.graph.space("hidden1").size == 32
    assert {r.reason for r in found.maps["hidden1"].removals} == {"constant"}
    assert found.change < 1e-2


def test_without_a_gap_nothing_more_goes():
    weights = random_mlp([60, 32, 60], "tanh", rng(0))
    found = reduce(weights, tolerance="gap")
    assert found.removed == 0
    assert found.tolerances["duplicate"].source == "dtype"


@pytest.mark.parametrize("activation", ["gelu", "tanh", "relu", "power"])
def test_nearest_neighbours_against_all_pairs(activation):
    """The figures of duplicates, found through inner products, are the exact distances to the nearest before."""
    weights = plant(random_mlp([9, 30, 4], activation, rng(3)), 1, activation, rng(4), duplicates=5)
    tensors, graph = {name: x[0] for name, x in weights.items()}, weights.graph
    space = graph.space("hidden1")
    distances = Distances(tensors, places(graph, "hidden1"), space.size, space.action)
    slow = [
        min(float(distances.between(torch.tensor([i]), torch.tensor([j]))[0]) for i in range(j))
        for j in range(1, space.size)
    ]
    fast = duplicate_figures(distances, space.size)
    assert torch.allclose(fast, torch.tensor(slow).double(), rtol=1e-6, atol=1e-12)
    assert int((fast < 1e-12).sum()) == 5


def test_every_rule_has_figures_of_its_own():
    weights = random_mlp([9, 6, 4], "tanh", rng(3))
    tensors = {name: x[0] for name, x in weights.items()}
    found = {rule: len(figures(rule, weights.graph, tensors, "hidden1")) for rule in RULES if rule != "rank"}
    assert found == {"inactive": 6, "duplicate": 5, "head": 0}
