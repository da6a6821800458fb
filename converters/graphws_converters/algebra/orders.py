"""Orders: the elements of an axis in another sequence, as positions: element k of the result is element order[k].

Nothing here knows of dims; they say what of an order is a mere rearrangement of the parts of a sum or of a product.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

Order = tuple[int, ...]


def is_identity(order: Sequence[int]) -> bool:
    """Whether nothing changes its place."""
    return all(k == place for k, place in enumerate(order))


def composed(first: Sequence[int], then: Sequence[int]) -> Order:
    """One order after another: element k is element first[then[k]]."""
    return tuple(first[k] for k in then)


def inverse(order: Sequence[int]) -> Order:
    """The order that undoes a permutation."""
    found = [0] * len(order)
    for k, place in enumerate(order):
        found[place] = k
    return tuple(found)


def ranks(numbers: Sequence[int]) -> Order:
    """The place of each number among all of them, sorted."""
    return inverse(sorted(range(len(numbers)), key=numbers.__getitem__))


def run_of(order: Sequence[int]) -> tuple[int, int] | None:
    """Start and stop, where an order only takes consecutive elements as they stand."""
    if not order:
        return None
    start = order[0]
    return (start, start + len(order)) if all(k + start == place for k, place in enumerate(order)) else None


def blockwise(order: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, Order]] | None:
    """Parts that stand side by side, in another sequence: which, and the order inside; None where they are mixed."""
    ends = list(itertools.accumulate(sizes))
    found: list[tuple[int, Order]] = []
    at = 0
    while at < len(order):
        part = next(k for k, end in enumerate(ends) if order[at] < end)
        start = ends[part] - sizes[part]
        inside = tuple(place - start for place in order[at : at + sizes[part]])
        if len(inside) != sizes[part] or min(inside) < 0 or max(inside) >= sizes[part]:
            return None
        found.append((part, inside))
        at += sizes[part]
    return found


def factorwise(order: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, Order]] | None:
    """The factors of a row-major product (sizes above 1) in another sequence, each in an order of its own.

    None where the order is no such thing.
    """
    strides = [math.prod(sizes[k + 1 :]) for k in range(len(sizes))]
    left, step = set(range(len(sizes))), 1
    found: list[tuple[int, Order]] = []
    while left:
        changed = [k for k in left if order[0] // strides[k] % sizes[k] != order[step] // strides[k] % sizes[k]]
        if len(changed) != 1:
            return None
        factor = changed[0]
        places = tuple(order[j * step] // strides[factor] % sizes[factor] for j in range(sizes[factor]))
        if sorted(places) != list(range(sizes[factor])):
            return None
        found.insert(0, (factor, places))
        left.remove(factor)
        step *= sizes[factor]
    expected = along([[place * strides[factor] for place in places] for factor, places in found])
    return found if list(expected) == list(order) else None


def along(factors: Iterable[Sequence[int]]) -> Order:
    """Sums of one number of each factor, row-major."""
    rows: list[int] = [0]
    for factor in factors:
        rows = [a + b for a in rows for b in factor]
    return tuple(rows)


def cycles(order: Sequence[int]) -> list[list[int]]:
    """The cycles of a permutation, those of one element too, by their first elements."""
    seen: set[int] = set()
    found = []
    for start in range(len(order)):
        cycle = []
        while start not in seen:
            seen.add(start)
            cycle.append(start)
            start = order[start]
        if cycle:
            found.append(cycle)
    return found
