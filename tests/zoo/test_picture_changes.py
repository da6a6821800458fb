"""Random changes of pictures."""

from __future__ import annotations

import math

import pytest
import torch

from graphws.zoo.picture_changes import Corruption, jittered, turned


def pictures(count: int = 5, channels: int = 3, side: int = 6) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_quarter_turn_is_exact_and_counterclockwise() -> None:
    x = pictures()
    angles = torch.tensor([0.0, 90, 180, 270, 360], dtype=torch.float64) * (math.pi / 180)
    wanted = torch.stack([torch.rot90(picture, k, (1, 2)) for k, picture in enumerate(x)])
    torch.testing.assert_close(turned(x, angles), wanted)
    assert (turned(x, -angles) - wanted).abs().max() > 0.1  # the other way round


def test_nothing_is_changed_where_nothing_is_asked_for() -> None:
    x = pictures()
    torch.testing.assert_close(Corruption()(x, rng()), x)


def test_a_flip_exchanges_left_and_right_in_half_of_the_pictures() -> None:
    x = pictures(400)
    found = Corruption(flip=True)(x, rng())
    same, flipped = (torch.isclose(found, other).flatten(1).all(1) for other in (x, x.flip(-1)))
    assert (same ^ flipped).all()
    assert 150 < int(flipped.sum()) < 250


def test_noise_has_its_deviation_and_pictures_stay_in_range() -> None:
    x = torch.full((50, 1, 20, 20), 0.5)
    found = Corruption(noise=0.1)(x, rng())
    assert float(found.std()) == pytest.approx(0.1, rel=0.05)
    assert 0 <= float(Corruption(noise=3.0)(x, rng()).min()) <= float(Corruption(noise=3.0)(x, rng()).max()) <= 1


def test_jitter_is_affine_in_every_channel() -> None:
    x = pictures()
    found = jittered(x, 0.4, rng())
    for before, after in zip(x.flatten(0, 1).flatten(1), found.flatten(0, 1).flatten(1), strict=True):
        design = torch.stack([before, torch.ones_like(before)], dim=1)
        fit = torch.linalg.lstsq(design, after[:, None]).solution
        torch.testing.assert_close(design @ fit, after[:, None])
        assert 0.2 < float(fit[0]) < 1.4**2 * 1.2
    torch.testing.assert_close(jittered(x, 0.0, rng()), x)


def test_the_generator_decides() -> None:
    change, x = Corruption(20, True, 0.3, 0.1), pictures().float()
    assert torch.equal(change(x, rng()), change(x, rng()))
    assert not torch.equal(change(x, rng()), change(x, rng(1)))
