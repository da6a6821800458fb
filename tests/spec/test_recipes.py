"""Recipes of a zoo's networks: what they give, what wins over them, and which zoos are the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphws.spec import ZooSection, dump_spec, load_spec, parse_spec
from graphws.spec.recipes import RECIPES, omega_of_grid
from graphws.zoo import load_digits, load_sine


def zoo_of(network: str, source: str = "{kind: digits}") -> ZooSection:
    zoo = parse_spec(f"graphws: 1\nzoo: {{source: {source}, network: {network}}}").zoo
    assert zoo is not None
    return zoo


@pytest.mark.parametrize(
    ("network", "wanted"),
    [
        ("{}", (30.0, 1.0, "siren", 0.0)),
        ("{recipe: siren}", (30.0, 1.0, "siren", 0.0)),
        ("{recipe: dwsnets}", (30.0, 1.0, "hidden", 0.5)),
        ("{recipe: graphws}", (5.0, 0.3, "siren", 0.0)),
        ("{recipe: dwsnets, offset: 0, omega: [10, 4]}", ((10.0, 4.0), 1.0, "hidden", 0.0)),
        ("{recipe: graphws, omega: 7, first: hidden}", (7.0, 0.3, "hidden", 0.0)),
    ],
)
def test_a_recipe_gives_what_a_spec_leaves_out(network: str, wanted: tuple[object, ...]) -> None:
    built = zoo_of(network).network.build(load_digits(limit=2))
    assert (built.omega, built.start, built.first, built.offset) == wanted


def test_inherited_keys_win_over_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text("graphws: 1\nzoo: {network: {offset: 0.25, recipe: dwsnets}}\n")
    child = tmp_path / "child.yaml"
    child.write_text("graphws: 1\nextends: parent.yaml\nzoo: {network: {recipe: graphws, omega: 9}}\n")
    network = load_spec(child).zoo.network  # type: ignore[union-attr]
    assert (network.omega, network.start, network.first, network.offset) == (9.0, 0.3, "siren", 0.25)
    overridden = load_spec(child, ["zoo.network.recipe=dwsnets"]).zoo.network  # type: ignore[union-attr]
    assert (overridden.omega, overridden.start, overridden.first) == (9.0, 1.0, "hidden")


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_resolved_spec_says_what_its_recipe_gave(recipe: str) -> None:
    spec = parse_spec(f"graphws: 1\nzoo: {{network: {{recipe: {recipe}, start: 0.4}}}}")
    text = dump_spec(spec)
    assert parse_spec(text) == spec
    assert f"omega: {spec.zoo.network.omega}" in text  # type: ignore[union-attr]


def test_equal_networks_share_a_zoo_whatever_their_recipe() -> None:
    assert zoo_of("{recipe: siren}").folder() == zoo_of("{}").folder() == ZooSection().folder()
    written = zoo_of("{omega: 30, first: hidden, offset: 0.5}").folder()
    assert zoo_of("{recipe: dwsnets}").folder() == written != ZooSection().folder()
    assert zoo_of("{recipe: graphws}").folder() == zoo_of("{omega: 5, start: 0.3}").folder()
    waves = "{kind: sine, points: 2000}"
    assert zoo_of("{recipe: graphws}", waves).folder() == zoo_of("{start: 0.3}", waves).folder()
    assert zoo_of("{omega: [30, 30]}").folder() == ZooSection().folder() != zoo_of("{omega: [30, 5]}").folder()
    names = {zoo_of(f"{{recipe: {recipe}}}").folder() for recipe in RECIPES}
    assert len(names) == 3


def test_limits_and_seeds_name_zoos() -> None:
    one, same = (zoo_of("{}", f"{{kind: digits, limit: {limit}}}").folder() for limit in ("5", "{train: 5, seed: 0}"))
    assert one != same
    idx = "kind: idx, train_images: a, train_labels: b, test_images: c, test_labels: d"
    number, parts = (zoo_of("{}", f"{{{idx}, limit: {limit}}}").folder() for limit in ("5", "{train: 5, test: 5}"))
    assert number == parts
    assert zoo_of("{}", "{kind: sine}").folder() == zoo_of("{}", "{kind: sine, seed: 0}").folder()
    assert zoo_of("{}", "{kind: sine}").folder() != zoo_of("{}", "{kind: sine, seed: 1}").folder()


def test_the_seed_of_waves_reaches_them() -> None:
    for seed in (0, 3):
        samples = zoo_of("{}", f"{{kind: sine, count: 5, points: 9, seed: {seed}}}").source.build()
        assert samples.digest() == load_sine(count=5, points=9, seed=seed).digest()


def test_the_grid_decides_the_frequency() -> None:
    found = [omega_of_grid(length) for length in (1, 2, 4, 8, 14, 28, 64, 224, 2000)]
    assert found == sorted(found)
    assert (found[3], found[5], found[-1]) == (5.0, 10.0, 30.0)
    assert min(found) > 0
    assert zoo_of("{omega: grid}", "{kind: sine, points: 8}").network.build(load_sine(count=2, points=8)).omega == 5.0
