"""Changing the width of free axes, and back."""

from __future__ import annotations

import pytest
import torch

from graphws.errors import UsageError
from graphws.graph import NetworkGraph, mlp_graph
from graphws.layers import FreeAxes, resized
from graphws.testing import check_equivariance, random_features
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


@pytest.mark.parametrize("channels", [1, 3])
def test_there_and_back_commutes(channels: int) -> None:
    there, back = FreeAxes(WIDE, NARROW, channels).double(), FreeAxes(NARROW, WIDE, channels).double()
    check_equivariance(lambda x: back(there(x)), WIDE, rng(), channels=channels)


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
    ("graph", "sizes"), [(convolution(), {"taps": 1, "image": 1}), (pinned_heads(), {"k": 1})], ids=["kernel", "heads"]
)
def test_free_axes_of_kernels_and_of_children_of_sets(graph: NetworkGraph, sizes: dict[str, int]) -> None:
    small = resized(graph, sizes)
    there, back = FreeAxes(graph, small, 2).double(), FreeAxes(small, graph, 2).double()
    check_equivariance(lambda x: back(there(x)), graph, rng(), channels=2)


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
