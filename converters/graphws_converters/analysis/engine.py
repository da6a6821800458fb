"""The engine: what kinds of operation demand of the axes that meet in them.

Every rule is made of a few of its methods: entry by entry (`Engine.pointwise`), sums of products (`Engine.contract`),
operations that mix an axis or know its order, and the arrangements of `graphws_converters.primitives.arranging`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from graphws_converters.algebra.choices import Choice, Told
from graphws_converters.algebra.dims import Dim, resolve
from graphws_converters.algebra.tensors import Abstract, Leg, Scope
from graphws_converters.algebra.unify import unify
from graphws_converters.primitives.arranging import Arranging

Meeting = Literal["add", "multiply", "divide", "nonlinear"]
"""How a pointwise operation joins its operands."""


class Engine(Arranging):
    """Collects what the operations of one program demand."""

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
        axes = [[_along(x, n - rank, legs) for n in range(rank)] for x in xs]
        return self.tensor(legs, told=self.agreed(list(zip(xs, axes, strict=True))))

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
        return self.tensor(legs, told=self.agreed([(x, range(len(legs)))]))

    # --- sums over axes

    def reduce(self, x: Any, axes: Sequence[int] | None, keep: bool) -> Abstract:
        """A sum or mean over axes (all where None)."""
        plain: Abstract = self.plain(x)
        rank = len(plain.legs)
        gone = {k % rank for k in axes} if axes else set(range(rank))
        self.pin([plain.legs[k] for k in gone])
        self.release_index(plain, "an index used as a number")
        left: list[int | None] = [None if k in gone else k for k in range(rank) if keep or k not in gone]
        legs = [Leg(Dim(1)) if k is None else plain.legs[k] for k in left]
        return self.tensor(legs, told=self.agreed([(plain, left)]))

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
        order = list(places)
        axes = [[_letter(letters, c, x, longest) for c in order]
                for letters, x in zip(left.split(","), plain, strict=True)]  # fmt: skip
        told = self.agreed(list(zip(plain, axes, strict=True)))
        kept: list[Told] = []
        if told:
            written = [order.index(c) for c in right]
            for t in told:
                known = t.arranged(written, written)
                kept += known or []
                if known is None and t.axis in written:
                    self.strangers.append((users[order[t.axis]][0][1].dim, t.host))
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
            hosts = [t.host for t in told if order[t.axis] == letter and self._fixed(t, order, common)]
            held = [users[c][0][1].dim for c in common if c != letter]
            self.barriers.append([found[0][1].dim, *held, *dict.fromkeys(map(resolve, hosts))])
        return self.tensor([self._product_leg([leg for _, leg in users[letter]]) for letter in right], told=tuple(kept))

    def _fixed(self, told: Told, order: Sequence[str], common: Sequence[str]) -> bool:
        """Whether an index varies only along letters that all operands have, while another is summed."""
        return told.choice.arranged([k for k, c in enumerate(order) if k != told.axis and c in common]) is not None

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
        """A bias along one axis: the other axes of the result cannot be scaled.  One of several axes is a summand."""
        if len(bias.legs) > 1:
            self.written += [leg for leg in bias.legs if bias.weight]
            return self.pointwise([y, bias], "add", "a bias")
        self.pin([leg for k, leg in enumerate(y.legs) if k != axis % len(y.legs)])
        if bias.legs and bias.legs[0].size == y.shape[axis]:
            self.same(y.legs[axis], bias.legs[0], "a bias")
        else:
            self.pin(y.legs)
        self.written += [leg for leg in bias.legs if bias.weight]
        if not y.told and not bias.told:
            return y
        along = [0 if bias.legs and k == axis % len(y.legs) else None for k in range(len(y.legs))]
        return self.tensor(y.legs, told=self.agreed([(y, range(len(y.legs))), (bias, along)]))

    def looked_up(
        self,
        x: Abstract,
        legs: Sequence[Leg],
        kept: Sequence[int | None],
        indices: Sequence[tuple[int, Abstract, Sequence[int | None]]],
    ) -> Abstract:
        """Entries of a tensor at indices, each of which tells the axes that stay which element was chosen.

        Args:
            x: The tensor.
            legs: The axes of the result.
            kept: For each its axis in the tensor; None where there is none.
            indices: The axis that each index addresses, the index, and for each axis of the result that of the index.
        """
        told = [*self.agreed([(x, kept)])]
        for axis, index, along in indices:
            index.choice = index.choice or Choice.of(index.shape)
            choice = index.choice.arranged(along)
            if choice is not None:
                told += [Told(n, x.legs[axis].dim, choice) for n, k in enumerate(kept) if k is not None]
        made = self.tensor(legs, index=x.index, told=tuple(told))
        made.weight = x.weight
        return made

    # --- operations that know or mix an axis

    def mixing(self, x: Any, axes: Sequence[int]) -> Abstract:
        """A nonlinear operation along some axes that does not care for their order (softmax, a norm)."""
        plain: Abstract = self.plain(x)
        self.barrier(plain, axes)
        self.pin(plain.legs)
        rank = len(plain.legs)
        return self.tensor(plain.legs, told=self.agreed([(plain, range(rank))], {k % rank for k in axes}))

    def ordered(self, x: Any, axes: Sequence[int], shape: Sequence[int], why: str) -> Abstract:
        """An operation that knows the order along some axes and acts alike on all others."""
        plain: Abstract = self.plain(x)
        places = {k % len(plain.legs) for k in axes}
        self.release([plain.legs[k] for k in places], why)
        if places:
            self.barrier(plain, sorted(places))
        legs = [Leg(Dim(shape[k], why)) if k in places else leg for k, leg in enumerate(plain.legs)]
        kept = [None if k in places else k for k in range(len(legs))]
        return self.tensor(legs, told=self.agreed([(plain, kept)]))

    def index_into(self, index: Abstract, leg: Leg, why: str) -> None:
        """Integer values address an axis: they count through it, where that is known, else its order matters."""
        self.addressing.append(index)
        if index.index is not None and index.index.size == leg.size:
            unify(index.index, leg.dim, why)
        else:
            self.release_index(index, why)
            self.release([leg], why)
            index.index = index.index or leg.dim  # whatever else it addresses is counted alike
        self.pin([leg])


def _along(x: Abstract, k: int, legs: Sequence[Leg]) -> int | None:
    """The axis of an operand at a place counted from the end; None where it is constant there."""
    axis = len(x.legs) + k
    return axis if axis >= 0 and x.legs[axis].size == legs[k].size else None


def _letter(letters: str, letter: str, x: Abstract, longest: Mapping[str, int]) -> int | None:
    """The axis of an operand that a letter names; None where it has none, or is constant along it."""
    axis = letters.find(letter)
    return axis if axis >= 0 and x.legs[axis].size == longest[letter] else None
