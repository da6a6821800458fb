"""Laws of converted graphs: permuting commutes with converting, layers stay equivariant, orbits are counted right."""

from __future__ import annotations

import copy
import itertools
import math

import pytest
import torch
from torch import nn

from graphws.graph import NetworkGraph, from_networkx, from_pyg, to_networkx, to_pyg
from graphws.layers import EquivariantLinear
from graphws.layers.plan import plan_by_name
from graphws.messages import expand_blocks
from graphws.testing import check_equivariance
from graphws_converters.modules.conversion import convert_module
from tests.converters.architectures import build
from tests.graph import samples
from tests.oracles import orbits as oracle


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _graph(name: str) -> NetworkGraph:
    module, inputs = build(name)
    return convert_module(module, inputs, generator=_rng()).graph


@pytest.mark.parametrize("name", ["ResNet, option B", "ViT", "LSTM, projected", "experts in one tensor"])
def test_permute_then_convert_is_convert_then_permute(name: str) -> None:
    module, inputs = build(name)
    module = module.double()
    result = convert_module(module, inputs, generator=_rng())
    assert result.weights is not None
    element = result.graph.group().random(_rng(1), actions="rich")
    after = element.act(result.weights)
    twin = copy.deepcopy(module)
    twin.load_state_dict(after.to_state_dict())
    again = convert_module(twin, inputs, generator=_rng())
    assert again.graph == result.graph
    assert again.weights is not None
    assert samples.same_bits(again.weights, after)
    assert result.run is not None
    doubled = [x.double() if x.is_floating_point() else x for x in inputs]
    moved, before = result.run(after, *doubled), result.run(result.weights, *doubled)
    torch.testing.assert_close(moved, before)
    assert not torch.equal(torch.cat([x.flatten() for _, x in after.items()]), result.weights.flatten()[0])


@pytest.mark.parametrize("name", ["CNN + flatten", "ResNet, option A", "ViT", "GroupNorm, grouped convolution"])
def test_equivariant_layers_run_on_converted_graphs(name: str) -> None:
    graph = _graph(name)
    layer = EquivariantLinear(graph, 1, 2).double()
    check_equivariance(layer, graph, _rng(2), channels=1, batch=2, draws=2)


def _small(graph: NetworkGraph) -> oracle.Spaces:
    """The graph's spaces for the oracle, cut down to sizes that show every orbit."""
    return {
        name: space._replace(size=min(space.size, 4 if space.parent is None else 3) if space.moves else 1)
        for name, space in oracle.spaces_of(graph).items()
    }


def test_a_layer_on_a_vit_block_has_as_many_parameters_as_there_are_orbits() -> None:
    """Pairs of tensors of one attention block: q, k, v in heads, the output weight, both parts of the MLP."""
    graph = _graph("ViT")
    plan = plan_by_name(graph, expand_blocks(pool="mean"))
    names = [p.name for p in graph.parameters if p.name.startswith(("qkv", "out", "up", "down"))]
    spaces, counted = _small(graph), 0
    assert len(names) == 12
    assert any("head" in space.name and space.parent for space in graph.spaces)
    for source, target in itertools.product(names, repeat=2):
        axes = [graph.parameter(name).spaces for name in (source, target)]
        if math.prod(oracle.extent(spaces, axis) for axis in (*axes[0], *axes[1])) <= 1 << 18:
            assert plan.count(source, target) == oracle.count(spaces, *axes), (source, target)
            counted += 1
    assert counted > 100


@pytest.mark.slow
def test_a_million_weights_become_neurons_and_come_back() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 128, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        nn.Linear(2048, 448), nn.ReLU(), nn.Linear(448, 10),
    )  # fmt: skip
    weights = convert_module(module, torch.randn(1, 3, 8, 8, generator=_rng()), generator=_rng()).weights
    assert weights is not None
    assert weights.graph.numel > 990_000
    data = to_pyg(weights)
    entries = sum(data[kind].num_nodes for kind in data.node_types if kind.endswith("[]"))
    assert entries == sum(p.numel() for p in module.parameters() if p.ndim > 2) + 2048 * 448
    assert samples.same_bits(from_pyg(data), weights)


def test_neuron_level_views_of_a_converted_cnn_come_back() -> None:
    module, inputs = build("CNN + flatten")
    weights = convert_module(module, inputs, generator=_rng()).weights
    assert weights is not None
    neurons = to_networkx(weights)
    assert samples.same_bits(from_networkx(neurons), weights)
    assert samples.same_bits(from_pyg(to_pyg(weights)), weights)
    assert neurons.number_of_nodes() > 500
