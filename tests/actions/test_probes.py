"""What probes can show: errors are measured by how far the group moves them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from graphws.actions import find_actions
from graphws.actions.groups.naming import named_symmetry
from graphws.actions.measures.probes import shares_of_reach
from graphws.converting import convert
from tests.actions.planting import rng

SHAPE = (1, 6, 8)


def nearly_symmetric(noise: float, points: int = 200) -> Tensor:
    """Pictures that are their own mirror images but for some noise."""
    half = torch.randn(points, 6, 8, generator=rng(), dtype=torch.float64)
    rest = torch.randn(points, 6, 8, generator=rng(1), dtype=torch.float64)
    return ((half + half.flip(-1)) / 2**0.5 + noise * rest).flatten(1)


def random_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(48, 36), nn.ReLU(), nn.Linear(36, 4)).double()


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.4])
def test_a_random_network_has_no_action_on_probes_that_hardly_move(noise: float) -> None:
    probes, net = nearly_symmetric(noise), random_network()
    found = find_actions(convert(net, probes[:2]), "mirror", SHAPE, "invariant", data=probes)
    assert found.verdict.outcome == "no action found"
    assert found.note.startswith("The group moves the probes by ")


def test_an_action_is_found_on_them_where_there_is_one() -> None:
    probes, net = nearly_symmetric(0.2), random_network()
    mirror = torch.arange(48).reshape(6, 8).flip(-1).flatten()
    first = net[0]  # type: ignore[index]
    with torch.no_grad():
        first.weight.copy_((first.weight + first.weight[:, mirror]) / 2)
    found = find_actions(convert(net, probes[:2]), "mirror", SHAPE, "invariant", data=probes)
    assert found.verdict.outcome == "exact action"
    assert found.verdict.text.endswith("It is the trivial one: it moves no neuron.")


def test_an_action_that_moves_neurons_is_not_called_trivial() -> None:
    net = random_network()
    mirror = torch.arange(48).reshape(6, 8).flip(-1).flatten()
    pairs = torch.arange(36).roll(18)
    first, last = net[0], net[2]  # type: ignore[index]
    with torch.no_grad():
        first.weight.copy_((first.weight + first.weight[pairs][:, mirror]) / 2)
        first.bias.copy_((first.bias + first.bias[pairs]) / 2)
        last.weight.copy_((last.weight + last.weight[:, pairs]) / 2)
    probes = torch.randn(100, 48, generator=rng(), dtype=torch.float64)
    found = find_actions(convert(net, probes[:2]), "mirror", SHAPE, "invariant", data=probes)
    assert found.verdict.outcome == "exact action"
    assert "trivial" not in found.verdict.text


def test_how_far_probes_move() -> None:
    mirror = named_symmetry("mirror", SHAPE, "invariant", outputs=4)
    assert shares_of_reach(mirror, torch.randn(500, 48, generator=rng(), dtype=torch.float64))[1] > 0.9
    assert shares_of_reach(mirror, nearly_symmetric(0.2))[1] == pytest.approx(0.2, abs=0.02)
    assert shares_of_reach(mirror, nearly_symmetric(0.2))[0] == 1.0  # the identity
