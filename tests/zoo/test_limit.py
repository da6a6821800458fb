"""Limits: the first so many of each part, or a draw of them, for every source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from graphws.errors import DataError
from graphws.zoo import Limit, Samples, load_cifar10, load_digits, load_idx, load_pictures, load_sine
from graphws.zoo.sources.limit import kept
from tests.zoo.test_sources import cifar_folder, idx_bytes

TEST = np.arange(70) >= 60


@pytest.mark.parametrize(
    ("limit", "train", "test"),
    [
        (None, 60, 10),
        (20, 20, 10),
        (5, 5, 5),
        (100, 60, 10),
        (Limit(), 60, 10),
        (Limit(train=7), 7, 10),
        (Limit(test=3), 60, 3),
        (Limit(20, 3), 20, 3),
    ],
)
def test_parts_are_counted_apart_and_the_first_are_kept(limit: int | Limit | None, train: int, test: int) -> None:
    assert kept(limit, "mine", 70, TEST).tolist() == [*range(train), *range(60, 60 + test)]
    assert kept(train, "mine", 60).tolist() == list(range(train)), "without a test part everything counts"


def test_a_draw_depends_on_the_seed_and_holds_smaller_ones() -> None:
    few, more = kept(Limit(10, 4, seed=3), "mine", 70, TEST), kept(Limit(30, 6, seed=3), "mine", 70, TEST)
    assert (np.diff(few) > 0).all()
    assert set(few) < set(more)
    assert (int((few < 60).sum()), int((more >= 60).sum())) == (10, 6)
    assert not np.array_equal(few, kept(Limit(10, 4, seed=4), "mine", 70, TEST))
    assert not np.array_equal(few, kept(Limit(10, 4), "mine", 70, TEST))
    assert np.array_equal(few[few < 60], kept(Limit(10, seed=3), "mine", 60)), "parts are drawn apart"


def test_an_order_by_class_takes_classes_in_turn() -> None:
    classes = np.repeat([0, 1, 2], [5, 2, 4])
    assert kept(6, "mine", 11, classes=classes).tolist() == [0, 1, 5, 6, 7, 8]
    assert kept(9, "mine", 11, classes=classes).tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert kept(6, "mine", 11).tolist() == list(range(6)), "without classes the order decides"


def idx_files(folder: Path) -> dict[str, Path]:
    """60 training and 10 test pictures whose first pixel is their number, 100 more for tests."""
    files = {}
    for part, count, first in (("train", 60, 0), ("test", 10, 100)):
        pictures = np.zeros((count, 4, 4), np.uint8)
        pictures[:, 0, 0] = np.arange(count) + first
        for kind, array in (("images", pictures), ("labels", (np.arange(count) % 10).astype(np.uint8))):
            files[f"{part}_{kind}"] = folder / f"{part}-{kind}"
            files[f"{part}_{kind}"].write_bytes(idx_bytes(array))
    return files


def test_idx_files(tmp_path: Path) -> None:
    files = idx_files(tmp_path)
    samples = load_idx(**files, limit=20)  # type: ignore[arg-type]
    assert samples.values[:, 0, 0].tolist() == [*range(20), *range(100, 110)]
    assert samples.test is not None
    assert samples.test.tolist() == [False] * 20 + [True] * 10
    assert samples.places.tolist() == [*range(20), *range(60, 70)]
    assert len(load_idx(**files, limit=Limit(12, 3))) == 15  # type: ignore[arg-type]


def test_cifar10(tmp_path: Path) -> None:
    data = cifar_folder(tmp_path)
    samples = load_cifar10(path=tmp_path, limit=Limit(6, 3))
    assert samples.values[:, 0, 0].tolist() == data[[*range(6), *range(20, 23)], 0].tolist()


def test_digits_and_waves_have_no_test_part() -> None:
    assert load_digits(limit=25).table["label"].tolist() == load_digits().table["label"][:25].tolist()
    assert load_sine(count=9, points=5, limit=4).table["frequency"].tolist() == (
        load_sine(count=9, points=5).table["frequency"][:4].tolist()
    )
    with pytest.raises(DataError) as caught:
        load_digits(limit=Limit(10, 5))
    assert str(caught.value) == (
        "source 'digits' has no test part of its own; its limit is for the training part alone"
    )


def test_a_limit_is_at_least_1() -> None:
    for limit in (0, Limit(train=0), Limit(test=-1)):
        with pytest.raises(DataError, match=r"^source 'mine': limit must be at least 1, got "):
            kept(limit, "mine", 70, TEST)


def picture_classes(folder: Path, parts: tuple[str, ...]) -> Path:
    for part in parts:
        for number, name in enumerate(("cat", "dog", "emu")):
            (folder / part / name).mkdir(parents=True)
            for k in range(4):
                Image.new("L", (2, 2), 20 * number + k + 100 * (part == "test")).save(folder / part / name / f"{k}.png")
    return folder


@pytest.mark.parametrize("own_test", [False, True])
def test_class_folders_hold_all_classes_alike(tmp_path: Path, own_test: bool) -> None:
    folder = picture_classes(tmp_path / "in", ("train", "test") if own_test else ("",))
    options: list[tuple[Any, int, int]] = [(3, 3, 3), (6, 6, 6), (Limit(train=9), 9, 12)]
    for limit, train, test in options:
        samples = load_pictures(path=folder, limit=limit)
        marks = samples.test if samples.test is not None else np.zeros(len(samples), dtype=bool)
        assert np.bincount(samples.table["label"][~marks]).tolist() == [train // 3] * 3
        assert samples.places.tolist() == sorted(samples.places.tolist())
        assert (int(marks.sum()), samples.test is None) == (test if own_test else 0, not own_test)
        whole = load_pictures(path=folder)
        assert torch.equal(samples.values, whole.values[torch.from_numpy(samples.places)])
    drawn = load_pictures(path=folder, limit=Limit(train=5, seed=0))
    assert len(drawn) == 5 + 12 * own_test


def test_a_limit_of_a_limit_still_knows_the_places() -> None:
    samples = load_digits(limit=Limit(train=40, seed=1))
    again = samples.limited(Limit(train=10, seed=2))
    assert isinstance(again, Samples)
    assert torch.equal(again.values, load_digits().values[torch.from_numpy(again.places)])
