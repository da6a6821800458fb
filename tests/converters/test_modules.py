"""Modules of many architectures: every conversion is put to the test on the module itself."""

from __future__ import annotations

import torch
from torch import nn

from graphws_converters.modules.conversion import convert_module


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_convolutional_network_is_verified_and_comes_back_bit_for_bit() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 36, 12),
        nn.ReLU(),
        nn.Linear(12, 5),
    )
    result = convert_module(module, torch.randn(2, 3, 8, 8), generator=_rng())
    assert result.verified, result.verdict
    assert [space.size for space in result.graph.spaces if space.moves] == [8, 12]
    assert str(result.graph.parameter("4.weight")) == "4.weight[4, 0*, pixels6*, pixels6*]"
    assert result.weights is not None
    state = result.weights.to_state_dict()
    assert all(torch.equal(state[key], value) for key, value in module.state_dict().items())
