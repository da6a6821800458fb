"""Free axes made smaller before the layers, and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from graphws.errors import GraphError, UsageError
from graphws.graph import NetworkGraph, Space, Weights
from graphws.layers import Features, FreeAxes, Reduction, reduction_of, resized
from graphws.models import DWSNet
from graphws.operations import mlp_graph
from graphws.testing import LayerTests, check_equivariance, random_features, random_weights
from tests.layers.cases import GRAPHS, convolution, heads, pinned_heads
from tests.layers.dense import perturb

WIDE = mlp_graph([12, 4, 3, 7])
NARROW = resized(WIDE, {"input": 3, "output": 2})


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_resized_changes_free_spaces_only() -> None:
    assert {p.name: NARROW.shape(p.name) for p in NARROW.parameters} == {
        "W1": (4, 3),
        "b1": (4,),
        "W2": (3, 4),
        "b2": (3,),
        "W3": (2, 3),
        "b3": (2,),
    }


CASES: dict[str, tuple[NetworkGraph, str | dict[str, int]]] = {
    "inputs and outputs": (WIDE, {"input": 3, "output": 2}),
    "kernel": (convolution(), {"taps": 1, "image": 1}),
    "heads": (pinned_heads(), {"k": 1}),
    "auto": (WIDE, "auto"),
    "auto on heads": (pinned_heads().replace_space(Space("k", 5, "free", "h")), "auto"),
}


class ThereAndBack(nn.Module):
    """Both maps of a reduction."""

    def __init__(self, graph: NetworkGraph, reduction: Reduction) -> None:
        super().__init__()
        self.graph = graph
        self.there, self.back = FreeAxes([graph], reduction), FreeAxes([graph], reduction, back=True)

    def forward(self, features: Features) -> Features:
        found: Features = self.back(self.there(features), self.graph)
        return found


class TestThereAndBack(LayerTests):
    @pytest.fixture(autouse=True, params=CASES)
    def case(self, request: pytest.FixtureRequest) -> None:
        (self.graph, self.reduce), self.channels = CASES[request.param], 1

    def make_layer(self) -> nn.Module:
        return ThereAndBack(self.graph, reduction_of([self.graph], self.reduce, 6))


def test_each_parameter_has_a_matrix_for_each_free_axis() -> None:
    maps = FreeAxes([WIDE], reduction_of([WIDE], {"input": 3, "output": 2}, 8)).maps
    assert {name: tuple(x.shape) for name, x in maps.items()} == {"W1:0": (12, 3), "W3:0": (7, 2), "b3:0": (7, 2)}


def test_it_multiplies_the_free_axis() -> None:
    features = random_features(WIDE, 1, 2, rng())
    reduce = FreeAxes([WIDE], reduction_of([WIDE], {"input": 3, "output": 2}, 8)).double()
    found = reduce(features)
    torch.testing.assert_close(found["W1"], features["W1"] @ reduce.maps["W1:0"])
    assert found["b1"] is features["b1"]
    assert found.graph == NARROW.structure


def test_several_free_axes_are_mapped_one_by_one() -> None:
    graph = convolution()
    features = random_features(graph, 1, 2, rng())
    reduce = FreeAxes([graph], reduction_of([graph], {"taps": 1}, 8)).double()
    kernel = features["K1"].unflatten(-1, (2, 2)) @ reduce.maps["K1:1"]
    torch.testing.assert_close(reduce(features)["K1"], kernel.flatten(-2))


class TestAuto:
    """What is wide becomes channels; what is not stays, with as many channels."""

    reduction = reduction_of([WIDE], "auto", 8)

    def test_what_is_wide_is_lifted(self) -> None:
        assert self.reduction.lifted == {"W1", "W3", "b3"}
        assert list(self.reduction.rows()) == [f"{n}: free numbers become 8 channels" for n in ("W1", "W3", "b3")]

    def test_entries_have_no_free_numbers_left(self) -> None:
        inner = self.reduction.inner(WIDE)
        assert {p.name: (inner.layout(p.name).sizes, inner.layout(p.name).free) for p in inner.parameters} == {
            "W1": ((4,), 1),
            "b1": ((4,), 1),
            "W2": ((3, 4), 1),
            "b2": ((3,), 1),
            "W3": ((3,), 1),
            "b3": ((), 1),
        }

    def test_values_against_a_plain_product(self) -> None:
        features = random_features(WIDE, 1, 2, rng())
        maps = FreeAxes([WIDE], self.reduction).double()
        found = maps(features)
        assert found.channels == 8
        torch.testing.assert_close(found["W1"], torch.einsum("bhi,ic->bhc", features["W1"], maps.maps["W1:12"]))
        torch.testing.assert_close(found["W2"], features["W2"] * maps.maps["W2"][0])

    def test_small_networks_are_left_alone(self) -> None:
        small = mlp_graph([2, 32, 32, 1])
        assert reduction_of([small], "auto", 8).empty
        plain = DWSNet(small, 3, layers=2, channels=8, reduce="none")
        assert {n: p.shape for n, p in DWSNet(small, 3, layers=2, channels=8).named_parameters()} == {
            n: p.shape for n, p in plain.named_parameters()
        }

    def test_it_bounds_what_free_axes_cost(self) -> None:
        graph = mlp_graph([784, 64, 64, 10])
        with torch.device("meta"):
            counts = {
                reduce: sum(p.numel() for p in DWSNet(graph, 10, layers=5, channels=32, reduce=reduce).parameters())
                for reduce in ("auto", "none")
            }
        assert counts["none"] > 5e9
        assert counts["auto"] < 1e6

    @pytest.mark.parametrize("name", ["pinned heads", "head pairs", "nest", "heads 3x2", "convolution", "residual 3"])
    @pytest.mark.parametrize("outputs", [2, None])
    def test_models_of_other_graphs_are_equivariant(self, name: str, outputs: int | None) -> None:
        graph = GRAPHS[name]
        sizes = {space.name: 5 for space in graph.spaces if not space.moves}
        for space in graph.spaces:
            if space.name in sizes:
                graph = graph.replace_space(replace(space, size=5))
        model = DWSNet(graph, outputs, layers=2, channels=4).double()
        perturb(model, rng())
        check_equivariance(model, graph, rng(), draws=2)

    def test_inputs_of_other_widths_share_all_but_one_map(self) -> None:
        graphs = [mlp_graph([width, 4, 4, 3]) for width in (9, 20)]
        model = DWSNet(graphs, 2, layers=2, channels=4, share="role").double()
        assert {n: tuple(p.shape) for n, p in model.reduce.maps.items() if "first" in n} == {  # type: ignore[union-attr]
            "weight%2Efirst:9": (9, 4),
            "weight%2Efirst:20": (20, 4),
        }
        check_equivariance(model, graphs, rng(), draws=2)
        deeper = mlp_graph([20, 3, 5, 4, 3])
        assert model(random_weights(deeper, 2, rng())).shape == (2, 2)  # type: ignore[union-attr]
        with pytest.raises(GraphError) as caught:
            model(random_weights(mlp_graph([11, 4, 4, 3]), 2, rng()))
        assert str(caught.value) == (
            "parameter 'W1' is of 'weight.first' with 11 free entries, which this model was not built for, "
            "with 9 and 20"
        )


def test_words_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        reduction_of([WIDE], "autos", 4)
    assert str(caught.value) == (
        "reduce must be 'auto', 'none' or a mapping from free spaces to sizes; got 'autos'; did you mean 'auto'?"
    )


def test_whole_numbers_are_read_as_floats() -> None:
    graph = heads()
    weights = random_weights(graph, 2, rng(), torch.float32)
    counters = {name: x.to(torch.int64) if name == "bh" else x for name, x in weights.items()}
    features = Features.from_weights(Weights(graph, counters))
    assert {x.dtype for x in features.tensors.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ({"inputs": 3}, "reduce: no space 'inputs' in this graph; did you mean 'input'?"),
        ({"hidden1": 3}, "reduce: 'hidden1' is a set space; only free spaces can be reduced"),
        ({"input": 13}, "reduce: 'input' has 12 entries, a reduction to 13 is wider than its axis"),
        ({"input": 0}, "reduce: 'input' has 12 entries, a reduction to 0 is wider than its axis"),
    ],
)
def test_impossible_reductions_are_refused(sizes: dict[str, int], text: str) -> None:
    with pytest.raises(UsageError) as caught:
        resized(WIDE, sizes)
    assert str(caught.value) == text
