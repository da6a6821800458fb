"""Layers as published: the group, gradients, both paths, and the slow reference, for every kind of pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from graphws.errors import UsageError
from graphws.graph import Space
from graphws.layers import Features
from graphws.layers.published.free_axes import AxisMap, FreeAxisMaps, ReducedPairLayer
from graphws.layers.published.initial import BIAS
from graphws.layers.published.layer import PairLayer
from graphws.layers.published.pairs import pairs_of
from graphws.layers.reduction import reduction_of
from graphws.messages import FAMILIES
from graphws.operations import mlp_graph
from graphws.testing import LayerTests, random_features
from tests.layers.cases import GRAPHS, convolution, graph, heads, pinned_heads
from tests.layers.published import reference

MLP = mlp_graph([2, 4, 3, 2])
GATED = graph([Space("d", 3), Space("h", 2), Space("out", 2, "free")], U="h d*", V="d h*", G="h d*", b="out")
SOLID = graph([Space("a", 2), Space("b", 3), Space("c", 2)], T="a b c", U="c a", bv="b")
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "mlp": (MLP, {}),
    "mlp, deepsets of means": (MLP, {"set_layer": "deepsets", "pooling": "mean"}),
    "mlp, sums": (MLP, {"pooling": "sum"}),
    "mlp, one head": (MLP, {"heads": 1}),
    "mlp, neighbours": (MLP, {"blocks": dict.fromkeys(FAMILIES, "diagonal")}),
    "mlp, weights to weights": (MLP, {"blocks": {**dict.fromkeys(FAMILIES, "none"), "weight_to_weight": "full"}}),
    "one hidden layer": (mlp_graph([2, 4, 1]), {}),
    "convolution": (convolution(), {}),
    "two tensors between the same sets": (GATED, {}),
    "three sets": (SOLID, {}),
    "heads": (heads(3, 2), {}),
    "pinned heads": (pinned_heads(), {}),
}
NESTED = ("heads", "pinned heads")


class TestPairLayer(LayerTests):
    channels = 3

    @pytest.fixture(autouse=True, params=CASES)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.name = request.param
        self.graph, self.options = CASES[self.name]

    def make_layer(self) -> PairLayer:
        return PairLayer(self.graph, 3, 4, **{"heads": 2, **self.options})

    def make_reference(self, layer: nn.Module) -> Callable[..., Any] | None:
        assert isinstance(layer, PairLayer)
        pool = self.options.get("pooling", "max")
        return None if self.name in NESTED else lambda features: reference.run(layer, features, pool)


class TestReducedPairLayer(LayerTests):
    graph = mlp_graph([3, 4, 3, 4])
    channels = 2

    def make_layer(self) -> ReducedPairLayer:
        reduction = reduction_of([self.graph], {"input": 2, "output": 3}, 2)
        return ReducedPairLayer(self.graph, reduction, PairLayer(reduction.inner(self.graph), 2, 4, heads=2))


def test_a_nested_set_is_chosen_with_its_parents_only() -> None:
    pairs = {(pair.source, pair.target): pair for pair in pairs_of(heads(3, 2))}
    keys = [write.key for write in pairs["Q", "b"].writes]
    assert keys == [(), (("h", None),), (("h", None), ("k", 0))]


def test_axes_are_mapped_as_the_formula_says() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 3, 4, generator=draw, dtype=torch.float64)
    one = AxisMap(4, 2).double()
    with torch.no_grad():
        one.query.copy_(torch.randn(4, generator=draw, dtype=torch.float64))
    found = one(x)
    assert sum(p.numel() for p in one.parameters()) == AxisMap.parameters_of(4, 2)
    for network in range(2):
        for other in range(3):
            rows = x[network, :, other]
            weights = torch.stack([(row * one.query).sum() for row in rows]).exp()
            taken = sum(w * row for w, row in zip(weights / weights.sum(), rows, strict=True)) @ one.others.weight.T
            for i, row in enumerate(rows):
                wanted = one.own.weight @ row + one.own.bias - taken
                torch.testing.assert_close(found[network, i, other], wanted)


def test_free_axes_keep_their_places() -> None:
    """Along the first of two free axes and along the second, with the map of each."""
    net = graph([Space("n", 2), Space("p", 3, "free"), Space("q", 4, "free")], W="p n q")
    x = random_features(net, 2, 3, torch.Generator().manual_seed(0))
    maps = FreeAxisMaps(net, reduction_of([net], {"p": 2, "q": 3}, 2)).double()
    found = maps(x).unfolded("W")
    first, second = maps.maps["W:0"], maps.maps["W:1"]
    assert isinstance(first, AxisMap)
    assert isinstance(second, AxisMap)
    whole = x.unfolded("W").permute(0, 2, 3, 4, 1).flatten(2, 3)  # (batch, n, q and channels, p)
    whole = first(whole).unflatten(2, (4, 2)).permute(0, 1, 4, 3, 2).flatten(2, 3)  # (batch, n, p' and channels, q)
    wanted = second(whole).unflatten(2, (2, 2)).permute(0, 2, 1, 4, 3)
    torch.testing.assert_close(found, wanted)


@torch.no_grad()
def test_maps_start_as_wide_as_their_shape_says() -> None:
    torch.manual_seed(0)
    layer = PairLayer(mlp_graph([2, 32, 32, 1]), 32, 32, init_scale=0.5)
    maps = layer.network_maps["W1"].split([32] * 3)  # from b2, W3 and b3, each 32 to 64
    for matrix in maps:
        assert float(matrix.std()) == pytest.approx(0.5 * (2 / 96 * 2 * 32 / 64) ** 0.5, rel=0.1)
    attention = layer.sets["32x32x32"]
    assert float(attention.read.std()) == pytest.approx(0.5 * (2 / 64 * 2) ** 0.5, rel=0.1)
    offsets = [p for name, p in layer.named_parameters() if "offset" in name]
    assert all(0.9 * BIAS < float(p.abs().max()) <= BIAS for p in offsets)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"graph": GRAPHS["residual 3"]}, "parameter 'A' has the space 'd' more than once, for which there are no "
         "layers as published; take `kind: dwsnet`"),
        ({"heads": 3}, "set attention: 3 heads do not divide 8 channels"),
        ({"pooling": "attention"}, "layers as published take a pooling without parameters; got 'attention'"),
        ({"set_layer": "sab"}, "set_layer must be one of attention, deepsets; got 'sab'"),
        ({"in_channels": 0}, "channels must be at least 1, got 0 in and 4 out"),
    ],
)  # fmt: skip
def test_what_a_layer_does_not_take(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        PairLayer(**{"graph": MLP, "in_channels": 2, "out_channels": 4, "heads": 2, **options})
    assert str(caught.value) == text


def test_other_features_are_refused() -> None:
    layer, draw = PairLayer(MLP, 2, 4, heads=2).double(), torch.Generator().manual_seed(0)
    with pytest.raises(UsageError) as caught:
        layer(random_features(MLP, 3, 2, draw))
    assert str(caught.value) == "this layer takes 2 channels, got 3"
    other: Features = random_features(mlp_graph([2, 5, 3, 2]), 2, 2, draw)
    with pytest.raises(UsageError) as caught:
        layer(other)
    text = "this layer was built for another graph: space 'hidden1' has 5 elements, the model's 4"
    assert str(caught.value) == text
