from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from graphws.graph import NetworkGraph
from graphws.layers import EquivariantLinear, Features, expand_blocks
from graphws.operations import mlp_graph
from graphws.pooling import POOLINGS
from graphws.testing import random_features
from graphws.testing.reference import ReferenceLinear
from tests.layers.cases import GRAPHS
from tests.layers.dense import perturb


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def outcome(module: nn.Module, features: Features, layer: EquivariantLinear) -> list[Tensor]:
    """Values, and gradients of all parameters and inputs."""
    leaves = {name: x.clone().requires_grad_() for name, x in features.tensors.items()}
    values = list(module(features.replace(leaves)).tensors.values())
    weights = torch.Generator().manual_seed(1)
    loss = sum((x * torch.randn(x.shape, generator=weights, dtype=x.dtype)).sum() for x in values)
    inputs = [*layer.parameters(), *leaves.values()]
    gradients = torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True)  # type: ignore[arg-type]
    return [*values, *gradients]


def assert_alike(layer: EquivariantLinear, features: Features) -> None:
    perturb(layer, generator())
    for fused in (True, False):
        layer.fused = fused
        for got, wanted in zip(
            outcome(layer, features, layer), outcome(ReferenceLinear(layer), features, layer), strict=True
        ):
            torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


STILL = {name: graph for name, graph in GRAPHS.items() if graph.log10_order() == 0}


@pytest.mark.parametrize("pool", POOLINGS)
@pytest.mark.parametrize("graph", STILL.values(), ids=STILL)
def test_layer_is_the_sum_of_its_blocks_where_nothing_moves(graph: NetworkGraph, pool: str) -> None:
    """`tests.layers.test_linear` has the graphs in which something does."""
    layer = EquivariantLinear(graph, 2, 3, expand_blocks(pool=pool)).double()
    assert_alike(layer, random_features(graph, 2, 3, generator()))


def test_blocks_agree_where_roles_share() -> None:
    graphs = [mlp_graph([2, 4, 3, 3, 2]), mlp_graph([2, 3, 4, 2])]
    layer = EquivariantLinear(graphs, 2, 3, share="role").double()
    for graph in graphs:
        assert_alike(layer, random_features(graph, 2, 3, generator()))


def test_comparison_notices_a_wrong_block() -> None:
    graph = mlp_graph([2, 4, 3, 2])
    layer = EquivariantLinear(graph, 2, 3).double()
    features = random_features(graph, 2, 3, generator())
    before = ReferenceLinear(layer)(features)
    with torch.no_grad():
        next(iter(layer.matrices.values()))[0, 0] += 1e-3
    after = layer(features)
    assert any((before[name] - after[name]).abs().max() > 1e-6 for name in before.tensors)
