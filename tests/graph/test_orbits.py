from __future__ import annotations

import pytest
import torch

from graphws.graph import NetworkGraph, Parameter, Space, orbits
from graphws.graph.summary import orbit_count
from graphws.operations import mlp_graph
from tests.graph import samples
from tests.oracles import orbits as oracle


def _residual(size: int) -> NetworkGraph:
    return NetworkGraph((Space("d", size),), (Parameter("W", "d d*"), Parameter("T", "d d d")))


def _deep() -> NetworkGraph:
    spaces = (
        Space("a", 2),
        Space("b", 3, "nested", "a"),
        Space("c", 2, "nested", "b"),
        Space("x", 2, "free", "b"),
        Space("y", 3, "free"),
    )
    parameters = (
        Parameter("P", "a b"),
        Parameter("Q", "c"),
        Parameter("R", "b b"),
        Parameter("S", "c a"),
        Parameter("X", "x y"),
        Parameter("Y", "y y x"),
        Parameter("Z", "b c"),
        Parameter("s", ""),
    )
    return NetworkGraph(spaces, parameters)  # type: ignore[arg-type]


GRAPHS = {
    "mlp": mlp_graph([2, 3, 4, 2]),
    "heads": samples.heads(),
    "residual": _residual(4),
    "small residual": _residual(2),
    "one": _residual(1),
    "deep": _deep(),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_orbits_are_those_of_the_oracles_generators(name: str) -> None:
    graph = GRAPHS[name]
    spaces = oracle.spaces_of(graph)
    generators = list(oracle.generators(spaces))
    for parameter in graph.parameters:
        label = orbits(graph, parameter.name)
        count = oracle.count(spaces, parameter.spaces)
        assert int(label.max()) + 1 == len(label.unique()) == count, parameter.name
        assert orbit_count(graph, parameter.name) == count
        for generator in generators:
            moved = label
            for k, space in enumerate(parameter.spaces):
                moved = moved.index_select(k, torch.from_numpy(generator[space]))
            assert torch.equal(moved, label), f"{parameter.name}: a generator moves an entry out of its orbit"


def test_orbits_of_known_tensors() -> None:
    residual = orbits(_residual(3), "W")
    assert residual.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert int(orbits(_residual(5), "T").max()) + 1 == 5, "Bell(3)"
    assert int(orbits(_residual(2), "T").max()) + 1 == 4, "three indices into two elements cannot all differ"
    first = orbits(mlp_graph([2, 3, 1]), "W1")
    assert first.tolist() == [[0, 1]] * 3, "one orbit for each input"


def test_counting_needs_no_memory() -> None:
    spaces = (Space("x", 10**6, "free"), Space("h", 10**6))
    graph = NetworkGraph(spaces, (Parameter("W", "h x*"), Parameter("U", "h h*")))  # type: ignore[arg-type]
    assert orbit_count(graph, "W") == 10**6
    assert orbit_count(graph, "U") == 2
