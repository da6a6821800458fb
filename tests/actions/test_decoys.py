"""Decoys of groups that move channels or patches: of the same order, other elements, and made for the network."""

from __future__ import annotations

import pytest
import torch

from graphws.actions import find_actions
from graphws.actions.decoys.shuffled import decoys, overlap
from graphws.actions.groups.naming import named_symmetry
from graphws.graph import Monomial
from graphws.operations import mlp_graph
from tests.actions.planting import pictures, rng
from tests.actions.test_symmetry import is_group_action

SHAPE = (3, 4, 4)
COLOURS = {"kind": "channels", "permutation": [1, 2, 0]}


@pytest.mark.parametrize("group", [COLOURS, "rotations:4", "translations:2"])
def test_decoys_differ_from_every_element(group: object) -> None:
    symmetry = named_symmetry(group, SHAPE)  # type: ignore[arg-type]
    found = decoys(symmetry, SHAPE, count=3, generator=rng())
    assert len(found) == 3
    for decoy in found:
        assert is_group_action(decoy)
        assert decoy.order == symmetry.order
        assert overlap(symmetry.input, decoy.input[1:]) < 1


def test_an_exchange_of_channels_has_decoys_that_mix_them() -> None:
    """Shuffled pixels commute with it: its decoys shuffle all numbers, and the network that knows it stands out."""
    case = pictures(mlp_graph([48, 24, 48], "tanh"), COLOURS, SHAPE)
    found = find_actions(case.planted.weights, case.symmetry, SHAPE)
    assert found.verdict.outcome == "exact action"
    assert len(found.layers[0].rivals) == 3
    assert min(rival.k_error for rival in found.layers[0].rivals.values()) > 0.3
    wrong = decoys(case.symmetry, SHAPE, count=1, generator=rng(5))[0]
    assert find_actions(case.planted.weights, wrong, SHAPE).verdict.outcome == "no action found"


def test_patches_are_shuffled_as_wholes() -> None:
    symmetry = named_symmetry("rotations:4", SHAPE)
    for patch, whole in ((2, True), (1, False)):
        for decoy in decoys(symmetry, SHAPE, count=2, generator=rng(), patch=patch):
            turn = decoy.input[1]
            assert isinstance(turn, Monomial)
            table = turn.perm.reshape(3, 2, 2, 2, 2)  # channel, patch row, row, patch column, column
            patches = ((table % 16) // 8 * 2 + (table % 4) // 2).permute(1, 3, 0, 2, 4).flatten(2)
            assert torch.equal(patches, patches[..., :1].expand_as(patches)) is whole  # each comes from one patch
