from __future__ import annotations

import numpy as np
import pytest

from graphws.errors import ZooError
from graphws.zoo import SplitOptions, load_digits, split_samples


def counts(split: np.ndarray) -> dict[str, int]:
    return {name: int((split == name).sum()) for name in ("train", "validation", "test")}


def test_shares_are_kept_in_every_class() -> None:
    labels = load_digits().table["label"]
    split = split_samples(1797, SplitOptions(validation=0.1, test=0.2, seed=3), labels=labels)
    assert counts(split) == {"train": 1258, "validation": 180, "test": 359}
    for digit in range(10):
        here = split[labels == digit]
        assert abs((here == "test").mean() - 0.2) < 0.01
        assert abs((here == "validation").mean() - 0.1) < 0.01


def test_the_seed_decides() -> None:
    one, same, other = (split_samples(100, SplitOptions(seed=seed)) for seed in (0, 0, 1))
    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()


def test_the_order_of_samples_does_not_decide() -> None:
    split = split_samples(1000, SplitOptions(validation=0, test=0.5))
    assert abs((split[:500] == "test").mean() - 0.5) < 0.1


def test_a_source_keeps_its_test_set() -> None:
    test = np.arange(100) >= 80
    split = split_samples(100, SplitOptions(validation=0.25, test=0.5), test=test)
    assert counts(split) == {"train": 60, "validation": 20, "test": 20}
    assert (split[test] == "test").all()


def test_targets_that_are_no_classes_do_not_stratify() -> None:
    labels = np.arange(50)
    assert counts(split_samples(50, SplitOptions(), labels=labels)) == {"train": 35, "validation": 5, "test": 10}
    assert counts(split_samples(50, SplitOptions(), labels=labels / 7)) == {"train": 35, "validation": 5, "test": 10}


def test_wrong_requests() -> None:
    for shares, message in (
        ({"validation": -0.1}, "split: validation must be a share from 0 to below 1, got -0.1"),
        ({"test": 1}, "split: test must be a share from 0 to below 1, got 1"),
        (
            {"validation": 0.5, "test": 0.5},
            "split: validation 0.5 and test 0.5 leave nothing to train on; their sum must be below 1",
        ),
    ):
        with pytest.raises(ZooError) as caught:
            SplitOptions(**shares)  # type: ignore[arg-type]
        assert str(caught.value) == message
    with pytest.raises(ZooError) as caught:
        split_samples(3, SplitOptions())
    assert str(caught.value) == "split: validation, 0.1 of 3 samples, is empty; take more samples, or a share of 0"
    with pytest.raises(ZooError) as caught:
        split_samples(3, SplitOptions(), test=np.ones(3, dtype=bool))
    assert str(caught.value) == ("split: all 3 samples are the source's own test set; name its training set as well")
    with pytest.raises(ZooError) as caught:
        split_samples(2, SplitOptions(validation=0, test=0.9))
    assert str(caught.value) == "split: nothing of 2 samples is left to train on"
