"""Arrangement: the same entries in another shape, order or company."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graphws_converters.algebra.choices import Told
from graphws_converters.algebra.dims import Dim, is_free, leaves, total
from graphws_converters.algebra.orders import run_of
from graphws_converters.algebra.picking import pick
from graphws_converters.algebra.tensors import Abstract, Leg, Relation, Stacked
from graphws_converters.algebra.unify import cut, regroup, unify
from graphws_converters.primitives.demands import Demands

MOST_PICKED = 65536
"""The longest axis whose order is kept element by element."""


class Arranging(Demands):
    """Demands of operations that move entries and leave them as they are."""

    def permute(self, x: Any, order: Sequence[int]) -> Any:
        """Axes in another order."""
        if isinstance(x, Stacked):
            order = [k % (len(x.parts[0].legs) + 1) for k in order]
            inner = [k - (k > x.axis) for k in order if k != x.axis]
            return Stacked(order.index(x.axis), [self.permute(part, inner) for part in x.parts])
        return self.tensor([x.legs[k] for k in order], x)

    def reshape(self, x: Any, shape: Sequence[int]) -> Abstract:
        """The same entries, row-major, in another shape."""
        plain: Abstract = self.plain(x)
        if math.prod(shape) == 0:
            return self.fresh(shape)  # of no elements nobody knows the order
        legs: list[Leg | None] = [None] * len(shape)
        grouped = groups(plain.shape, shape)
        for before, after in grouped:
            if len(before) == len(after) == 1:
                legs[after[0]] = plain.legs[before[0]]
                continue
            old = [plain.legs[k] for k in before]
            dims = regroup([leg.dim for leg in old], [shape[k] for k in after])
            if dims is None:
                self.release(old, "a reshape that cuts across its structure")
                dims = [Dim(shape[k], "a reshape that cuts across its structure") for k in after]
            new = [Leg(dim) for dim in dims]
            self.regrouped(old, new)
            for k, leg in zip(after, new, strict=True):
                legs[k] = leg
        choice = plain.choice and plain.choice.reshaped(grouped, shape)
        told = self._reshaped(plain, grouped, shape)
        return self.tensor([leg for leg in legs if leg is not None], plain, told=told, choice=choice)

    def _reshaped(
        self, x: Abstract, grouped: Sequence[tuple[list[int], list[int]]], shape: Sequence[int]
    ) -> tuple[Told, ...]:
        """What indices tell after a reshape: of an axis that was merged, what they told along all its parts."""
        self.followed.append(x)
        kept: list[Told] = []
        for told in x.told:
            choice = told.choice.reshaped(grouped, shape)
            before, after = next(group for group in grouped if told.axis in group[0])
            alike = [any(replace(told, axis=k).same(t) for t in x.told) for k in before if x.shape[k] > 1]
            if choice is None or not all(alike):
                self.strange(x, [told])
                continue
            made = [Told(k, told.host, choice) for k in after if shape[k] > 1]
            kept += [t for t in made if not any(t.same(other) for other in kept)]
        return tuple(kept)

    def split_stacked(self, x: Abstract, axis: int, sizes: Sequence[int], counted: int) -> Stacked | None:
        """One axis viewed as several, of which `counted` will be taken apart; None where that is impossible."""
        before, count, after = list(sizes[:counted]), sizes[counted], list(sizes[counted + 1 :])
        whole = x.legs[axis]
        dims = regroup([whole.dim], [*before, count * math.prod(after)])
        pieces = cut(dims[-1], [math.prod(after)] * count) if dims else None
        inner = [regroup([piece], after) for piece in pieces] if pieces else []
        if not inner or None in inner:
            return None
        outer = [Leg(dim) for dim in dims[:-1]] if dims else []
        parts, legs = [], []
        for finer in inner:
            legs.append([Leg(dim) for dim in finer or []])
            new = [*x.legs[:axis], *outer, *legs[-1], *x.legs[axis + 1 :]]
            split = len(new) - len(x.legs) + 1
            axes = [*range(axis), *[axis] * split, *range(axis + 1, len(x.legs))]
            told = self.agreed([(x, axes)], range(axis, axis + split))
            parts.append(self.tensor(new, x, told=told))
        self.regrouped([whole], [*outer, *(leg for group in legs for leg in group)])
        return Stacked(axis + counted, parts)

    def cut(self, x: Any, axis: int, sizes: Sequence[int]) -> list[Abstract]:
        """Consecutive pieces along one axis."""
        plain: Abstract = self.plain(x)
        axis %= len(plain.legs)
        whole = plain.legs[axis]
        dims = cut(whole.dim, sizes)
        if dims is None:
            self.release([whole], "a cut across its structure")
            dims = [Dim(size, "a cut across its structure") for size in sizes]
        legs = [Leg(dim) for dim in dims]
        self.regrouped([whole], legs)
        told = self.agreed([(plain, range(len(plain.legs)))], [axis])
        return [self.tensor([*plain.legs[:axis], leg, *plain.legs[axis + 1 :]], plain, told=told) for leg in legs]

    def slice(self, x: Any, axis: int, start: int, stop: int, step: int = 1) -> Abstract:
        """Part of one axis; `start` and `stop` are inside it."""
        plain: Abstract = self.plain(x)
        axis %= len(plain.legs)
        size = plain.shape[axis]
        if step != 1:
            return self.picked(plain, axis, range(start, stop, step))
        if (start, stop) == (0, size):
            return plain
        sizes = [n for n in (start, stop - start, size - stop) if n] if stop > start else []
        if not sizes:
            return self.tensor([*plain.legs[:axis], Leg(Dim(0)), *plain.legs[axis + 1 :]], plain)
        return self.cut(plain, axis, sizes)[1 if start else 0]

    def picked(self, x: Any, axis: int, order: Sequence[int]) -> Abstract:
        """Some elements of an axis in a given sequence, each once or several times."""
        plain: Abstract = self.plain(x)
        axis %= len(plain.legs)
        whole, run = plain.legs[axis], run_of(order)
        if run is not None:
            return self.slice(plain, axis, *run)
        bijective = len(order) == whole.size == len(set(order))
        if len(order) > MOST_PICKED or whole.size > MOST_PICKED:
            self.release([whole], f"more than {MOST_PICKED} elements in another order")
        if is_free(whole.dim) and not (bijective and whole.size <= MOST_PICKED):
            reason = next((leaf.reason for leaf in leaves(whole.dim)), "one element")
            new = Leg(Dim(len(order), reason))
        else:
            new = Leg(pick(whole.dim, order))
            self.relations.append(Relation(((1, (whole,)), (-1, (new,))), linear=True, order=tuple(order)))
        told = self.agreed([(plain, range(len(plain.legs)))], [axis])
        return self.tensor([*plain.legs[:axis], new, *plain.legs[axis + 1 :]], plain, told=told)

    def select(self, x: Any, axis: int, at: int) -> Abstract:
        """One element of an axis, which disappears."""
        if isinstance(x, Stacked):
            if axis % (len(x.parts[0].legs) + 1) == x.axis:
                return x.parts[at]
            x = self.plain(x)
        axis %= len(x.legs)
        at %= x.shape[axis]
        piece = self.slice(x, axis, at, at + 1)
        return self.tensor([*piece.legs[:axis], *piece.legs[axis + 1 :]], piece)

    def concat(self, xs: Sequence[Any], axis: int) -> Abstract:
        """One after the other along an axis."""
        plain: list[Abstract] = [self.plain(x) for x in xs]
        plain = [x for x in plain if x.shape != (0,)]
        axis %= len(plain[0].legs)
        legs = []
        for k in range(len(plain[0].legs)):
            column = [x.legs[k] for x in plain]
            if k == axis:
                legs.append(Leg(total([leg.dim for leg in column])))
                self.regrouped(column, [legs[-1]])
                continue
            for leg in column[1:]:
                self.same(column[0], leg, "a concatenation")
            legs.append(column[0])
        told = self.agreed([(x, range(len(legs))) for x in plain], [axis])
        return self.tensor(legs, index=self._counted(plain), told=told)

    def _counted(self, xs: Sequence[Abstract]) -> Dim | None:
        """What the integers of all tensors count through, where they all count through the same."""
        found = [x.index for x in xs if x.index is not None]
        if len(found) < len(xs) or len({dim.size for dim in found}) > 1:
            return None
        for dim in found[1:]:
            unify(found[0], dim, "a concatenation of indices")
        return found[0]


def groups(before: Sequence[int], after: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The smallest groups of consecutive axes of two shapes that hold the same numbers of entries."""
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) or j < len(after):
        left, right = [i] if i < len(before) else [], [j] if j < len(after) else []
        a, b = before[i] if left else 1, after[j] if right else 1
        i, j = i + len(left), j + len(right)
        while a != b:
            if a < b:
                a *= before[i]
                left.append(i)
                i += 1
            else:
                b *= after[j]
                right.append(j)
                j += 1
        found.append((left, right))
    return found
