"""One set of weights for networks of any depth and width (share by role)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from graphws.errors import GraphError, UsageError
from graphws.graph import NetworkGraph
from graphws.layers import EquivariantLinear, Features, expand_blocks
from graphws.messages import FAMILIES
from graphws.operations import mlp_graph
from graphws.pooling import POOLINGS
from graphws.testing import LayerTests, check_equivariance, random_features
from tests.layers.dense import perturb

DEPTHS = [mlp_graph([2, *widths, 3]) for widths in ([4], [3, 5], [4, 4, 4], [2, 3, 4, 5, 6])]


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shared_layer(pool: str = "max", **options: object) -> EquivariantLinear:
    layer = EquivariantLinear(DEPTHS, 2, 2, expand_blocks(pool=pool), share="role", **options).double()  # type: ignore[arg-type]
    perturb(layer, rng(5))
    return layer


class TestEveryDepth(LayerTests):
    channels = 2

    @pytest.fixture(autouse=True, params=[(k, pool) for k in range(len(DEPTHS)) for pool in POOLINGS], ids=str)
    def case(self, request: pytest.FixtureRequest) -> None:
        depth, self.pool = request.param
        self.graph = DEPTHS[depth]

    def make_layer(self) -> EquivariantLinear:
        return EquivariantLinear(DEPTHS, 2, 2, expand_blocks(pool=self.pool), share="role")


def test_its_size_does_not_grow_with_depth() -> None:
    three = EquivariantLinear([mlp_graph([2, 4, 4, 4, 4, 3])], 2, 2, share="role")
    many = EquivariantLinear([mlp_graph([2, *[4] * 9, 3])], 2, 2, share="role")
    assert sum(p.numel() for p in three.parameters()) == sum(p.numel() for p in many.parameters())


def test_the_names_of_spaces_do_not_count() -> None:
    """hidden10 comes before hidden9 in the alphabet, and not in the network."""
    layer = EquivariantLinear([mlp_graph([2, 4, 4, 4, 3])], 2, 2, expand_blocks(pool="mean"), share="role").double()
    perturb(layer, rng(5))
    graph = mlp_graph([2, *[3] * 11, 3])
    features = random_features(graph, 2, 2, rng(1))
    order = [graph.space(name) for name in sorted((s.name for s in graph.spaces), reverse=True)]
    names = {space.name: f"s{k}" for k, space in enumerate(order)}
    spaces = tuple(replace(space, name=names[space.name]) for space in graph.spaces)
    parameters = tuple(
        replace(p, axes=tuple(replace(axis, space=names[axis.space]) for axis in p.axes)) for p in graph.parameters
    )
    renamed = NetworkGraph(spaces, parameters)
    found = layer(features)
    other = layer(Features(renamed, dict(features.tensors), 2))
    for name, x in found.tensors.items():
        torch.testing.assert_close(other.tensors[name], x)


def test_a_depth_that_it_has_not_seen_is_fine_if_its_roles_are_known() -> None:
    deeper = mlp_graph([2, 3, 4, 3, 4, 3, 4, 3])
    layer = shared_layer("mean")
    check_equivariance(layer, deeper, rng(), channels=2)


@torch.no_grad()
def test_neighbours_are_told_apart_from_the_rest() -> None:
    """Changing b2 changes W2 and W3 entry by entry, and others by a constant only."""
    graph = mlp_graph([2, 4, 4, 4, 4, 3])
    layer = EquivariantLinear([graph], 2, 2, expand_blocks(pool="mean"), share="role").double()
    features = random_features(graph, 2, 1, rng())
    bumped = features.replace({**features.tensors, "b2": random_features(graph, 2, 1, rng(1))["b2"]})
    change = {n: layer(bumped)[n] - x for n, x in layer(features).tensors.items()}
    spread = {
        n: float((x - x.mean((1, 2), keepdim=True)).abs().max()) for n, x in change.items() if n in ("W2", "W3", "W4")
    }
    assert spread["W2"] > 1e-3
    assert spread["W3"] > 1e-3
    assert spread["W4"] < 1e-12


@pytest.mark.parametrize("family", FAMILIES)
def test_block_families_can_be_left_out(family: str) -> None:
    layer = EquivariantLinear(DEPTHS, 2, 2, expand_blocks({family: "none"}), share="role").double()
    for graph in DEPTHS:
        check_equivariance(layer, graph, rng(), channels=2)


def test_only_one_graph_without_sharing() -> None:
    with pytest.raises(UsageError) as caught:
        EquivariantLinear(DEPTHS, 2, 2)
    assert str(caught.value) == "share must be 'none' (one graph) or 'role'; got 'none' for 4 graphs"
    layer = EquivariantLinear(DEPTHS[0], 2, 2).double()
    with pytest.raises(UsageError) as caught:
        layer(random_features(DEPTHS[1], 2, 1, rng()))
    assert str(caught.value) == (
        "this layer was built for another graph: parameter 'W2' has the axes hidden2 x hidden1, "
        "the model's output x hidden1; build it with share='role' to take several"
    )


def test_diagonal_families_cannot_be_shared() -> None:
    with pytest.raises(GraphError, match="cannot keep to sharing pairs via the network"):
        EquivariantLinear(DEPTHS, 2, 2, expand_blocks(dict.fromkeys(FAMILIES, "diagonal")), share="role")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((0, 2), "channels must be at least 1, got 0 in and 2 out"),
        ((2, 0), "channels must be at least 1, got 2 in and 0 out"),
    ],
)
def test_impossible_channels_are_refused(given: tuple[int, int], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        EquivariantLinear(DEPTHS[0], *given)
    assert str(caught.value) == text


def test_features_of_another_width_are_refused() -> None:
    layer = EquivariantLinear(DEPTHS[0], 2, 2).double()
    with pytest.raises(UsageError) as caught:
        layer(random_features(DEPTHS[0], 3, 1, rng()))
    assert str(caught.value) == "this layer takes 2 channels, got 3"
