"""What a network sees of pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graphws.errors import DataError
from graphws.spec import DigitsSource, IdxSource
from graphws.trainings import Design, Pictures, design_of, load_pictures_of
from graphws.zoo import load_digits, load_sine
from graphws.zoo.sources.labelled_pictures import pictures_from
from tests.trainings.cases import experiment, pictures

TURNS = {
    "mirror": [lambda x: x, lambda x: x.flip(-1)],
    "rotations": [lambda x, k=k: x.rot90(k, (-2, -1)) for k in range(4)],
    "dihedral": [lambda x, k=k, m=m: (x.flip(-1) if m else x).rot90(k, (-2, -1)) for k in range(4) for m in (0, 1)],
}


def design(side: int = 6, crop: float = 0.667, **options) -> Design:
    section = experiment(crop=crop, **options)
    return design_of(section, pictures(channels=3, side=side))


@pytest.mark.parametrize("group", ["mirror", "flip", "transpose", "rotations", "dihedral"])
@pytest.mark.parametrize(("side", "crop"), [(6, 0.667), (7, 0.72), (32, 0.875), (4, 1.0)])
def test_the_middle_of_a_moved_picture_is_the_moved_middle(group: str, side: int, crop: float) -> None:
    found = design(side, crop, group=group)
    x = torch.randint(256, (5, 3, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    turned = {"flip": lambda x: x.flip(-2), "transpose": lambda x: x.mT}.get(group, TURNS.get(group, [None] * 2)[1])
    element = next(
        g for g in range(1, found.symmetry.order) if torch.equal(found.move(x[..., :4, :4], g), turned(x[..., :4, :4]))
    )
    torch.testing.assert_close(found.crop.central(turned(x)), found.move(found.crop.central(x), element))


def test_the_middle_is_a_mean_of_what_each_pixel_covers() -> None:
    found = design(10, 0.8)
    x = pictures(channels=3, side=10).pixels[:4]
    wanted = (x[..., 1:9, 1:9].double() / 255).unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    crop = found.crop
    torch.testing.assert_close((crop.central(x) * crop.deviation + crop.mean).double(), wanted, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(crop.shown(crop.central(x)).double(), wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("group", ["mirror", "dihedral"])
def test_training_crops_are_all_moved_crops_and_equally_often(group: str) -> None:
    found = design(6, 0.667, group=group, jitter=0.0)
    picture = torch.randint(256, (1, 3, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    crop, elements = found.crop, range(found.symmetry.order)
    crops = [picture[..., r : r + 4, c : c + 4].float() / 255 for r in range(3) for c in range(3)]
    allowed = torch.cat([found.move((x - crop.mean) / crop.deviation, g) for x in crops for g in elements])
    count = 200 * len(allowed)
    drawn = crop.random(picture.expand(count, -1, -1, -1), torch.Generator().manual_seed(0))
    distance = torch.cdist(drawn.flatten(1).double(), allowed.flatten(1).double())
    assert float(distance.amin(1).max()) < 1e-4
    often = torch.bincount(distance.argmin(1), minlength=len(allowed))
    assert 120 < int(often.min()) <= int(often.max()) < 300


def test_light_and_colours_vary_within_their_bounds() -> None:
    flat = Pictures(
        torch.full((8, 3, 4, 4), 100, dtype=torch.uint8) + torch.arange(4, dtype=torch.uint8),
        torch.zeros(8, dtype=torch.long),
        torch.arange(8) < 2,
        1,
    )
    found = design_of(experiment(crop=1.0, jitter=0.2), flat)
    crops = found.crop.random(flat.pixels[:1].expand(4000, -1, -1, -1), torch.Generator().manual_seed(0))
    light = found.crop.shown(crops).mean((2, 3)) * 255 / 101.5
    assert 0.8 * 0.9 - 0.01 < float(light.min()) < 0.8
    assert 1.2 < float(light.max()) < 1.2 * 1.1 + 0.01
    ratio = light[:, 0] / light[:, 1]
    assert float(ratio.std()) > 0.03
    assert float(ratio.min()) > 0.9 / 1.1 - 0.01


def test_statistics_are_of_all_pixels_for_training_whatever_their_order() -> None:
    data = pictures(channels=3, count=9000, side=4)
    order = data.pixels.float().mean((1, 2, 3)).argsort()
    for index in (torch.arange(9000), order):
        given = Pictures(data.pixels[index], data.labels[index], data.test[index], 3)
        values = given.part(False)[0].double() / 255
        assert given.statistics() == pytest.approx((float(values.mean()), float(values.std(correction=0))), rel=1e-6)


def test_parts_are_spread_evenly() -> None:
    data = pictures()
    pixels, labels = data.part(True, 10)
    every, _ = data.part(True)
    assert len(pixels) == len(labels) == 10
    assert torch.equal(pixels[[0, -1]], every[[0, -1]])
    assert len(data.part(False)[0]) + len(every) == 120


def test_digits_keep_a_part_of_every_class_for_tests() -> None:
    data = load_pictures_of(experiment(source=DigitsSource(kind="digits"), test=0.25))
    assert data.pixels.shape == (1797, 1, 8, 8)
    assert data.classes == 10
    assert float(data.test.double().mean()) == pytest.approx(0.25, abs=0.002)
    shares = [float(data.test[data.labels == k].double().mean()) for k in range(10)]
    assert max(shares) - min(shares) < 0.02
    assert len(data.digest) == 64


def test_pixels_are_where_the_source_has_them() -> None:
    samples = load_digits(limit=50)
    found = pictures_from(samples, 0.2)
    np.testing.assert_array_equal(found.pixels[7, 0].numpy(), samples.values[7, :, 0].reshape(8, 8).numpy())


def test_what_is_no_picture_data_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        pictures_from(load_sine(count=5, points=9), 0.2)
    assert str(caught.value) == "source 'sine' gives 9 signals; square pictures by class are needed"
    data = pictures()
    for change, text in (
        ({"pixels": data.pixels[..., :5]}, "pictures must be square: (points, channels, rows, columns), got shape "
                                           "(120, 1, 6, 5)"),
        ({"labels": data.labels[:7]}, "120 pictures, 7 labels and 120 marks do not agree"),
        ({"test": data.test | True}, "pictures for training and for tests are needed; one of the two parts is "
                                     "empty"),
        ({"classes": 2}, "labels run from 0 to 2, not below the 2 classes"),
    ):  # fmt: skip
        with pytest.raises(DataError) as caught:
            Pictures(**{"pixels": data.pixels, "labels": data.labels, "test": data.test, "classes": 3, **change})
        assert str(caught.value) == text


def test_pictures_smaller_than_the_grid_are_refused() -> None:
    section = experiment(size=6, crop=0.667)
    with pytest.raises(DataError) as caught:
        design_of(section, pictures()).crop.central(pictures().pixels)
    assert str(caught.value) == (
        "the pictures have 6 pixels along a side, a crop of 0.667 of them 4: "
        "fewer than the 6 of experiment.pictures.size"
    )


def test_files_that_are_missing_are_named() -> None:
    names = {f"{part}_{what}": f"no-{part}-{what}" for part in ("train", "test") for what in ("images", "labels")}
    with pytest.raises(DataError, match="no-train-images: cannot be read"):
        load_pictures_of(experiment(source=IdxSource(kind="idx", **names)))
