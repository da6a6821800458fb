"""How many samples of a source are used: of its training part and of its test part, each counted on its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from graphws.errors import DataError
from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class Limit(Shown):
    """At most so many samples of each part; a part that has fewer stays whole.

    Args:
        train: Of the training part, which is everything where the source has no test part.
        test: Of the source's own test part.
        seed: Draws them at random, a smaller number from among those of a larger one; None takes the first.
    """

    train: int | None = None
    test: int | None = None
    seed: int | None = None


def kept(
    limit: int | Limit | None,
    source: str,
    count: int,
    test: np.ndarray | None = None,
    classes: np.ndarray | None = None,
) -> np.ndarray:
    """Which samples a limit keeps, in the source's order.

    The first are those of the source's order, or, where that order is by class, the first of every class, then the
    second of every class, and so on.

    Args:
        limit: A number counts for both parts.
        source: Name of the source, for messages.
        count: How many samples there are.
        test: Which are the source's own test part, (count,) bool; None where it has none.
        classes: Class of each sample, (count,) whole numbers, where the order is by class.

    Returns:
        np.ndarray: Ascending numbers of samples.

    Raises:
        DataError: On a limit below 1, and on one for a test part that there is not.
    """
    if limit is None:
        return np.arange(count)
    parts = limit if isinstance(limit, Limit) else Limit(limit, limit)
    for number in (parts.train, parts.test):
        if number is not None and number < 1:
            raise DataError(f"source {source!r}: limit must be at least 1, got {number}")
    if test is None:
        if isinstance(limit, Limit) and limit.test is not None:
            raise DataError(f"source {source!r} has no test part of its own; its limit is for the training part alone")
        test = np.zeros(count, dtype=bool)
    chosen = []
    for stream, (members, most) in enumerate(((~test, parts.train), (test, parts.test))):
        index = np.flatnonzero(members)
        if parts.seed is not None:
            index = np.random.default_rng([parts.seed, stream]).permutation(index)
        elif classes is not None:
            index = index[_in_turn(classes[index])]
        chosen.append(index[:most])
    return np.sort(np.concatenate(chosen))


def _in_turn(classes: np.ndarray) -> np.ndarray:
    """An order in which classes take turns."""
    rank = np.empty(len(classes), dtype=np.int64)
    for each in np.unique(classes):
        members = np.flatnonzero(classes == each)
        rank[members] = np.arange(len(members))
    return np.lexsort((classes, rank))
