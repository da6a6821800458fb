"""Unknown symmetries of networks that convolve: turns and mirrors of pictures, found from kernels alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graphws.actions.automorphism import automorphisms
from graphws.actions.computation.features import run_network
from graphws.actions.groups.grid_moves import GridMove, grid_move
from graphws.actions.pictures.joined_axes import grids
from graphws.converting import convert
from graphws.graph import GroupElement, Monomial, Weights
from tests.actions.picture_cases import SHAPE, Residual, classifier, pictures, planted
from tests.actions.planting import rng


def move_of(element: GroupElement) -> GridMove:
    """The one move of pictures that an element makes on all taps and pixels."""
    turns = {}
    for name, grid in grids(element.graph).items():
        found = element.maps.get(name, Monomial(torch.arange(grid[0] * grid[1])))
        assert isinstance(found, Monomial)
        turns[name] = grid_move(found.perm, grid)
    assert {move.shift for move in turns.values()} == {(0, 0)}
    assert len({move.turn for move in turns.values()}) == 1
    return next(iter(turns.values()))


@pytest.mark.parametrize(("group", "order"), [("mirror", 2), ("rotations:4", 4), ("dihedral", 8)])
def test_planted_moves_of_pictures_are_found(group: str, order: int) -> None:
    network, _, case = planted(classifier(), group)
    assert network.weights is not None
    found = automorphisms(network.weights)
    assert found.order == order
    elements = list(found.elements())
    assert len({move_of(element).turn for element in elements}) == order
    x = pictures(6)
    view = case.weights
    y = run_network(view.graph, view, x)[view.graph.outputs[0]]
    for element in elements:
        moved = element.act(view)
        assert all(torch.allclose(moved[name], tensor, atol=1e-8) for name, tensor in view.items())
        turned = GridMove(move_of(element).turn, (0, 0), SHAPE[1:]).on_table(x)  # type: ignore[arg-type]
        torch.testing.assert_close(run_network(view.graph, view, turned)[view.graph.outputs[0]], y)


def test_a_network_without_symmetry_and_one_with_a_broken_tap() -> None:
    torch.manual_seed(0)
    other = convert(classifier(), pictures(2))
    assert other.weights is not None
    assert automorphisms(other.weights).order == 1
    _, _, case = planted(classifier(), "dihedral")
    case.weights["0.weight"][0, 0, 0, 1] += 1e-3
    assert automorphisms(case.weights).order == 1


def test_only_moves_of_the_plane_count() -> None:
    """Kernels that are the same at all taps allow 9! relabellings of these; eight are turns and mirrors."""
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.randn(5, 3, 1, 1, generator=rng(), dtype=torch.float64).expand(5, 3, 3, 3))
    found = convert(net, pictures(2))
    assert found.weights is not None
    assert automorphisms(found.weights).order == 8
    assert {move_of(element).turn for element in automorphisms(found.weights).elements()} >= {"quarter", "mirror"}


def test_channels_of_pictures_may_be_exchanged() -> None:
    """A network that reads the sum of two colours."""
    torch.manual_seed(0)
    found = convert(classifier(), pictures(2))
    weights = found.weights
    assert weights is not None
    weights["0.weight"][:, :, 1] = weights["0.weight"][:, :, 0]
    result = automorphisms(weights)
    assert result.order == 2
    assert result.on("input")[0].tolist() == [1, 0, 2]
    assert result.on("taps3x3")[0].tolist() == list(range(9))


def test_counters_of_batch_norm_are_no_weights() -> None:
    network, _, _ = planted(Residual().double().eval(), "mirror")
    assert isinstance(network.weights, Weights)
    found = automorphisms(network.weights)
    assert found.order == 2
    assert move_of(found.generators[0]).turn == "mirror"
