"""Networks that cut pictures into patches and read them by one learned query."""

from __future__ import annotations

import pytest
import torch

from graphws.actions import find_actions
from graphws.actions.computation.features import features_of
from graphws.actions.computation.latent_values import latent_values
from graphws.actions.decoys.shuffled import decoys
from graphws.actions.groups.ends import patch_side
from graphws.actions.groups.placing import place
from graphws.graph import NetworkGraph
from graphws.operations import attention_pool_graph, mlp_graph
from tests.actions.planting import pictures, rng

SHAPE = (3, 6, 6)


def graph() -> NetworkGraph:
    return attention_pool_graph(3, 9, [8, 6, 108], heads=4, activation=["tanh", "gelu"], patch=2)


def test_a_learned_query_has_the_features_of_its_own_space_and_is_no_latent_value() -> None:
    assert features_of(graph())["c"].space == "asker"
    assert [(latent.value, latent.space) for latent in latent_values(graph())] == [
        ("pK", "keys"),
        ("pV", "values"),
        ("k1", "query1"),
        ("x1", "value1"),
        ("x2", "hidden2"),
        ("z3", "output"),
    ]


@pytest.mark.parametrize("data", [False, True])
def test_the_permutation_of_heads_is_found(data: bool) -> None:
    case = pictures(graph(), "mirror", SHAPE)
    probes = case.probes(40) if data else None
    found = find_actions(case.planted.weights, "mirror", SHAPE, data=probes, decoys=1, sweeps=5)
    planted = case.planted.actions[1]["head1"].perm
    assert planted.tolist() != [0, 1, 2, 3]
    assert torch.equal(found.elements[1].maps["head1"].perm, planted)
    errors = {layer.space: layer.weight_error for layer in found.layers}
    assert set(errors) >= {"keys", "values", "query1", "value1", "hidden2", "output"}
    assert max(errors[space] for space in ("keys", "values", "value1", "hidden2", "output")) < 0.05
    if data:
        assert found.end_to_end < 1e-9
        assert min(found.decoy_end_to_end.values()) > 0.1


@pytest.mark.parametrize("group", ["mirror", "rotations:4"])
def test_decoys_move_whole_patches_and_so_fit_the_network(group: str) -> None:
    case = pictures(graph(), group, SHAPE)
    found = decoys(case.symmetry, SHAPE, count=5, generator=rng(), patch=2)
    assert len(found) == 5
    for decoy in found:
        placed = place(graph(), decoy, SHAPE)
        assert placed.tokens is not None
        assert any(not torch.equal(a, b) for a, b in zip(placed.tokens, case.placed.tokens, strict=True))


def test_decoys_of_pixels_do_not_fit_it() -> None:
    case = pictures(graph(), "mirror", SHAPE)
    shuffled = decoys(case.symmetry, SHAPE, count=4, generator=rng())[-1]
    with pytest.raises(Exception, match="the group does not move whole tokens alike"):
        place(graph(), shuffled, SHAPE)


def test_which_networks_have_patches() -> None:
    assert patch_side(graph()) == 2
    assert patch_side(mlp_graph([4, 3, 2])) is None
