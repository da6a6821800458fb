"""Each layer's own action on a residual stream: what a first layer does, though later writers break it."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor, nn

from graphws import convert, find_actions
from graphws.actions.analysis.result import Actions
from graphws.report.actions_page import actions_page

PAIRS = 3


class Residual(nn.Module):
    """A convolution, one residual block, pooling and a linear layer, without biases in the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.inner, self.back = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.last = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).relu()
        return self.last((x + self.back(self.inner(x).relu())).relu().mean((2, 3)))  # type: ignore[no-any-return]


def found(*, planted: bool) -> Actions:
    torch.manual_seed(0)
    network = Residual().double()
    if planted:
        with torch.no_grad():
            kernel = network.first.weight
            kernel[1 : 2 * PAIRS : 2] = kernel[0 : 2 * PAIRS : 2].flip(-1)
            network.first.bias[1 : 2 * PAIRS : 2] = network.first.bias[0 : 2 * PAIRS : 2]
    pictures = torch.randn(20, 3, 6, 6, dtype=torch.float64)
    return find_actions(convert(network, pictures[:2]), "mirror", (3, 6, 6), "invariant", decoys=1)


@pytest.fixture(scope="module")
def broken() -> Actions:
    return found(planted=True)


def test_the_first_layer_has_its_own_action(broken: Actions):
    own = {each.parameter: each for each in broken.streams}
    first = own["first.weight"]
    assert first.writes
    assert (first.matched, first.moved, first.size) == (2 * PAIRS, 2 * PAIRS, 8)
    assert first.chance < first.matched
    assert {name for name, each in own.items() if each.writes} == {"first.weight", "back.weight"}
    assert {"inner.weight", "last.weight"} <= set(own)


def test_it_is_said_in_text_in_data_and_on_the_page(broken: Actions):
    plain = json.loads(broken.to_json())["streams"]
    first = next(each for each in plain if each["parameter"] == "first.weight")
    assert first["matched"] == 2 * PAIRS
    page = actions_page(broken, (3, 6, 6), "net")
    assert first["all_matched"] == 0  # what is added later breaks it
    assert "first.weight writes first: 6 of 8 matched by its own action" in str(broken)
    assert "first.weight writes first: 6 of 8 matched by its own action" in page


def test_a_random_network_has_none():
    seen = found(planted=False)
    assert not seen.hidden_by_streams
    assert "own action" not in str(seen)


class Normed(nn.Module):
    """The same with batch norms, which take the scales of kernels back: their rows follow with power 0."""

    def __init__(self) -> None:
        super().__init__()
        kind = {"padding": 1, "bias": False}
        self.first = nn.Conv2d(3, 8, 3, **kind)  # type: ignore[arg-type]
        self.inner, self.back = nn.Conv2d(8, 6, 3, **kind), nn.Conv2d(6, 8, 3, **kind)  # type: ignore[arg-type]
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in (8, 6, 8))
        self.last = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        one, two, three = self.norms
        x = one(self.first(x)).relu()
        return self.last((x + three(self.back(two(self.inner(x)).relu()))).relu().mean((2, 3)))  # type: ignore[no-any-return]


def test_a_first_layer_in_front_of_a_batch_norm() -> None:
    torch.manual_seed(0)
    network = Normed().double().eval()
    with torch.no_grad():
        kernel = network.first.weight
        kernel[1 : 2 * PAIRS : 2] = kernel[0 : 2 * PAIRS : 2].flip(-1)
    pictures = torch.randn(20, 3, 6, 6, dtype=torch.float64)
    broken = find_actions(convert(network, pictures[:2]), "mirror", (3, 6, 6), "invariant", decoys=1)
    own = {each.parameter: each for each in broken.streams}
    assert {name for name, each in own.items() if each.writes} == {"first.weight", "back.weight"}
    assert {name for name, each in own.items() if not each.writes} == {"inner.weight", "last.weight"}
    assert (own["first.weight"].matched, own["first.weight"].moved) == (2 * PAIRS, 2 * PAIRS)
    assert [each.parameter for each in broken.hidden_by_streams] == ["first.weight"]
