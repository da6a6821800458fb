"""What a check yields."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from graphws.shown import Shown
from graphws.spec.tree import Path

Item = TypeVar("Item")


@dataclass(frozen=True, repr=False)
class Violation(Shown):
    """Something that is wrong at a path of the spec."""

    path: Path
    message: str


def duplicates(items: Iterable[Item]) -> list[tuple[int, Item]]:
    """Items that stand before already, with their positions.

    >>> duplicates([0, 1, 0])
    [(2, 0)]
    """
    seen: list[Item] = []
    found = []
    for position, item in enumerate(items):
        if item in seen:
            found.append((position, item))
        seen.append(item)
    return found
