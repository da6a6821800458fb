"""The permutation of attention heads, read off their maps and off weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from graphws.actions import find_actions
from graphws.actions.groups.placing import place
from graphws.actions.planted.networks import plant
from graphws.errors import UsageError
from graphws.graph import Monomial, Weights
from graphws.spec import AttentionSection
from graphws.trainings import HeadMatch, Trained, design_of, find_heads
from graphws.trainings.analysis import heads_in_words, rho_on_heads
from graphws.trainings.heads import _clear, attention_maps, heads_of, match_heads
from graphws.trainings.training import start
from tests.trainings.cases import experiment, pictures


def planted(group: str, seed: int = 0) -> tuple[Trained, torch.Tensor]:
    """A network of four heads that is exactly equivariant, and how the group's first generator permutes them."""
    section = experiment(hidden=(8, 6), attention=AttentionSection(heads=4, patch=1), group=group)
    design = design_of(section, pictures(channels=3))
    made = plant(design.graph, place(design.graph, design.symmetry, design.shape), torch.Generator().manual_seed(seed))
    element = next(iter(design.symmetry.generators.values()))
    sharp = made.weights.tensors | {"T": 20 * made.weights["T"], "EK": 0.1 * made.weights["EK"]}
    return Trained(design, Weights(design.graph, sharp), ()), made.actions[element]["head1"].perm


@pytest.mark.parametrize(("group", "seed"), [("mirror", 3), ("transpose", 1), ("rotations", 4)])
def test_maps_show_the_planted_permutation(group: str, seed: int) -> None:
    trained, perm = planted(group, seed)
    element = next(iter(trained.design.symmetry.generators.values()))
    crops = torch.randn(12, *trained.design.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    match = heads_of(trained, crops, element)
    assert perm.tolist() != [0, 1, 2, 3]
    assert match.partner[perm].tolist() == [0, 1, 2, 3]  # head i of the moved picture shows what head perm[i] showed
    best = match.agreement[torch.arange(4), match.partner]
    torch.testing.assert_close(best, torch.ones(4, dtype=torch.float64))
    assert match.permuting == [i for i in range(4) if int(perm[i]) != i]
    assert find_heads(trained, pictures(channels=3)) is not None


def test_a_network_without_the_symmetry_shows_no_permutation() -> None:
    trained, _ = planted("mirror")
    rng = torch.Generator().manual_seed(0)
    random = trained.weights.map(lambda x: torch.randn(x.shape, generator=rng, dtype=x.dtype))
    crops = torch.randn(40, *trained.design.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    match = heads_of(replace(trained, weights=random), crops, 1)
    assert float(match.agreement[torch.arange(4), match.partner].min()) < 0.9


def test_an_mlp_has_no_heads() -> None:
    section = experiment()
    design = design_of(section, pictures())
    trained = Trained(design, start(design.graph, torch.Generator().manual_seed(0)), ())
    assert find_heads(trained, pictures()) is None
    with pytest.raises(UsageError) as caught:
        attention_maps(trained, torch.zeros(1, 1, 4, 4))
    assert str(caught.value) == "this network has no attention heads: look at its filters"


def match(perm: list[int], noise: float = 0.0) -> HeadMatch:
    rng = torch.Generator().manual_seed(0)
    maps = torch.rand(20, len(perm), 3, 3, generator=rng)
    moved = torch.empty_like(maps)
    moved[:, perm] = maps.flip(-1)
    turn = torch.arange(9).reshape(3, 3).flip(-1).flatten()
    return match_heads(maps, moved + noise * torch.rand(moved.shape, generator=rng), turn)


def test_heads_are_matched_one_to_one_and_ties_stay() -> None:
    assert match([1, 0, 2]).partner.tolist() == [1, 0, 2]
    assert match([1, 0, 2], noise=0.3).permuting == [0, 1]
    assert match([1, 2, 0]).permuting == [0, 1, 2]
    assert match([0, 1, 2]).permuting == []
    alike = torch.ones(5, 2, 2, 2).cumsum(-1)
    assert match_heads(alike, alike.flip(-1), torch.tensor([1, 0, 3, 2])).permuting == []


def test_words_say_who_permutes_and_whether_weights_agree() -> None:
    trained, perm = planted("mirror", seed=3)
    design = trained.design
    actions = find_actions(trained.weights, design.symmetry, design.shape, decoys=0, sweeps=2)
    rho = rho_on_heads(trained, actions)
    assert perm.tolist() == [2, 1, 0, 3]
    assert heads_in_words(match([2, 1, 0, 3]), rho) == (
        "By their attention maps heads permute: 1 with 3 (correlation 1.00); the action found says the same of every "
        "head."
    )
    assert heads_in_words(match([0, 1, 2, 3]), rho) == (
        "By their attention maps all 4 heads stay (least correlation 1.00); the action found says the same of 2 of 4 "
        "heads."
    )
    cycle = Monomial(torch.tensor([1, 2, 0]))
    assert heads_in_words(match([2, 0, 1]), cycle).endswith("says the same of every head.")
    assert heads_in_words(match([1, 2, 0]), cycle).endswith("says the same of 0 of 3 heads.")
    assert heads_in_words(match([1, 0]), None) == "By their attention maps heads permute: 1 with 2 (correlation 1.00)."


def test_an_exchange_in_which_one_head_gains_what_the_other_loses_is_none() -> None:
    """Head 1 alone gains .13 by the exchange, both together .02."""
    alike = torch.tensor([[0.97, 0.87, 0.0], [0.87, 0.74, 0.0], [0.0, 0.0, 1.0]])
    assert _clear(alike, torch.tensor([1, 0, 2])).tolist() == [0, 1, 2]
    apart = torch.tensor([[0.60, 0.87, 0.0], [0.87, 0.74, 0.0], [0.0, 0.0, 1.0]])
    assert _clear(apart, torch.tensor([1, 0, 2])).tolist() == [1, 0, 2]
