"""Networks whose first layer has a frequency of its own, beyond their fit: group, gauge, drawing, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from graphws.operations import canonical_gauge, forward
from graphws.zoo import Architecture, FitOptions, Zoo, fit_zoo, load_digits, pack, unpack
from graphws.zoo.reconstruction import reconstruct

ARCHITECTURE = Architecture((2, 6, 5, 4, 1), omega=(9.0, 4.0))
DIGITS = load_digits(limit=20)


def fitted(path: Path) -> Zoo:
    zoo = fit_zoo(path, DIGITS, ARCHITECTURE, FitOptions(steps=30, lr=1e-2, psnr=None), dtype=torch.float64)
    assert zoo is not None
    return zoo


def test_their_group_and_gauge_are_those_of_their_function(tmp_path: Path) -> None:
    zoo = fitted(tmp_path / "zoo")
    weights, points = zoo.weights(range(20)), DIGITS.coordinates
    outputs = forward(zoo.graph, weights, points)
    moved = zoo.graph.group().random(torch.Generator().manual_seed(0), 20, "rich").act(weights)
    for other in (moved, canonical_gauge(weights)):
        assert (other.flatten() - weights.flatten()).abs().max() > 0.01
        assert torch.allclose(forward(zoo.graph, other, points), outputs, atol=1e-12)
    assert torch.allclose(reconstruct(weights, (8, 8)).flatten(1, 2), outputs, atol=1e-12)
    losses = (outputs - DIGITS.targets(np.arange(20), torch.float64)).square().mean(dim=(1, 2))
    assert np.allclose(losses.numpy(), zoo.table["loss"], rtol=1e-10)


def test_they_come_back_from_state_dicts_with_a_frequency_a_layer(tmp_path: Path) -> None:
    zoo = fitted(tmp_path / "zoo")
    unpack(zoo, tmp_path / "out")
    back = pack(tmp_path / "out", tmp_path / "back", activation="sine", omega=[9.0, 4.0, 4.0])
    assert back.graph == zoo.graph
    assert torch.equal(back.weights(range(20)).flatten(), zoo.weights(range(20)).flatten())
