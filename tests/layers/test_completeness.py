"""The layer is every equivariant linear map: counted by two independent oracles, and by the rank of its parameters."""

from __future__ import annotations

import pytest
import torch

from graphws.graph import NetworkGraph, Weights, orbits
from graphws.layers import EquivariantLinear, Features, Invariants, expand_blocks, plan_by_name
from graphws.layers.pattern import orbit_slots
from graphws.testing import commutant
from graphws.testing.commutant import generators, representation
from tests.layers.cases import GRAPHS, MLPS, SMALL
from tests.layers.dense import blocks, parameter_matrices, rank
from tests.oracles import dws_blocks
from tests.oracles import orbits as oracle

FULL = expand_blocks(pool="mean")
each_graph = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)


def counts(graph: NetworkGraph) -> dict[tuple[str, str], int]:
    """Our number of parameters for every ordered pair of tensors."""
    plan = plan_by_name(graph, FULL)
    return {(u.name, t.name): plan.count(u.name, t.name) for u in graph.parameters for t in graph.parameters}


@each_graph
def test_every_block_has_as_many_parameters_as_the_oracle_counts_orbits(graph: NetworkGraph) -> None:
    spaces = oracle.spaces_of(graph)
    wanted = {
        (u.name, t.name): oracle.count(spaces, u.spaces, t.spaces) for u in graph.parameters for t in graph.parameters
    }
    assert counts(graph) == wanted


@pytest.mark.parametrize("name", [*MLPS, *SMALL])
def test_every_block_of_an_mlp_agrees_with_the_oracle_of_paper_d(name: str) -> None:
    dims = [int(d) for d in name.removeprefix("mlp ").split("-")]
    for pair, ours in counts(GRAPHS[name]).items():
        assert ours == dws_blocks.count(dims, *pair), pair


@each_graph
def test_every_block_has_as_many_parameters_as_brute_force_finds_maps(graph: NetworkGraph) -> None:
    wanted = {
        (u.name, t.name): len(commutant(graph, u.name, t.name)) for u in graph.parameters for t in graph.parameters
    }
    assert counts(graph) == wanted


SLOW = ("mlp 2-2-3-2-2-1", "cube 3")


@pytest.mark.parametrize(
    "graph", [pytest.param(g, id=name, marks=pytest.mark.slow if name in SLOW else ()) for name, g in GRAPHS.items()]
)
def test_no_parameter_of_the_layer_is_redundant_and_each_is_equivariant(graph: NetworkGraph) -> None:
    layer = EquivariantLinear(graph, 1, 1, FULL, bias=False)
    matrices = parameter_matrices(layer, graph)
    wanted = counts(graph)
    assert rank(matrices) == len(matrices) == sum(wanted.values())
    assert {pair: rank(block) for pair, block in blocks(matrices, graph).items()} == wanted
    for element in generators(graph):
        moves = [representation(graph, p.name, element) for p in graph.parameters]
        whole = torch.block_diag(*moves)
        torch.testing.assert_close(matrices @ whole, whole @ matrices, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp 2-3-3", "residual 3", "heads 3x2", "head pairs"])
def test_the_maps_of_the_layer_span_what_brute_force_finds(name: str) -> None:
    graph = GRAPHS[name]
    matrices = parameter_matrices(EquivariantLinear(graph, 1, 1, FULL, bias=False), graph)
    for (source, target), block in blocks(matrices, graph).items():
        basis = commutant(graph, source, target).flatten(1)
        flat = block.flatten(1)
        torch.testing.assert_close(flat @ basis.T @ basis, flat, rtol=0, atol=1e-9)
        assert rank(torch.cat([block, basis.reshape(-1, *block.shape[1:])])) == len(basis)


@pytest.mark.parametrize("pool", ["mean", "sum"])
def test_several_channels_multiply_the_count(pool: str) -> None:
    graph = GRAPHS["mlp 2-3-2-3"]
    layer = EquivariantLinear(graph, 3, 5, expand_blocks(pool=pool), bias=False)  # type: ignore[arg-type]
    assert sum(p.numel() for p in layer.parameters()) == 15 * sum(counts(graph).values())


@each_graph
def test_biases_are_one_for_each_orbit(graph: NetworkGraph) -> None:
    for parameter in graph.parameters:
        layout = graph.layout(parameter.name)
        ours = layout.free * len(orbit_slots(layout, exact=True))
        assert ours == oracle.count(oracle.spaces_of(graph), parameter.spaces)


@each_graph
def test_biases_span_what_brute_force_finds(graph: NetworkGraph) -> None:
    layer = EquivariantLinear(graph, 1, 1, FULL).double()
    wanted = sum(len(commutant(graph, None, p.name)) for p in graph.parameters)
    assert wanted == sum(int(orbits(graph, p.name).max()) + 1 for p in graph.parameters)
    assert sum(p.numel() for p in layer.biases.values()) == wanted
    found = []
    with torch.no_grad():
        zero = Features.from_weights(Weights.unflatten(graph, torch.zeros(1, graph.numel, dtype=torch.float64)))
        for parameter in layer.parameters():
            parameter.zero_()
        for parameter in layer.biases.values():
            for k in range(parameter.numel()):
                parameter[k] = 1
                found.append(layer(zero).to_weights().flatten())
                parameter[k] = 0
    biases = torch.stack(found)
    assert rank(biases) == wanted
    for element in generators(graph):
        whole = torch.block_diag(*(representation(graph, p.name, element) for p in graph.parameters))
        torch.testing.assert_close(biases @ whole.T, biases, rtol=0, atol=0)


@each_graph
def test_invariants_span_what_brute_force_finds(graph: NetworkGraph) -> None:

    wanted = sum(len(commutant(graph, p.name, None)) for p in graph.parameters)
    invariants = Invariants([graph], 1, "mean")
    unit = Features.from_weights(Weights.unflatten(graph, torch.eye(graph.numel, dtype=torch.float64)))
    matrix = invariants(unit)
    assert invariants.width == matrix.shape[1] == wanted
    assert rank(matrix.T) == wanted
    for element in generators(graph):
        whole = torch.block_diag(*(representation(graph, p.name, element) for p in graph.parameters))
        torch.testing.assert_close(whole.T @ matrix, matrix, rtol=0, atol=1e-12)
