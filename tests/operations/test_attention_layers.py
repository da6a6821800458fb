"""Equivariant layers run on attention graphs unchanged, and are as large as the orbits allow."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from graphws.graph import NetworkGraph, Weights
from graphws.layers import EquivariantLinear, expand_blocks, plan_by_name
from graphws.models import DWSNet
from graphws.operations import AttentionLayer, attention_graph
from graphws.testing import check_equivariance
from tests.oracles import orbits as oracle

FULL = expand_blocks(pool="mean")
GRAPHS = {
    "matrix form": attention_graph(
        2, [AttentionLayer(3, 2, width=2), AttentionLayer(2, 2, width=3)], output=2, bias=True
    ),
    "standard form": attention_graph(1, [AttentionLayer(2, 2, 2, query_dim=3)], output=1, bias=True, positions=2),
    "grouped": attention_graph(1, [AttentionLayer(4, 2, 2, query_dim=2, key_value_heads=2)], output=2),
    "paper": attention_graph(2, [AttentionLayer(2, 2, width=2), AttentionLayer(1, 2, width=2)]),
}
PLAIN = {name: graph for name, graph in GRAPHS.items() if name != "grouped"}
"""Graphs that the oracle can read: every axis runs over a whole space."""
each_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


@pytest.mark.parametrize("graph", PLAIN.values(), ids=PLAIN)
def test_every_block_has_as_many_parameters_as_the_oracle_counts_orbits(graph: NetworkGraph) -> None:
    spaces = oracle.spaces_of(graph)
    plan = plan_by_name(graph, FULL)
    pairs = [
        (u, t)
        for u in graph.parameters
        for t in graph.parameters
        if graph.layout(u.name).free * graph.layout(t.name).free <= 36
    ]
    assert len(pairs) > 15
    for u, t in pairs:
        assert plan.count(u.name, t.name) == oracle.count(spaces, u.spaces, t.spaces), (u.name, t.name)


def orbit_count(graph: NetworkGraph, source: str, target: str, draws: int = 25) -> int:
    """Orbits on pairs of entries, as the components of a graph that random relabellings draw."""
    places = {p.name: torch.arange(math.prod(graph.shape(p.name)), dtype=torch.float64) for p in graph.parameters}
    weights = Weights(graph, {n: x.reshape(1, *graph.shape(n)) for n, x in places.items()})
    rng, rows, columns = torch.Generator().manual_seed(0), [], []
    width = len(places[target])
    for _ in range(draws):
        moved = graph.group().random(rng).act(weights)
        u, t = (moved[name].flatten().long() for name in (source, target))
        rows.append(torch.arange(len(u) * width))
        columns.append((u.unsqueeze(1) * width + t).flatten())
    i, j = torch.cat(rows).numpy(), torch.cat(columns).numpy()
    size = len(places[source]) * width
    count, _ = connected_components(coo_matrix((i * 0 + 1, (i, j)), shape=(size, size)), directed=False)
    return int(count)


def test_grouped_heads_are_counted_by_random_relabellings() -> None:
    graph = GRAPHS["grouped"]
    plan = plan_by_name(graph, FULL)
    for u in graph.parameters:
        for t in graph.parameters:
            assert plan.count(u.name, t.name) == orbit_count(graph, u.name, t.name), (u.name, t.name)


@each_graph
def test_the_layer_is_equivariant_and_a_model_invariant(graph: NetworkGraph) -> None:
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    check_equivariance(EquivariantLinear(graph, 2, 3, FULL).double(), graph, rng, channels=2)
    check_equivariance(DWSNet(graph, outputs=3, layers=2, channels=4).double().eval(), graph, rng)
