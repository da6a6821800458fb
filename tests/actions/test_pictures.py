"""Actions in networks that convolve: channels are permuted, taps and pixels moved with the pictures."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graphws.actions import find_actions
from graphws.actions.computation.features import run_network
from graphws.actions.groups.moves import channel_permutation
from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.placing import place
from graphws.actions.groups.symmetry import close
from graphws.actions.measures.equivariance import end_to_end_error
from graphws.actions.pictures.joined_axes import grids, picture_view, unfolded
from graphws.actions.planted.networks import plant, recovery
from graphws.actions.problem import pose
from graphws.converting import convert
from graphws.errors import UsageError
from graphws.graph import GroupElement, Monomial
from tests.actions.picture_cases import SHAPE, Grey, Residual, Sides, classifier, pictures, planted
from tests.actions.planting import rng


@pytest.mark.parametrize("group", ["mirror", "rotations:4"])
@pytest.mark.parametrize("data", [False, True])
def test_a_hidden_action_on_channels_is_recovered(group: str, data: bool) -> None:
    module = classifier()
    network, symmetry, case = planted(module, group)
    x = pictures(6)
    for g in range(symmetry.order):
        torch.testing.assert_close(module(symmetry.on_inputs(g, x)), module(x))
    found = find_actions(network, symmetry, SHAPE, data=pictures(40) if data else None)
    assert found.verdict.outcome == "exact action"
    assert recovery([e.maps for e in found.elements], case.actions) == dict.fromkeys(case.actions[0], 1.0)
    assert max(layer.k_error for layer in found.layers) < 1e-10
    assert max(layer.defect for layer in found.layers) == 0.0
    assert all(layer.best_rival is not None for layer in found.layers)
    for element in found.elements:
        torch.testing.assert_close(element.act(case.weights).flatten(), case.weights.flatten())


@pytest.mark.slow
def test_all_symmetries_of_the_square_and_residual_networks() -> None:
    network, symmetry, _ = planted(classifier(), "dihedral")
    found = find_actions(network, symmetry, SHAPE, data=pictures(20))
    assert found.verdict.outcome == "exact action"
    assert set(found.layers[0].rivals) == {
        "dihedral, taps shuffled", "dihedral, taps shuffled (2)", "dihedral, taps shuffled (3)"
    }  # fmt: skip
    assert all(layer.best_rival is not None and layer.best_rival.weights for layer in found.layers)
    assert min(layer.best_rival.k_error for layer in found.layers if layer.best_rival) > 0.5
    assert max(layer.best_rival.matched for layer in found.layers[:-1] if layer.best_rival) < 0.2
    assert "there is no decoy to compare with" not in found.verdict.text
    network, symmetry, case = planted(Residual().double().eval(), "mirror")
    found = find_actions(network, symmetry, SHAPE, data=pictures(40))
    assert max(layer.k_error for layer in found.layers) < 1e-10
    assert found.end_to_end is not None
    assert found.end_to_end < 1e-10
    assert set(found.verdict.layers.values()) == {"exact"}
    assert min(recovery([e.maps for e in found.elements], case.actions).values()) == 1.0


@pytest.mark.parametrize("data", [False, True])
def test_kernels_of_one_row_one_column_and_one_tap(data: bool) -> None:
    network, symmetry, case = planted(Sides().double(), "mirror")
    assert set(grids(case.weights.graph)) == {"taps3x1", "taps1x3"}
    found = find_actions(network, symmetry, SHAPE, data=pictures(40) if data else None, reduced=False)
    assert found.verdict.outcome == "exact action"
    assert max(layer.k_error for layer in found.layers) < 1e-10
    shares = recovery([e.maps for e in found.elements], case.actions)
    shares.pop("rows")  # a mirror leaves 3 x 1 kernels as they are, so partners are copies, and either may stay
    assert set(shares.values()) == {1.0}
    with pytest.raises(UsageError) as error:
        find_actions(network, "rotations:4", SHAPE, "invariant")
    assert str(error.value) == "a move that turns pictures needs square kernels and feature maps, got 3 x 1"


@pytest.mark.parametrize("group", ["mirror", "dihedral"])
@pytest.mark.parametrize("data", [False, True])
def test_grey_pictures_and_single_channels(group: str, data: bool) -> None:
    shape = (1, 8, 8)
    module = Grey().double()
    found = convert(module, pictures(2, shape=shape))
    assert found.weights is not None
    view = picture_view(found.weights)
    x = pictures(5, shape=shape)
    torch.testing.assert_close(run_network(view.graph, view, x)[view.graph.outputs[0]][0], module(x))
    symmetry = named_symmetry(group, shape, "invariant", outputs=10)
    case = plant(view.graph, place(view.graph, symmetry, shape), rng(0))
    module.load_state_dict(unfolded(case.weights, found.graph).to_state_dict())
    torch.testing.assert_close(module(symmetry.on_inputs(1, x)), module(x))
    result = find_actions(
        convert(module, x[:2]), group, shape, "invariant", data=pictures(40, shape=shape) if data else None
    )
    assert result.verdict.outcome == "exact action"
    assert max(layer.k_error for layer in result.layers) < 1e-10
    assert {layer.space for layer in result.layers} >= {"first", "second"}


@pytest.mark.slow
def test_noise_and_networks_without_the_symmetry() -> None:
    network, symmetry, case = planted(classifier(), "mirror")
    noisy = case.noisy(0.1, rng(3))
    found = find_actions(noisy, symmetry, SHAPE, data=pictures(40))
    assert recovery([e.maps for e in found.elements], case.actions) == dict.fromkeys(case.actions[0], 1.0)
    assert found.verdict.outcome == "action found"
    assert network.weights is not None
    torch.manual_seed(0)
    other = convert(classifier(), pictures(2))
    for data in (None, pictures(40)):
        assert find_actions(other, symmetry, SHAPE, data=data).verdict.outcome == "no action found"
    assert find_actions(network, "flip", SHAPE, "invariant", data=pictures(40)).verdict.outcome == "no action found"


def test_shifts_around_the_edge_leave_every_channel_in_its_place() -> None:
    """A convolution around the edge and a mean over pixels know all shifts, with the trivial action on channels."""
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, padding_mode="circular"), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10),
    ).double()  # fmt: skip
    network = convert(module, pictures(2, shape=(3, 4, 4)))
    assert network.weights is not None
    symmetry = named_symmetry("translations", (3, 4, 4), "invariant", outputs=10)
    problem = pose(network.weights, symmetry, (3, 4, 4), pictures(8, shape=(3, 4, 4)))
    assert (end_to_end_error(problem) or 0) < 1e-10
    found = find_actions(network, symmetry, (3, 4, 4), data=pictures(8, shape=(3, 4, 4)), decoys=0)
    assert found.layers[0].k_error < 1e-10
    first = found.elements[1].maps[found.layers[0].space]
    assert isinstance(first, Monomial)
    assert first.perm.tolist() == list(range(8))


def test_what_a_network_of_pictures_cannot_take() -> None:
    network, _, case = planted(classifier(), "mirror")
    shuffled = {"m": Monomial(torch.arange(192).reshape(3, 64)[:, torch.randperm(64, generator=rng())].flatten())}
    with pytest.raises(UsageError, match="needs a group that moves whole pictures"):
        pose(case.weights, close("mixed", {"m": _involution(shuffled["m"])}, "invariant", outputs=10), SHAPE)
    with pytest.raises(UsageError) as error:
        pose(case.weights, named_symmetry("mirror", (1, 8, 8), "invariant", outputs=10), (1, 8, 8))
    assert str(error.value) == ("this network reads pictures of 3 channels; inputs (1, 8, 8) are no such pictures")
    with pytest.raises(UsageError) as error:
        pose(case.weights, named_symmetry("translations", SHAPE, "invariant", outputs=10), SHAPE)
    assert str(error.value) == "a shift by 1 of 8 pixels is no whole number of pixels of a feature map 4 x 4"
    colours = close("colours", {"c": channel_permutation([1, 0, 2], SHAPE)}, "invariant", outputs=10)
    placed = place(case.weights.graph, colours, SHAPE)
    assert placed.maps[1]["input"].perm.tolist() == [1, 0, 2]  # type: ignore[union-attr]
    assert isinstance(GroupElement(case.weights.graph, placed.maps[1]), GroupElement)
    assert network.weights is not None


def _involution(shuffle: Monomial) -> Monomial:
    """A random exchange of pixels: the mirror, conjugated."""
    mirror = named_symmetry("mirror", SHAPE).input[1]
    assert isinstance(mirror, Monomial)
    return shuffle.compose(mirror).compose(shuffle.inverse())
