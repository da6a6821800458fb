"""The brute-force commutant against closed forms."""

from __future__ import annotations

import pytest
import torch

from graphws.errors import GraphError
from graphws.graph import GroupElement, NetworkGraph, Parameter, Space, Weights
from graphws.graph.element import Monomial
from graphws.operations import mlp_graph
from graphws.testing import commutant
from graphws.testing.commutant import generators, representation


def single(size: int, axes: str) -> NetworkGraph:
    return NetworkGraph((Space("d", size),), (Parameter("A", axes),))  # type: ignore[arg-type]


@pytest.mark.parametrize(("axes", "bell"), [("d", 2), ("d d*", 15)])
def test_one_space_gives_bell_numbers(axes: str, bell: int) -> None:
    assert len(commutant(single(4, axes), "A", "A")) == bell


def test_a_small_space_gives_fewer() -> None:
    assert [len(commutant(single(d, "d d*"), "A", "A")) for d in (1, 2, 3, 4, 5)] == [1, 8, 14, 15, 15]


def test_it_is_orthonormal_and_commutes() -> None:
    graph = mlp_graph([2, 3, 3, 1])
    basis = commutant(graph, "W2", "W2")
    flat = basis.flatten(1)
    torch.testing.assert_close(flat @ flat.T, torch.eye(4, dtype=torch.float64))
    for element in generators(graph):
        move = representation(graph, "W2", element)
        torch.testing.assert_close(basis @ move, move @ basis)


def test_representations_follow_the_action_on_weights() -> None:
    spaces = (Space("h", 2), Space("k", 3, "nested", "h"))
    graph = NetworkGraph(spaces, (Parameter("P", "k h*"),))  # type: ignore[arg-type]
    values = torch.randn(1, graph.numel, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for element in generators(graph):
        maps = {name: Monomial(p.argsort()) for name, p in element.items()}
        assert graph.group().contains(GroupElement(graph, maps))
        moved = GroupElement(graph, maps).act(Weights.unflatten(graph, values)).flatten()
        torch.testing.assert_close(values @ representation(graph, "P", element).T, moved)


def test_large_problems_are_refused() -> None:
    with pytest.raises(GraphError) as caught:
        commutant(mlp_graph([2, 16, 16, 1]), "W2", "W2")
    assert str(caught.value) == "W2 -> W2: 65536 unknowns, brute force stops at 2500"
