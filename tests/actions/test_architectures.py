"""Architectures in everyday use are analysed with probes: what is invariant is exact, what is planted is found."""

from __future__ import annotations

import pytest
import torch

from graphws.actions import Actions, find_actions
from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.placing import place
from graphws.actions.pictures.joined_axes import picture_view, unfolded
from graphws.actions.planted.networks import Planted, plant, recovery
from graphws.converting import convert
from graphws.errors import UsageError
from graphws.graph import Weights
from tests.actions.architecture_cases import GENERIC, INVARIANT, Architecture, Positional
from tests.actions.planting import rng

STOPPED = {"CNN with strides": "x1 = conv2d(x0, 0.weight#, 0.bias, padding=1,1, stride=2,2)"}
"""Where a mirror of the picture is none of the feature maps: the stride leaves a column over on one side only."""


UNREAD = {"slice of channels": {"first_2"}}
"""Spaces that no value shows to a reader: channels that are cut off."""


def unseen(found: Actions) -> set[str]:
    """The spaces of neurons that were looked at by weights alone."""
    return {layer.space for layer in found.layers if layer.cumulative is None and layer.action != "given"}


def analysed(case: Architecture, *, seed: int = 0, positional: bool = False) -> Actions:
    module = case.module(seed)
    module = Positional(module).double() if positional else module
    points = case.points(24)
    conversion = convert(module, points[:2])
    assert conversion.verified
    return find_actions(
        conversion, case.group, case.shape or case.inputs, case.output, data=points, decoys=1, reduced=False
    )


@pytest.mark.parametrize("name", INVARIANT)
def test_a_permutation_of_tokens_is_found_where_they_are_treated_alike(name: str) -> None:
    found = analysed(INVARIANT[name])
    assert found.verdict.outcome == "exact action"
    assert found.note == ""
    assert found.end_to_end is not None
    assert found.end_to_end < 1e-12
    assert all(layer.k_error < 1e-9 for layer in found.layers)
    assert not unseen(found)


@pytest.mark.parametrize("name", INVARIANT)
def test_and_is_not_found_behind_a_positional_encoding(name: str) -> None:
    found = analysed(INVARIANT[name], positional=True)
    assert found.verdict.outcome == "no action found"
    assert found.end_to_end is not None
    assert found.end_to_end > 0.05


@pytest.mark.parametrize("decoys", [0, 1])
@pytest.mark.parametrize("name", INVARIANT)
def test_nor_in_its_weights(name: str, decoys: int) -> None:
    """Layers behind the encoding treat tokens alike, but what they read does not come from the group."""
    case = INVARIANT[name]
    module = Positional(case.module()).double()
    found = find_actions(convert(module, case.points(2)), case.group, case.inputs, case.output, decoys=decoys)
    assert found.verdict.outcome == "no action found"
    assert found.on_random_inputs is not None
    assert found.on_random_inputs > 0.05


@pytest.mark.parametrize("decoys", [0, 1])
@pytest.mark.parametrize("name", ["messages along edges", "Mixer of patches"])
def test_nor_behind_weights_that_mix_positions(name: str, decoys: int) -> None:
    """Layers that treat tokens alike are handed tokens that edges drawn at random have mixed."""
    case = GENERIC[name]
    found = find_actions(convert(case.module(), case.points(2)), case.group, case.inputs, case.output, decoys=decoys)
    assert found.verdict.outcome == "no action found"


@pytest.mark.parametrize("name", GENERIC)
def test_networks_of_random_weights_are_run_and_have_no_action(name: str) -> None:
    found = analysed(GENERIC[name])
    assert found.verdict.outcome == "no action found"
    assert found.end_to_end is not None
    assert found.end_to_end > 0.1
    if name in STOPPED:
        assert found.note == f"The group's move of positions does not get through {STOPPED[name]}."
    else:
        assert found.note == ""
        assert unseen(found) <= UNREAD.get(name, set())


PLANTED = {
    "ResNet": "rotations:4",
    "CNN BatchNorm": "dihedral",
    "MLP LayerNorm": "mirror",
    "MLP BatchNorm1d": "rotations:4",
    "ViT": "mirror",
    "U-Net": "mirror",
    "1-D convolution": "mirror",
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_hidden_action_is_recovered(name: str) -> None:
    case = GENERIC[name]
    module, points, shape = case.module(), case.points(60), case.shape or case.inputs
    found = convert(module, points[:2])
    assert found.weights is not None
    view = picture_view(found.weights)
    outputs = module(points[:1])[0].numel()
    symmetry = named_symmetry(PLANTED[name], shape, case.output, outputs=outputs)
    drawn = plant(view.graph, place(view.graph, symmetry, shape), rng(4))
    positive = {key: x.abs() + 0.5 if key.endswith("running_var") else x for key, x in drawn.weights.items()}
    hidden = Planted(Weights(view.graph, positive), drawn.actions)
    module.load_state_dict(unfolded(hidden.weights, found.graph).to_state_dict())
    for g in range(symmetry.order):
        wanted = symmetry.on_outputs(g, module(points)) if case.output == "same" else module(points)
        torch.testing.assert_close(
            module(symmetry.on_inputs(g, points.reshape(60, *shape)).reshape(points.shape)), wanted
        )
    got = find_actions(convert(module, points[:2]), symmetry, shape, data=points, reduced=False)
    assert got.verdict.outcome == "exact action"
    assert got.end_to_end is not None
    assert got.end_to_end < 1e-9
    assert max(layer.k_error for layer in got.layers) < 1e-7
    assert min(recovery([element.maps for element in got.elements], hidden.actions).values()) == 1.0


def test_outputs_side_by_side_can_only_be_left_alone() -> None:
    case = GENERIC["cat at the end"]
    points = case.points(8)
    with pytest.raises(UsageError) as error:
        find_actions(convert(case.module(), points[:2]), "mirror", (1, 4, 4), {"m": [1, 0]}, data=points)
    assert str(error.value) == (
        "the network's outputs belong to no one space: a group can only leave them alone (output: invariant)"
    )


def test_features_of_pairs_can_only_be_left_alone() -> None:
    case = INVARIANT["messages of everyone"]
    points = case.points(8)
    swap = [feature + 3 * token for token in range(6) for feature in (1, 0, 2)]
    group = {"kind": "generated", "generators": {"swap": swap}}
    with pytest.raises(UsageError) as error:
        find_actions(convert(case.module(), points[:2]), group, case.inputs, "invariant", data=points)
    assert str(error.value) == (
        "the features of the network's inputs belong to no one space: a group can permute tokens, no features"
    )


@pytest.mark.parametrize("decoys", [0, 1])
def test_positions_link_no_layer_in_the_middle(decoys: int) -> None:
    """Weights that mix positions are left alone by a change of colours, which their filters know nothing of."""
    case = GENERIC["Mixer of patches"]
    colours = {"kind": "channels", "permutation": [2, 1, 0]}
    found = find_actions(convert(case.module(), case.points(2)), colours, case.inputs, "invariant", decoys=decoys)
    assert found.verdict.outcome == "no action found"
