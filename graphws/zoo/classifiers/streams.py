"""What is random in a zoo of classifiers: each network has streams of its own, keyed by (seed, network, purpose).

So what a network starts from, which classes it tells apart and in which order it sees pictures never depends on which
others are trained, in which order, on how many processes or on which device.
"""

from __future__ import annotations

from itertools import combinations
from typing import Literal, get_args

import numpy as np

from graphws.errors import ZooError, nearest

Pairs = Literal["none", "random", "all"]
"""Which classes networks tell apart: all at once, two that are drawn, or every two of them in turn."""

_MASK = (1 << 64) - 1
_START, _PAIR, _ORDER = 0, 1, 2  # purposes; an order has its epoch added


def _generator(seed: int, network: int, purpose: int) -> np.random.Generator:
    key = np.array([seed & _MASK, (network << 24 | purpose) & _MASK], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def start(seed: int, network: int, numbers: int) -> np.ndarray:
    """Uniform numbers in [-1, 1) that a network starts from, (numbers,) float64."""
    return 2 * _generator(seed, network, _START).random(numbers) - 1


def pairs_of(pairs: Pairs, seed: int, networks: int, classes: int) -> np.ndarray | None:
    """The two classes of each network, smaller first, (networks, 2); None where all classes are told apart.

    >>> pairs_of("all", 0, 4, 3).tolist()
    [[0, 1], [0, 2], [1, 2], [0, 1]]

    Raises:
        ZooError: On an unknown word.
    """
    if pairs not in get_args(Pairs):
        raise ZooError(f"pairs must be none, random or all, got {pairs!r}" + nearest(str(pairs), get_args(Pairs)))
    if pairs == "none":
        return None
    every = np.array(list(combinations(range(classes), 2)), dtype=np.int64)
    if pairs == "all":
        return every[np.arange(networks) % len(every)]
    drawn = [int(_generator(seed, network, _PAIR).integers(len(every))) for network in range(networks)]
    return every[drawn]


class Order:
    """The pictures that a network sees, one after another: epoch after epoch, each in an order of its own.

    Args:
        members: The pictures that it may see, (count,).
        seed: The zoo's.
        network: Its number.
    """

    def __init__(self, members: np.ndarray, seed: int, network: int) -> None:
        self._members, self._seed, self._network = members, seed, network
        self._epoch, self._shuffled = -1, members

    def take(self, begin: int, count: int) -> np.ndarray:
        """The pictures from place `begin` of that sequence on, (count,)."""
        found: list[np.ndarray] = []
        while count:
            epoch, place = divmod(begin, len(self._members))
            if epoch != self._epoch:
                generator = _generator(self._seed, self._network, _ORDER + epoch)
                self._epoch, self._shuffled = epoch, generator.permutation(self._members)
            part = self._shuffled[place : place + count]
            found.append(part)
            begin, count = begin + len(part), count - len(part)
        return np.concatenate(found)
