"""Patterns, keys and slots."""

from __future__ import annotations

import pytest

from graphws.graph import Parameter, Space, orbits
from graphws.graph.layout import Layout
from graphws.graph.network import NetworkGraph
from graphws.layers.pattern import fits, orbit_slots, patterns, slots
from tests.layers.cases import GRAPHS, cube, graph, head_pairs, residual


def layout(axes: str, *spaces: Space) -> Layout:
    return NetworkGraph(tuple(spaces), (Parameter("T", axes),)).layout("T")  # type: ignore[arg-type]


D, E = Space("d", 6), Space("e", 6)
H, K = Space("h", 4), Space("k", 4, "nested", "h")


@pytest.mark.parametrize(
    ("axes", "spaces", "count"),
    [
        ("d", [D], 1),
        ("d e", [D, E], 1),
        ("d d", [D], 2),
        ("d d d", [D], 5),
        ("d d d d", [D], 15),
        ("k", [H, K], 1),
        ("k h", [H, K], 2),  # the head of k equals h, or not
        ("k k", [H, K], 3),  # same dimension, same head only, neither
    ],
)
def test_patterns_are_the_ways_to_coincide(axes: str, spaces: list[Space], count: int) -> None:
    found = list(patterns(layout(axes, *spaces)))
    assert len(found) == len(set(found)) == count
    assert len(set(found[0])) == len(found[0]), "the pattern in which no axes coincide comes first"


def test_children_coincide_only_where_their_parents_do() -> None:
    for blocks in patterns(layout("k k", H, K)):
        assert blocks[1] != blocks[3] or blocks[0] == blocks[2]


def test_keys_of_a_plain_weight_are_the_subsets_of_its_spaces() -> None:
    keys = [[space for space, _ in group[0].key] for group in slots(layout("d e", D, E))]
    assert sorted(map(sorted, keys)) == [[], ["d"], ["d", "e"], ["e"]]


def test_equal_forests_give_equal_keys_in_any_order() -> None:
    one = {group[0].key for group in slots(layout("d e k", D, E, H, K))}
    two = {group[0].key for group in slots(layout("k e d", D, E, H, K))}
    assert one == two


def test_like_nodes_come_in_every_order() -> None:
    whole = [group for group in slots(layout("d d", D)) if len(group[0].kept) == 2]
    assert [[slot.kept for slot in group] for group in whole] == [[(0, 1), (1, 0)]]


def test_a_child_stands_at_a_key_only_with_its_parent() -> None:
    for group in slots(layout("k", H, K)):
        assert [space for space, _ in group[0].key] in ([], ["h"], ["h", "k"])


def test_pooled_blocks_and_signature() -> None:
    found = {slot.signature: slot for group in slots(layout("d d e", D, E)) for slot in group}
    slot = found["0,0,1@1"]
    assert slot.merges
    assert slot.pooled == (0,)
    assert [space for space, _ in slot.key] == ["e"]


def test_small_spaces_cannot_hold_many_different_indices() -> None:
    for width, kept in ((4, 15), (3, 14), (2, 8), (1, 1)):
        part = residual(width).layout("A")
        groups = list(slots(part))
        pairs = [(u, t[0]) for t in groups for g in groups for u in g if u.key == t[0].key]
        assert len(pairs) == 15
        assert sum(fits(u, part, t, part) for u, t in pairs) == kept


@pytest.mark.parametrize("name", GRAPHS)
def test_orbit_slots_are_the_orbits(name: str) -> None:
    network = GRAPHS[name]
    for parameter in network.parameters:
        part = network.layout(parameter.name)
        assert part.free * len(orbit_slots(part, exact=True)) == int(orbits(network, parameter.name).max()) + 1


def test_orbit_slots_without_sizes_are_all_patterns() -> None:
    part = cube(2).layout("T")
    assert len(orbit_slots(part, exact=False)) == 5
    assert len(orbit_slots(part, exact=True)) == 4
    assert len(orbit_slots(head_pairs().layout("P"), exact=False)) == 3


def test_free_children_of_a_set_fold_into_channels() -> None:
    pinned = graph([Space("h", 3), Space("k", 2, "free", "h")], W="k h*").layout("W")
    assert [axis.space for axis in pinned.index] == ["h", "h"]
    assert pinned.free == 2
