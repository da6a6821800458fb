"""Splitting samples into train, validation and test.

The split is by sample, never by network: all views of a sample share it, or a model would be tested on pictures that it
has seen as other networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from graphws.errors import ZooError
from graphws.shown import Shown


class Divisible(Protocol):
    """What is split: the samples of a source, or numbered trainings."""

    def __len__(self) -> int: ...

    @property
    def table(self) -> Mapping[str, np.ndarray]:
        """What is known of each."""

    @property
    def test(self) -> np.ndarray | None:
        """Which are the source's own test set; None where it has none."""

    @property
    def places(self) -> np.ndarray:
        """The number of each in its source's own order."""


@dataclass(frozen=True)
class Numbered:
    """So many of which nothing is known but their numbers (a `Divisible`)."""

    count: int
    table: Mapping[str, np.ndarray] = field(default_factory=dict)
    test: np.ndarray | None = None

    def __len__(self) -> int:
        return self.count

    @property
    def places(self) -> np.ndarray:
        """0, 1, …."""
        return np.arange(self.count)


class Split(Protocol):
    """A way to split samples."""

    def of(self, samples: Divisible) -> np.ndarray:
        """``train``, ``validation`` or ``test`` for each sample."""

    def settings(self, split: np.ndarray) -> dict[str, Any]:
        """What the split depends on, for provenance."""


@dataclass(frozen=True, repr=False)
class SplitOptions(Shown):
    """Shares of the samples.

    Args:
        validation: Share of the validation split.
        test: Share of the test split; a source with its own test set keeps that instead.
        seed: Decides who goes where.

    Raises:
        ZooError: On shares that are negative or leave nothing to train on.
    """

    validation: float = 0.1
    test: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            share = getattr(self, name)
            if not (math.isfinite(share) and 0 <= share < 1):
                raise ZooError(f"split: {name} must be a share from 0 to below 1, got {share!r}")
        if self.validation + self.test >= 1:
            raise ZooError(
                f"split: validation {self.validation:g} and test {self.test:g} leave nothing to train on; "
                "their sum must be below 1"
            )

    def of(self, samples: Divisible) -> np.ndarray:
        """By `split_samples`, in shares of each class."""
        return split_samples(len(samples), self, labels=samples.table.get("label"), test=samples.test)

    def settings(self, split: np.ndarray) -> dict[str, Any]:
        """For provenance."""
        return asdict(self)


def split_samples(
    count: int, options: SplitOptions, *, labels: np.ndarray | None = None, test: np.ndarray | None = None
) -> np.ndarray:
    """The split of each sample, as an array of ``train``, ``validation`` and ``test``.

    Args:
        count: Number of samples.
        options: Shares and seed.
        labels: Whole numbers: each class is split in the same shares (to within one sample in all).  Anything else,
            and columns with more than half as many values as samples, are split as one class.
        test: The source's own test set, (count,) bool; it stays, and validation is a share of the rest.

    Raises:
        ZooError: Where a split with a positive share would stay empty.
    """
    rng = np.random.default_rng(options.seed)
    split = np.full(count, "train", dtype=object)
    shares = [("validation", options.validation), ("test", options.test)]
    free = np.arange(count)
    if test is not None:
        split[test] = "test"
        free = np.flatnonzero(~test)
        if not len(free):
            raise ZooError(f"split: all {count} samples are the source's own test set; name its training set as well")
        shares = shares[:1]
    groups = np.zeros(len(free), dtype=np.int64)
    if labels is not None and labels.dtype.kind in "iu":
        classes, numbers = np.unique(labels[free], return_inverse=True)
        if len(classes) <= max(1, len(free) // 2):
            groups = numbers
    # Shuffled, then sorted by class, then dealt: any run of the order holds classes in their shares.
    order = rng.permutation(len(free))
    rank = np.empty(len(free))
    for group in np.unique(groups):
        members = order[groups[order] == group]
        rank[members] = (np.arange(len(members)) + rng.random()) / len(members)
    dealt = free[np.argsort(rank, kind="stable")]
    start = 0
    for name, share in shares:
        size = round(share * len(free))
        if share > 0 and size == 0:
            raise ZooError(
                f"split: {name}, {share:g} of {len(free)} samples, is empty; take more samples, or a share of 0"
            )
        split[dealt[start : start + size]] = name
        start += size
    if start >= len(free):
        raise ZooError(f"split: nothing of {len(free)} samples is left to train on")
    return split
