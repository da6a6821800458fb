"""The primitives: what kinds of operation demand of the axes that meet in them.

Every rule is made of a few of these.  A primitive does three things: it unifies dims (who is permuted with whom), it
states relations between the powers of legs (who is scaled with whom), and it notes *barriers*, sets of axes that an
operation looks at together, so that a nested space may not depend on anything outside of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch

from graphws_converters.algebra.dims import Dim, free, total
from graphws_converters.algebra.tensors import Abstract, Leg, Relation, Scope, Stacked
from graphws_converters.algebra.unify import cut, regroup, unify

Meeting = Literal["add", "multiply", "divide", "nonlinear"]
"""How a pointwise operation joins its operands."""


class Engine:
    """Collects what the operations of one program demand.

    Attributes:
        place: Path of the module whose operation is read now, for reasons.
        tensors: Every abstract tensor, in order.
        barriers: Sets of dims; see above.
        relations: Demands on powers.
        read: Legs of weights that are contracted with what flows through the network.
        written: Legs of weights that flow on.
        squared: Legs that hold squares, such as variances.
    """

    def __init__(self) -> None:
        self.place = ""
        self.tensors: list[Abstract] = []
        self.barriers: list[list[Dim]] = []
        self.relations: list[Relation] = []
        self.read: list[Leg] = []
        self.written: list[Leg] = []
        self.squared: list[Leg] = []

    # --- values

    def tensor(self, legs: Sequence[Leg], like: Abstract | None = None, index: Dim | None = None) -> Abstract:
        """A new tensor with these legs; `like`: the same entries as there."""
        made = Abstract(tuple(legs), index) if like is None else like.replace(legs)
        self.tensors.append(made)
        return made

    def fresh(self, shape: Sequence[int], reason: str = "", uniform: bool = False) -> Abstract:
        """A tensor of atoms of its own; free ones where there is a reason."""
        made = Abstract(tuple(Leg(Dim(size, reason)) for size in shape), uniform=uniform)
        self.tensors.append(made)
        return made

    def plain(self, x: Any) -> Any:
        """One tensor from stacked ones; anything else as it is."""
        if not isinstance(x, Stacked):
            return x
        first, others = x.parts[0], x.parts[1:]
        for part in others:
            for a, b in zip(first.legs, part.legs, strict=True):
                self.same(a, b, "a stack")
        legs = list(first.legs)
        legs.insert(x.axis, Leg(Dim(len(x.parts), "counts stacked tensors")))
        return self.tensor(legs)

    # --- demands

    def same(self, a: Leg, b: Leg, why: str) -> None:
        """Two axes run over the same dim and are scaled alike."""
        unify(a.dim, b.dim, why)
        if a is not b:
            self.relations.append(Relation(((1, (a,)), (-1, (b,))), linear=True))

    def pin(self, legs: Sequence[Leg], scope: Scope = "both") -> None:
        """These axes cannot be scaled."""
        self.relations += [Relation(((1, (leg,)),), scope) for leg in legs]

    def relate(self, *terms: tuple[int, Leg], scope: Scope = "both", linear: bool = False) -> None:
        """A demand on the powers of single legs."""
        self.relations.append(Relation(tuple((k, (leg,)) for k, leg in terms), scope, linear))

    def regrouped(self, before: Sequence[Leg], after: Sequence[Leg]) -> None:
        """The same axes, merged or split."""
        self.relations.append(Relation(((1, tuple(before)), (-1, tuple(after))), linear=True))

    def release(self, legs: Sequence[Leg], why: str) -> None:
        """Something knows the order along these axes."""
        for leg in legs:
            free(leg.dim, why)

    def release_index(self, x: Abstract, why: str) -> None:
        """Indices are used as numbers: what they count through has an order."""
        if x.index is not None:
            free(x.index, why)

    def barrier(self, x: Abstract, mixed: Sequence[int]) -> None:
        """An operation mixes entries along some axes: nothing else in the tensor may depend on those."""
        axes = {k % len(x.legs) for k in mixed}
        self.barriers.append([leg.dim for k, leg in enumerate(x.legs) if k not in axes])

    def unknown(self, inputs: Sequence[Abstract], shapes: Sequence[Sequence[int]], why: str) -> list[Abstract]:
        """An operation that nothing is known about: everything that it touches becomes free."""
        why += f" (in {self.place})" if self.place else ""
        for x in inputs:
            self.release_index(x, why)
            self.release(x.legs, why)
        return [self.fresh(shape, why) for shape in shapes]

    # --- pointwise

    def pointwise(self, operands: Sequence[Any], how: Meeting = "nonlinear", why: str = "pointwise") -> Abstract:
        """Operands of the same or broadcastable shapes, entry by entry."""
        xs: list[Abstract] = [self.plain(x) for x in operands]
        for x in xs:
            self.release_index(x, "an index used as a number")
        rank = max(len(x.legs) for x in xs)
        legs: list[Leg] = []
        for k in range(rank, 0, -1):
            column = [x.legs[-k] if len(x.legs) >= k else None for x in xs]
            longest = max(leg.size for leg in column if leg is not None)
            taking = [leg if leg is not None and leg.size == longest else None for leg in column]
            legs.append(self._meet(taking, how, why))
        return self.tensor(legs)

    def _meet(self, column: Sequence[Leg | None], how: Meeting, why: str) -> Leg:
        """One axis of a pointwise operation; None: an operand that is constant along it."""
        present = [leg for leg in column if leg is not None]
        for leg in present[1:]:
            unify(present[0].dim, leg.dim, why)
        if how in ("multiply", "divide"):
            signs = [1] + [1 if how == "multiply" else -1] * (len(column) - 1)
            taking = [(k, leg) for k, leg in zip(signs, column, strict=True) if leg is not None]
            if len(taking) == 1 and taking[0][0] == 1:
                return taking[0][1]
            out = Leg(present[0].dim)
            self.relate((-1, out), *taking)
            return out
        if how == "add" and None not in column:
            for leg in present[1:]:
                self.relate((1, present[0]), (-1, leg), linear=True)
        else:
            self.pin(present)
        return present[0]

    def map_legs(self, x: Abstract, power: int, scope: Scope = "both") -> Abstract:
        """Every axis follows with `power` times the power that it had."""
        legs = []
        for leg in x.legs:
            out = Leg(leg.dim)
            self.relate((-1, out), (power, leg), scope=scope)
            legs.append(out)
        return self.tensor(legs)

    # --- arrangement

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
            return self.unknown([plain], [shape], "a reshape of nothing")[0]
        legs: list[Leg | None] = [None] * len(shape)
        for before, after in groups(plain.shape, shape):
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
        return self.tensor([leg for leg in legs if leg is not None], plain)

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
            parts.append(self.tensor([*x.legs[:axis], *outer, *legs[-1], *x.legs[axis + 1 :]], x))
        if before:
            self.pin([whole, *outer, *(leg for group in legs for leg in group)], "scale")
            self.pin([whole, *outer, *(leg for group in legs for leg in group)], "sign")
        else:
            self.regrouped([whole], [leg for group in legs for leg in group])
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
        return [self.tensor([*plain.legs[:axis], leg, *plain.legs[axis + 1 :]], plain) for leg in legs]

    def slice(self, x: Any, axis: int, start: int, stop: int, step: int = 1) -> Abstract:
        """Part of one axis; `start` and `stop` are inside it."""
        plain: Abstract = self.plain(x)
        axis %= len(plain.legs)
        size = plain.shape[axis]
        if step != 1:
            return self._strided(plain, axis, start, stop, step)
        if (start, stop) == (0, size):
            return plain
        sizes = [n for n in (start, stop - start, size - stop) if n] if stop > start else []
        if not sizes:
            return self.tensor([*plain.legs[:axis], Leg(Dim(0)), *plain.legs[axis + 1 :]], plain)
        return self.cut(plain, axis, sizes)[1 if start else 0]

    def _strided(self, x: Abstract, axis: int, start: int, stop: int, step: int) -> Abstract:
        size, count = x.shape[axis], max(0, -(-(stop - start) // step))
        if size % step == 0 and start < step and count == size // step:
            stacked = self.split_stacked(x, axis, [count, step], 1)
            if stacked is not None:
                return stacked.parts[start]
        self.release([x.legs[axis]], "a strided slice")
        return self.tensor([*x.legs[:axis], Leg(Dim(count, "a strided slice")), *x.legs[axis + 1 :]], x)

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
        return self.tensor(legs)

    # --- sums over axes

    def reduce(self, x: Any, axes: Sequence[int] | None, keep: bool) -> Abstract:
        """A sum or mean over axes (all where None)."""
        plain: Abstract = self.plain(x)
        rank = len(plain.legs)
        gone = {k % rank for k in axes} if axes else set(range(rank))
        self.pin([plain.legs[k] for k in gone])
        self.release_index(plain, "an index used as a number")
        legs = [Leg(Dim(1)) if k in gone else leg for k, leg in enumerate(plain.legs) if keep or k not in gone]
        return self.tensor(legs)

    def contract(self, equation: str, xs: Sequence[Any]) -> Abstract:
        """A product of tensors, summed over the letters that the result lacks: ``bij,bjk->bik``."""
        plain: list[Abstract] = [self.plain(x) for x in xs]
        left, right = equation.split("->")
        places: dict[str, list[tuple[Abstract, Leg]]] = {}
        for letters, x in zip(left.split(","), plain, strict=True):
            self.release_index(x, "an index used as a number")
            for letter, leg in zip(letters, x.legs, strict=True):
                places.setdefault(letter, []).append((x, leg))
        longest = {letter: max(leg.size for _, leg in users) for letter, users in places.items()}
        users = {c: [(x, leg) for x, leg in found if leg.size == longest[c]] for c, found in places.items()}
        common = [c for c, found in places.items() if len({id(x) for x, _ in found}) == len(plain)]
        for letter, found in users.items():
            for _, leg in found[1:]:
                unify(found[0][1].dim, leg.dim, "a product")
            if letter in right:
                self.written += [leg for x, leg in found if x.weight]
                continue
            self.read += [leg for x, leg in found if x.weight]
            self.relate(*((1, leg) for _, leg in found), linear=len(found) == 2 and len(plain) == 2)
            if len(found) == 1:
                self.pin([found[0][1]])
            self.barriers.append([found[0][1].dim, *(users[c][0][1].dim for c in common if c != letter)])
        return self.tensor([self._product_leg([leg for _, leg in users[letter]]) for letter in right])

    def _product_leg(self, legs: Sequence[Leg]) -> Leg:
        if len(legs) == 1:
            return legs[0]
        out = Leg(legs[0].dim)
        self.relate((-1, out), *((1, leg) for leg in legs))
        return out

    def matmul(self, a: Any, b: Any) -> Abstract:
        """``torch.matmul``."""
        x, y = self.plain(a), self.plain(b)
        batch = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: max(len(x.legs), len(y.legs), 2) - 2]
        left = "k" if len(x.legs) == 1 else batch[len(batch) - len(x.legs) + 2 :] + "ik"
        right = "k" if len(y.legs) == 1 else batch[len(batch) - len(y.legs) + 2 :] + "kj"
        out = batch + ("i" if "i" in left else "") + ("j" if "j" in right else "")
        return self.contract(f"{left},{right}->{out}", [x, y])

    def linear(self, x: Any, weight: Abstract, bias: Abstract | None = None) -> Abstract:
        """x Wᵀ + b, with W (out, in)."""
        plain: Abstract = self.plain(x)
        batch = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(plain.legs) - 1]
        out = "o" if len(weight.legs) == 2 else ""
        y = self.contract(f"{batch}i,{out}i->{batch}{out}", [plain, weight])
        return y if bias is None else self.shifted(y, bias, len(y.legs) - 1)

    def shifted(self, y: Abstract, bias: Abstract, axis: int) -> Abstract:
        """A bias along one axis: the other axes of the result cannot be scaled."""
        self.pin([leg for k, leg in enumerate(y.legs) if k != axis % len(y.legs)])
        if bias.legs and bias.legs[0].size == y.shape[axis]:
            self.same(y.legs[axis], bias.legs[0], "a bias")
        else:
            self.pin(y.legs)
        self.written += [leg for leg in bias.legs if bias.weight]
        return y

    # --- operations that know or mix an axis

    def mixing(self, x: Any, axes: Sequence[int]) -> Abstract:
        """A nonlinear operation along some axes that does not care for their order (softmax, a norm)."""
        plain: Abstract = self.plain(x)
        self.barrier(plain, axes)
        self.pin(plain.legs)
        return self.tensor(plain.legs)

    def ordered(self, x: Any, axes: Sequence[int], shape: Sequence[int], why: str) -> Abstract:
        """An operation that knows the order along some axes and acts alike on all others."""
        plain: Abstract = self.plain(x)
        places = {k % len(plain.legs) for k in axes}
        self.release([plain.legs[k] for k in places], why)
        if places:
            self.barrier(plain, sorted(places))
        legs = [Leg(Dim(shape[k], why)) if k in places else leg for k, leg in enumerate(plain.legs)]
        return self.tensor(legs)

    def index_into(self, index: Abstract, leg: Leg, why: str) -> None:
        """Integer values address an axis: they count through it, where that is known, else its order matters."""
        if index.index is not None and index.index.size == leg.size:
            unify(index.index, leg.dim, why)
        else:
            self.release_index(index, why)
            self.release([leg], why)
        self.pin([leg])

    def constant(self, tensor: torch.Tensor) -> Abstract:
        """A tensor that is no parameter: an axis may move only where the tensor is constant along it."""
        made = Abstract(tuple(Leg(Dim(size)) for size in tensor.shape), constant=tensor)
        self.tensors.append(made)
        for k, leg in enumerate(made.legs):
            if leg.size > 1 and (tensor.is_meta or not bool((tensor == tensor.narrow(k, 0, 1)).all())):
                free(leg.dim, "a constant tensor")
        self.pin(made.legs)
        return made


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
