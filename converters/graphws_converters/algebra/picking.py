"""Picking: some elements of a dim in a given sequence, each once or several times.

Which elements are taken is known to the network, so an atom falls apart into those that are taken once, those that are
taken twice, and so on, and those that are left; inside each nothing is told apart.  Taking all of them once, in
whatever sequence, tells nothing apart at all.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from graphws_converters.algebra import orders
from graphws_converters.algebra.dims import Dim, Parts, Reordered, normal, order_of, product, reordered, total

Groups = Sequence[Sequence[int]]


def pick(dim: Dim, order: Sequence[int]) -> Dim:
    """The elements at the given places, in this sequence.

    Law: element k of the result is element order[k]; of an element that is taken m times, the copies are counted by a
    factor m.
    """
    if len(order) == dim.size and len(set(order)) == dim.size:
        return reordered(dim, order)
    counts = Counter(order)
    times = sorted({counts[k] for k in range(dim.size)})
    groups = [[k for k in range(dim.size) if counts[k] == n] for n in times]
    pieces, starts, at = [], {}, 0
    for n, group, part in zip(times, groups, partition(dim, groups), strict=True):
        if n:
            pieces.append(product([part, Dim(n)]))
            for rank, k in enumerate(group):
                starts[k] = at + rank * n
            at += len(group) * n
    seen: Counter[int] = Counter()
    places = []
    for k in order:
        places.append(starts[k] + seen[k])
        seen[k] += 1
    return reordered(total(pieces), places) if pieces else Dim(0)


def partition(dim: Dim, groups: Groups) -> list[Dim]:
    """For each group, ascending and all of them every element once, the dim that runs over it; the dim is refined."""
    if sum(1 for group in groups if group) <= 1:
        return [dim if group else Dim(0) for group in groups]
    shape, items = normal(dim)
    if shape == "atom":
        atom = items[0]
        parts = [Dim(len(group), atom.reason, atom.label) for group in groups]
        order = orders.inverse([k for group in groups for k in group])
        atom.body = Reordered(Dim(atom.size, body=Parts("sum", tuple(part for part in parts if part.size))), order)
        return parts
    if shape == "reordered":
        base, order = order_of(dim)
        moved = [[order[k] for k in group] for group in groups]
        return [
            reordered(part, orders.ranks(places)) if places else part
            for part, places in zip(partition(base, [sorted(places) for places in moved]), moved, strict=True)
        ]
    if shape == "sum":
        return _of_sum(items, groups)
    return _of_product(items, groups)


def _of_sum(items: Sequence[Dim], groups: Groups) -> list[Dim]:
    found: list[list[Dim]] = [[] for _ in groups]
    start = 0
    for item in items:
        here = [[k - start for k in group if start <= k < start + item.size] for group in groups]
        for row, part in zip(found, partition(item, here), strict=True):
            row.append(part)
        start += item.size
    return [total(row) for row in found]


def _of_product(items: Sequence[Dim], groups: Groups) -> list[Dim]:
    """Rows of the slowest factor that are cut alike form a class; each class cuts the other factors in its own way."""
    slow, rest = items[0], product(items[1:])
    owner = [0] * (slow.size * rest.size)
    for number, group in enumerate(groups):
        for k in group:
            owner[k] = number
    classes: dict[tuple[int, ...], list[int]] = {}
    for row in range(slow.size):
        classes.setdefault(tuple(owner[row * rest.size : (row + 1) * rest.size]), []).append(row)
    found: list[list[Dim]] = [[] for _ in groups]
    places: list[list[int]] = [[] for _ in groups]
    for (pattern, rows), part in zip(classes.items(), partition(slow, list(classes.values())), strict=True):
        inner = [[k for k, number in enumerate(pattern) if number == n] for n in range(len(groups))]
        for n, piece in enumerate(partition(rest, inner)):
            if inner[n]:
                found[n].append(product([part, piece]))
                places[n] += [row * rest.size + k for row, k in itertools.product(rows, inner[n])]
    return [
        reordered(total(row), orders.inverse(orders.ranks(at))) if row else Dim(0)
        for row, at in zip(found, places, strict=True)
    ]
