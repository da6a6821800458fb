"""Decoys of networks that convolve: other moves of pictures, and scrambled taps where there are none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graphws.actions import find_actions
from graphws.actions.decoys.moves import picture_decoys
from graphws.actions.decoys.taps import scrambled_layers, tap_decoys
from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.placing import place
from graphws.actions.pictures.joined_axes import grids, picture_view
from graphws.converting import convert
from graphws.graph import NetworkGraph
from graphws.graph.element import compose
from graphws.matching.match import same_map
from tests.actions.picture_cases import SHAPE, classifier, pictures, planted
from tests.actions.planting import rng
from tests.actions.test_symmetry import is_group_action


def test_decoys_move_pixels_in_other_ways() -> None:
    graph = planted(classifier(), "mirror")[2].weights.graph
    for group, some in (("mirror", True), ("rotations:4", True), ("dihedral", False)):
        symmetry = named_symmetry(group, SHAPE, "invariant", outputs=10)
        found = picture_decoys(graph, symmetry, SHAPE, count=3, generator=rng())
        assert len(found) == (3 if some else 0)
        assert all(is_group_action(decoy) for decoy in found)


def test_scrambled_taps_are_the_same_group_acting_otherwise() -> None:
    """Each decoy is a homomorphism, moves taps and pixels as no element of the group does, and leaves the rest."""
    _, symmetry, case = planted(classifier(), "dihedral")
    graph = case.weights.graph
    placed = place(graph, symmetry, SHAPE)
    found = tap_decoys(graph, placed, count=3, generator=rng())
    assert len(found) == 3
    sizes = grids(graph)
    assert set(sizes) == {"taps3x3", "pixels4x4"}
    for decoy in found:
        for g in range(symmetry.order):
            for name, element in decoy.maps[g].items():
                if name not in sizes:
                    assert element is placed.maps[g][name]
                    continue
                for h in range(symmetry.order):
                    product = compose(element, decoy.maps[h][name])
                    assert same_map(product, decoy.maps[int(symmetry.table[g, h])][name])
            if g:
                alike = [
                    all(same_map(decoy.maps[g][n], placed.maps[h][n]) for n in sizes) for h in range(symmetry.order)
                ]
                assert not any(alike)
    assert scrambled_layers(graph) == {"0", "2", "5", "output"}


def test_where_nothing_can_be_scrambled_there_is_no_decoy() -> None:
    pointwise = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    found = convert(pointwise.double(), pictures(2))
    assert found.weights is not None
    graph = picture_view(found.weights).graph
    symmetry = named_symmetry("dihedral", SHAPE, "invariant", outputs=10)
    assert tap_decoys(graph, place(graph, symmetry, SHAPE), count=3, generator=rng()) == []
    assert scrambled_layers(graph) == set()
    view = picture_view(convert(classifier("circular"), pictures(2)).weights).graph  # type: ignore[arg-type]
    shifts = named_symmetry("translations:4", SHAPE, "invariant", outputs=10)
    assert tap_decoys(picture_graph_without_pixels(view), place(view, shifts, SHAPE), count=3, generator=rng()) == []


def picture_graph_without_pixels(graph: NetworkGraph) -> NetworkGraph:
    """Its kernels alone, which shifts leave as they are."""
    kernels = tuple(p for p in graph.parameters if "pixels4x4" not in p.spaces)
    return NetworkGraph(tuple(s for s in graph.spaces if s.name != "pixels4x4"), kernels)


@pytest.mark.slow
def test_scrambled_taps_tell_networks_that_know_the_square_from_those_that_do_not() -> None:
    """Without the symmetry the group does no better than its decoys; with noise on it, far better on every layer."""
    _, symmetry, case = planted(classifier(), "dihedral")
    for data in (None, pictures(40)):
        found = find_actions(case.noisy(0.03, rng(3)), symmetry, SHAPE, data=data)
        assert found.verdict.outcome == "action found"
        assert all(layer.best_rival and 4 * layer.weight_error < layer.best_rival.k_error for layer in found.layers)
    torch.manual_seed(0)
    other = find_actions(convert(classifier(), pictures(2)), symmetry, SHAPE)
    assert other.verdict.outcome == "no action found"
    for layer in other.layers:
        assert layer.best_rival is not None
        assert layer.weight_error == pytest.approx(layer.best_rival.k_error, rel=0.15)
