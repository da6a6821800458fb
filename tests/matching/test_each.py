"""Elements of many networks."""

from __future__ import annotations

import torch

from graphws.graph import GroupElement, LinearMap, Monomial
from graphws.graph.element import SpaceElement
from graphws.matching.each import replaced
from graphws.operations import mlp_graph

GRAPH = mlp_graph([2, 3, 1], "tanh")


def of(element: SpaceElement) -> GroupElement:
    return GroupElement(GRAPH, {"hidden1": element})


def perms(count: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(3, generator=draw) for _ in range(count)])


def test_those_at_an_index_are_replaced_and_keep_their_signs_where_others_have_none() -> None:
    plain, signed = Monomial(perms(4, 0)), Monomial(perms(2, 1), torch.tensor([[-1.0, 1, 1], [1, 1, -1]]))
    index = torch.tensor([3, 1])
    for first, second in ((plain, signed), (Monomial(plain.perm, -torch.ones(4, 3)), Monomial(signed.perm))):
        found = replaced(of(first), index, of(second)).maps["hidden1"]
        assert isinstance(found, Monomial)
        for k in range(4):
            own = second if k in index else first
            place = index.tolist().index(k) if k in index else k
            assert torch.equal(found.matrix()[k], own.matrix()[place])


def test_permutations_among_matrices_are_replaced_too() -> None:
    matrices = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    graph_element, other = of(LinearMap(matrices)), of(Monomial(perms(1, 2)))
    found = replaced(graph_element, torch.tensor([1]), other).maps["hidden1"].matrix()
    assert torch.equal(found[[0, 2]], matrices[[0, 2]])
    assert torch.equal(found[1], other.maps["hidden1"].matrix()[0])
