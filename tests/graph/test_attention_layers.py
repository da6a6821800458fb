"""Equivariant layers run on attention graphs unchanged, and are as large as the orbits allow."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graphws.graph import AttentionLayer, NetworkGraph, attention_graph
from graphws.layers import EquivariantLinear, expand_blocks, plan_by_name
from graphws.models import DWSNet
from graphws.testing import check_equivariance
from tests.layers.test_completeness import oracle

FULL = expand_blocks(pool="mean")
GRAPHS = {
    "matrix form": attention_graph(
        2, [AttentionLayer(3, 2, width=2), AttentionLayer(2, 2, width=3)], output=2, bias=True
    ),
    "standard form": attention_graph(1, [AttentionLayer(2, 2, 2, query_dim=3)], output=1, bias=True, positions=2),
    "grouped": attention_graph(1, [AttentionLayer(4, 2, 2, query_dim=2, key_value_heads=2)], output=2),
    "paper": attention_graph(2, [AttentionLayer(2, 2, width=2), AttentionLayer(1, 2, width=2)]),
}
each_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


@each_graph
def test_every_block_has_as_many_parameters_as_the_oracle_counts_orbits(graph: NetworkGraph, shared: Path) -> None:
    slow = oracle(shared, "orbits")
    spaces = {s.name: slow.Space(s.size, "free" if s.kind == "free" else "set", s.parent) for s in graph.spaces}
    plan = plan_by_name(graph, FULL)
    pairs = [
        (u, t)
        for u in graph.parameters
        for t in graph.parameters
        if graph.layout(u.name).free * graph.layout(t.name).free <= 36
    ]
    assert len(pairs) > 15
    for u, t in pairs:
        assert plan.count(u.name, t.name) == slow.orbit_count(u.spaces, t.spaces, spaces), (u.name, t.name)


@each_graph
def test_the_layer_is_equivariant_and_a_model_invariant(graph: NetworkGraph) -> None:
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    check_equivariance(EquivariantLinear(graph, 2, 3, FULL).double(), graph, rng, channels=2)
    check_equivariance(DWSNet(graph, outputs=3, layers=2, channels=4).double().eval(), graph, rng)
