"""Changing the width of free axes, and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from graphws.errors import UsageError
from graphws.layers import FreeAxes, resized
from graphws.operations import mlp_graph
from graphws.testing import LayerTests, random_features
from tests.layers.cases import convolution, pinned_heads

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


CASES = {
    "one channel": (WIDE, {"input": 3, "output": 2}, 1),
    "channels": (WIDE, {"input": 3, "output": 2}, 3),
    "kernel": (convolution(), {"taps": 1, "image": 1}, 2),
    "heads": (pinned_heads(), {"k": 1}, 2),
}


class TestThereAndBack(LayerTests):
    @pytest.fixture(autouse=True, params=CASES)
    def case(self, request: pytest.FixtureRequest) -> None:
        self.graph, self.sizes, self.channels = CASES[request.param]

    def make_layer(self) -> nn.Module:
        small = resized(self.graph, self.sizes)
        return nn.Sequential(FreeAxes(self.graph, small, self.channels), FreeAxes(small, self.graph, self.channels))


def test_each_parameter_has_a_matrix_for_each_free_axis() -> None:
    maps = FreeAxes(WIDE, NARROW).maps
    assert {name: tuple(x.shape) for name, x in maps.items()} == {"W1:0": (12, 3), "W3:0": (7, 2), "b3:0": (7, 2)}


def test_it_multiplies_the_free_axis() -> None:
    features = random_features(WIDE, 1, 2, rng())
    reduce = FreeAxes(WIDE, NARROW).double()
    found = reduce(features)
    torch.testing.assert_close(found["W1"], features["W1"] @ reduce.maps["W1:0"])
    assert found["b1"] is features["b1"]
    assert found.graph == NARROW


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
