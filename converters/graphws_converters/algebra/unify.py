"""Unification: two axes that meet in an operation run over the same index set.

`unify` refines atoms until both sides have the same structure.  Where that is impossible (a sum against a product that
does not divide it, 6 = 2·3 against 6 = 3·2) both sides become free.  An order that stands before a dim is carried over:
an atom that meets ``h[:, p]`` becomes h in the order p.  Laws, which tests draw at random: afterwards both
dims have the same leaves, or all leaves of both are free; sizes never change; an atom never becomes unfree.  So a clash
costs part of the group and never soundness.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from graphws_converters.algebra import orders
from graphws_converters.algebra.dims import (
    Dim,
    Parts,
    Reordered,
    factors,
    free,
    leaves,
    normal,
    order_of,
    product,
    reordered,
    settled,
    terms,
    total,
)
from graphws_converters.algebra.picking import partition, pick


def unify(a: Dim, b: Dim, why: str) -> Dim:
    """Makes two dims of one size the same.

    Args:
        a: A dim.
        b: Another of the same size.
        why: What made them meet; part of the reason where they clash.

    Returns:
        Dim: Either of the two: they are the same now.
    """
    a, b = settled(a), settled(b)
    assert a.size == b.size, (a.size, b.size, why)
    if a is b or a.size <= 1:
        return a
    (shape, left), (other, right) = normal(a), normal(b)
    if other == "atom" and shape != "atom":
        a, b, shape, other, left, right = b, a, other, shape, right, left
    if shape == "atom":
        return _bind(left[0], right[0] if other == "atom" else b, why)
    if "reordered" in (shape, other):
        matched = _match_reordered(a, b, why)
    elif shape == other == "product":
        matched = _match_products(left, right, why)
    elif shape == other == "sum":
        matched = _match_sums(left, right, why)
    else:
        matched = _match_mixed(*((left, right) if shape == "sum" else (right, left)), why)
    if not matched:
        reason = f"two structures clash: {a} and {b} in {why}"
        for dim in (a, b):
            free(dim, reason)
    return a


def _bind(atom: Dim, target: Dim, why: str) -> Dim:
    """Replaces an atom by what it was found to be."""
    target = settled(target)
    if atom is target:
        return target
    base, order = order_of(target)
    if base is atom:
        _tie(atom, order, why)
        return atom
    inside = leaves(target)
    if atom in inside:
        free(target, f"an axis would contain itself in {why}")
        return target
    if atom.free:
        free(target, atom.reason)
    for leaf in inside[:1]:
        leaf.label = leaf.label or atom.label
    atom.body = target
    return target


def _tie(atom: Dim, order: orders.Order, why: str) -> None:
    """An atom meets itself in another sequence: only whole cycles of equal length may change places."""
    lengths: dict[int, list[list[int]]] = {}
    for cycle in orders.cycles(order):
        lengths.setdefault(len(cycle), []).append(cycle)
    groups = [sorted(k for cycle in found for k in cycle) for found in lengths.values()]
    for part, group, (length, found) in zip(partition(atom, groups), groups, lengths.items(), strict=True):
        if length == 1:
            continue
        rank = {k: place for place, k in enumerate(group)}
        places = [rank[k] for cycle in found for k in cycle]
        inside = Dim(length, f"meets itself in another order in {why}")
        unify(part, reordered(product([Dim(len(found)), inside]), orders.inverse(places)), why)


def _match_reordered(a: Dim, b: Dim, why: str) -> bool:
    """Two dims of which one reads its elements in another sequence, or both do."""
    (x, first), (y, second) = order_of(a), order_of(b)
    order = orders.composed(first, orders.inverse(second))  # element k of y is element order[k] of x
    if orders.is_identity(order):
        unify(x, y, why)
        return True
    (shape, _), (other, right) = normal(x), normal(y)
    if x is y:
        if shape == "atom":
            _tie(x, order, why)
        return shape == "atom"
    if "atom" in (shape, other):
        unify(*((reordered(x, order), y) if other == "atom" else (x, reordered(y, orders.inverse(order)))), why)
        return True
    if shape == "sum" != other:
        return _match_reordered(b, a, why)
    if other == "sum":
        start = 0
        for term in right:
            unify(pick(x, order[start : start + term.size]), term, why)
            start += term.size
    else:
        slow, fast = product(right[:-1]), right[-1]
        for k in range(fast.size):
            unify(pick(x, order[k :: fast.size]), slow, why)
        free(fast, f"told apart by another order in {why}")
    for cell, same in ((a, b), (b, a)):
        if settled(cell) is cell and isinstance(cell.body, Reordered):
            cell.body = same
            break
    return True


def _match_products(left: list[Dim], right: list[Dim], why: str) -> bool:
    """Factors from the fastest on, splitting the larger of two that differ."""
    left, right = list(left), list(right)
    while left and right:
        f, g = left.pop(), right.pop()
        if f.size == g.size:
            unify(f, g, why)
            continue
        if f.size < g.size:
            f, g, left, right = g, f, right, left
        if f.size % g.size or normal(f)[0] == "sum":
            return False
        parts = split_product(f, f.size // g.size)
        if parts is None:
            return False
        left += [x for part in parts for x in factors(part)]
        right.append(g)
    return not left and not right


def _match_sums(left: list[Dim], right: list[Dim], why: str) -> bool:
    left, right = list(left), list(right)
    while left and right:
        f, g = left.pop(0), right.pop(0)
        if f.size < g.size:
            f, g, left, right = g, f, right, left
        if f.size > g.size:
            parts = split_sum(f, g.size)
            if parts is None:
                return False
            f, left = parts[0], [*terms(parts[1]), *left]
        unify(f, g, why)
    return not left and not right


def _match_mixed(summed: list[Dim], multiplied: list[Dim], why: str) -> bool:
    """A sum against a product: the slowest factor is cut where the sum's terms end."""
    inner = math.prod(factor.size for factor in multiplied[1:])
    if any(term.size % inner for term in summed):
        return False
    parts = cut(multiplied[0], [term.size // inner for term in summed])
    if parts is None:
        return False
    for term, part in zip(summed, parts, strict=True):
        unify(term, product([part, *multiplied[1:]]), why)
    return True


def split_sum(dim: Dim, at: int) -> tuple[Dim, Dim] | None:
    """The first `at` elements and the rest; None where the structure does not allow it."""
    shape, items = normal(dim)
    assert 0 < at < dim.size
    if shape == "atom":
        atom = items[0]
        parts = Dim(at, atom.reason, atom.label), Dim(atom.size - at, atom.reason, atom.label)
        atom.body = Parts("sum", parts)
        return parts
    if shape == "sum":
        offset = 0
        for k, item in enumerate(items):
            if offset + item.size == at:
                return total(items[: k + 1]), total(items[k + 1 :])
            if offset + item.size > at:
                inner = split_sum(item, at - offset)
                return inner and (total([*items[:k], inner[0]]), total([inner[1], *items[k + 1 :]]))
            offset += item.size
    if shape == "reordered":
        return pick(dim, range(at)), pick(dim, range(at, dim.size))
    row = math.prod(item.size for item in items[1:])
    if at % row:
        return None
    outer = split_sum(items[0], at // row)
    return outer and (product([outer[0], *items[1:]]), product([outer[1], *items[1:]]))


def split_product(dim: Dim, outer: int) -> tuple[Dim, Dim] | None:
    """The dim as `outer` times the rest; None where the structure does not allow it."""
    shape, items = normal(dim)
    if dim.size % outer:
        return None
    inner = dim.size // outer
    if shape == "atom":
        atom = items[0]
        parts = Dim(outer, atom.reason, atom.label), Dim(inner, atom.reason, atom.label)
        atom.body = Parts("product", parts)
        return parts
    if shape == "product":
        regrouped = regroup(items, [outer, inner])
        return None if regrouped is None else (regrouped[0], regrouped[1])
    if shape == "reordered":
        slow, fast = Dim(outer), Dim(inner)
        unify(dim, product([slow, fast]), "a reshape behind another order")
        return slow, fast
    cuts = cut(dim, [inner] * outer)
    if cuts is None:
        return None
    for first, second in itertools.pairwise(cuts):
        unify(first, second, "a reshape of parts that stand side by side")
    return Dim(outer, "counts parts that stand side by side"), cuts[0]


def cut(dim: Dim, sizes: Sequence[int]) -> list[Dim] | None:
    """The dim as consecutive pieces of the given sizes; None where the structure does not allow it."""
    assert sum(sizes) == dim.size
    pieces: list[Dim] = []
    rest: Dim | None = dim
    for size in sizes:
        if size == 0:
            pieces.append(Dim(0))
            continue
        assert rest is not None
        if size == rest.size:
            pieces.append(rest)
            rest = None
            continue
        parts = split_sum(rest, size)
        if parts is None:
            return None
        pieces.append(parts[0])
        rest = parts[1]
    return pieces


def regroup(dims: Sequence[Dim], sizes: Sequence[int]) -> list[Dim] | None:
    """A row-major product of dims as products of the given sizes; None where the structure does not allow it."""
    todo = [factor for dim in dims for factor in factors(dim)]
    found = []
    for size in sizes:
        taken: list[Dim] = []
        left = size
        while left > 1:
            if not todo:
                return None
            factor = todo.pop(0)
            if left % factor.size == 0:
                taken.append(factor)
                left //= factor.size
                continue
            parts = split_product(factor, left) if factor.size % left == 0 else None
            if parts is None:
                return None
            taken.append(parts[0])
            todo = factors(parts[1]) + todo
            left = 1
        found.append(product(taken))
    return found if not todo else None
