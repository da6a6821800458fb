"""What is found in the reduced network is lifted to the network that was given: MLPs, convolutions, heads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from graphws.actions import find_actions, named_symmetry
from graphws.actions.analysis.result import Actions
from graphws.actions.groups.placing import place
from graphws.actions.pictures.joined_axes import picture_view, unfolded
from graphws.actions.planted.networks import plant
from graphws.converting import convert
from graphws.errors import GraphError
from graphws.graph import GroupElement, Monomial, Weights
from graphws.operations import forward, mlp_graph
from graphws.operations.builders.attention import AttentionLayer, attention_graph
from tests.actions.planting import rng, token_group
from tests.actions.redundancy import plant as with_redundancy

SHAPE = (1, 6, 6)


def check(found: Actions, large: Weights) -> None:
    """Every element, lifted, leaves θ' alone in the large network's graph; another relabelling does not."""
    assert found.verdict.outcome == "exact action"
    assert found.reduction is not None
    same = picture_view(found.reduction.equivalent())
    assert same.graph == picture_view(large).graph
    for element in found.elements:
        lifted = found.reduction.lift(element)
        torch.testing.assert_close(lifted.act(same).flatten(), same.flatten(), rtol=0, atol=1e-12)
    space = next(space for space in found.elements[0].graph.spaces if space.moves)
    turn = GroupElement(found.elements[0].graph, {space.name: Monomial(torch.arange(space.size).roll(1))})
    wrong = found.reduction.lift(turn @ found.elements[1])
    assert float((wrong.act(same).flatten() - same.flatten()).norm()) > 0.1


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize("copied", [0, 8])
def test_dead_constant_and_copied_neurons(activation: str, copied: int) -> None:
    graph = mlp_graph([36, 8, 36], activation)
    case = plant(graph, place(graph, named_symmetry("mirror", SHAPE), SHAPE), rng())
    large = with_redundancy(case.weights, 1, activation, rng(1), unread=2, constant=1, duplicates=copied)
    found = find_actions(large, "mirror", SHAPE)
    check(found, large)
    assert found.reduction is not None
    assert found.reduction.sizes() == {"hidden1": (11 + copied, 8)}


def test_neurons_with_other_numbers_of_copies_are_not_exchanged() -> None:
    graph = mlp_graph([36, 8, 36], "tanh")
    case = plant(graph, place(graph, named_symmetry("mirror", SHAPE), SHAPE), rng())
    found = find_actions(with_redundancy(case.weights, 1, "tanh", rng(1), 0, 0, duplicates=2), "mirror", SHAPE)
    assert found.verdict.outcome == "exact action"
    assert found.reduction is not None
    with pytest.raises(GraphError) as error:
        found.reduction.lift(found.elements[1])
    assert str(error.value) == (
        "space 'hidden1': elements 1 and 2 have 1 and 2 copies, which no symmetry of the large network exchanges"
    )


class Convolutions(nn.Module):
    def __init__(self, first: int = 6, second: int = 8) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, first, 3, padding=1), nn.Conv2d(first, second, 3, padding=1)
        self.last = nn.Linear(second, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.tanh(self.second(torch.tanh(self.first(x)))).mean((2, 3)))


@pytest.mark.parametrize("data", [False, True])
def test_copied_and_unread_channels(data: bool) -> None:
    shape, x = (1, 8, 8), torch.randn(20, 1, 8, 8, generator=rng(), dtype=torch.float64)
    net, wide = Convolutions().double(), Convolutions(14, 11).double()
    given = convert(net, x[:2])
    assert given.weights is not None
    view = picture_view(given.weights).graph
    case = plant(view, place(view, named_symmetry("mirror", shape, "invariant", outputs=3), shape), rng())
    net.load_state_dict(unfolded(case.weights, given.graph).to_state_dict())
    with torch.no_grad():
        for wanted, part in ((wide.first.weight, net.first.weight), (wide.first.bias, net.first.bias)):
            wanted[:6], wanted[6:12] = part, -part  # every channel with a negated copy, and two that nothing reads
        wide.second.weight[:, 12:] = 0
        wide.second.weight[:8, :6], wide.second.weight[:8, 6:12] = net.second.weight / 2, -net.second.weight / 2
        wide.second.bias[:8] = net.second.bias
        wide.last.weight[:, :8], wide.last.weight[:, 8:], wide.last.bias[:] = net.last.weight, 0, net.last.bias
    torch.testing.assert_close(wide(x), net(x))
    large = convert(wide, x[:2])
    assert large.weights is not None
    found = find_actions(large, "mirror", shape, "invariant", data=x if data else None)
    check(found, large.weights)
    assert found.reduction is not None
    assert found.reduction.sizes()["first"] == (14, 6)


@pytest.mark.parametrize("data", [False, True])
def test_heads_copied_in_another_basis_and_heads_that_write_nothing(data: bool) -> None:
    symmetry, generator = token_group("Z2", 4, 5), rng(4)
    small, large = (attention_graph(8, [AttentionLayer(heads, 4)], output=8) for heads in (4, 9))
    case = plant(small, place(small, symmetry, (5, 8)), rng(3), condition=4.0).weights
    a, v, o = case["A1"], case["V1"].reshape(1, 4, 4, 8), case["O2"].reshape(1, 8, 4, 4)
    basis = torch.randn(4, 4, 4, generator=generator, dtype=torch.float64)
    extra = torch.randn(1, 1, 12, 8, generator=generator, dtype=torch.float64)
    again = torch.einsum("hab,nhbi->nhai", basis, v), torch.einsum("noha,hab->nohb", o, torch.linalg.inv(basis))
    tensors = {
        "A1": torch.cat([a, a, extra[:, :, 4:]], 1),
        "V1": torch.cat([v, again[0], extra[:, :, :4]], 1).reshape(1, 36, 8),
        "O2": torch.cat([0.3 * o, 0.7 * again[1], 0 * o[:, :, :1]], 2).reshape(1, 8, 36),
    }
    weights, x = Weights(large, tensors), torch.randn(40, 5, 8, generator=rng(1), dtype=torch.float64)
    torch.testing.assert_close(forward(large, weights, x), forward(small, case, x))
    found = find_actions(weights, symmetry, (5, 8), data=x if data else None)
    check(found, weights)
    assert found.reduction is not None
    assert found.reduction.sizes() == {"head1": (9, 4), "value1": (36, 16)}
