"""Values, and the three kinds of demand that an operation can make of their axes.

An operation *unifies* dims (who is permuted with whom), states *relations* between the powers of legs (who is scaled
with whom), and notes *barriers*: sets of axes that it looks at together, so that a nested space may not depend on
anything outside of them.  Where a host is told by an index (`graphws_converters.algebra.choices`), what meets has to be
chosen alike; axes of which that is not known are *strangers* to the host, and cannot be nested in it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch

from graphws_converters.algebra.choices import Choice, Told
from graphws_converters.algebra.dims import Dim, free, resolve
from graphws_converters.algebra.tensors import Abstract, Leg, Relation, Scope, Stacked
from graphws_converters.algebra.unify import unify


class Demands:
    """Collects what the operations of one program demand.

    Attributes:
        place: Path of the module whose operation is read now, for reasons.
        tensors: Every abstract tensor, in order.
        barriers: Sets of dims; see above.
        relations: Demands on powers.
        read: Legs of weights that are contracted with what flows through the network.
        written: Legs of weights that flow on.
        squared: Legs that hold squares, such as variances.
        addressing: Indices whose rule has said what they count through, in the call that is read now.
        strangers: Dims, each with a host that it does not depend on.
        followed: Tensors whose choices were followed through the call that is read now.
    """

    def __init__(self) -> None:
        self.place = ""
        self.tensors: list[Abstract] = []
        self.barriers: list[list[Dim]] = []
        self.relations: list[Relation] = []
        self.read: list[Leg] = []
        self.written: list[Leg] = []
        self.squared: list[Leg] = []
        self.addressing: list[Abstract] = []
        self.strangers: list[tuple[Dim, Dim]] = []
        self.followed: list[Abstract] = []

    # --- values

    def tensor(
        self,
        legs: Sequence[Leg],
        like: Abstract | None = None,
        index: Dim | None = None,
        told: tuple[Told, ...] | None = None,
        choice: Choice | None = None,
    ) -> Abstract:
        """A new tensor.

        Args:
            legs: Its axes.
            like: A tensor that has the same entries.
            index: What its integers count through.
            told: What indices tell along its axes; where None, what they tell along those legs that `like` has, too.
            choice: Which index it is; a new one where None, unless `like` says it.
        """
        made = Abstract(tuple(legs), index) if like is None else like.replace(legs)
        if like is not None and (told is None or choice is None):
            axes = _origins(made.legs, like.legs)
            choice = choice or (like.choice and like.choice.arranged(axes))
            if told is None:
                told = self.agreed([(like, axes)])
                self.strange(like, [t for t in like.told if t.axis not in axes])
        made.told = told or ()
        if made.index is not None:
            made.choice = choice or Choice.of(made.shape)
        self.tensors.append(made)
        return made

    def agreed(
        self, operands: Sequence[tuple[Abstract, Sequence[int | None]]], moved: Collection[int] = ()
    ) -> tuple[Told, ...]:
        """What indices tell along the axes of a result: what all operands that run along an axis say alike.

        An axis of which they say different things is a stranger to the hosts in question.

        Args:
            operands: Tensors, each with its axis for each axis of the result; None where it is constant along it.
            moved: Axes of the result along which entries are elsewhere than in the operands.
        """
        self.followed += [x for x, _ in operands]
        if not any(x.told for x, _ in operands):
            return ()
        said: list[list[Told]] = []
        for x, axes in operands:
            found: list[Told] = []
            for told in x.told:
                steady = [None if n in moved else axis for n, axis in enumerate(axes)]
                if told.axis in axes:
                    arranged = told.arranged(axes, steady)
                    found += arranged or []
                    self.strange(x, [told] if arranged is None else [])
            said.append(found)
        kept: list[Told] = []
        for found, (x, axes) in zip(said, operands, strict=True):
            for told in found:
                along = [other for other, (_, places) in zip(said, operands, strict=True)
                         if places[told.axis] is not None]  # fmt: skip
                if not all(any(told.same(t) for t in other) for other in along):
                    self.strangers.append((x.legs[axes[told.axis] or 0].dim, told.host))
                elif not any(told.same(t) for t in kept):
                    kept.append(told)
        return tuple(kept)

    def strange(self, x: Abstract, told: Sequence[Told]) -> None:
        """What indices told along axes of a tensor is no longer known."""
        self.strangers += [(x.legs[t.axis].dim, t.host) for t in told]

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
        axes: list[int | None] = [*range(len(first.legs))]
        axes.insert(x.axis, None)
        return self.tensor(legs, told=self.agreed([(part, axes) for part in x.parts]))

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
        fixed = [k for k in range(len(x.legs)) if k not in axes]
        hosts = [t.host for t in x.told if t.axis in fixed and t.choice.arranged(fixed) is not None]
        self.barriers.append([*(x.legs[k].dim for k in fixed), *dict.fromkeys(map(resolve, hosts))])

    def unknown(self, inputs: Sequence[Abstract], shapes: Sequence[Sequence[int]], why: str) -> list[Abstract]:
        """An operation that nothing is known about: everything that it touches becomes free."""
        why += f" (in {self.place})" if self.place else ""
        for x in inputs:
            self.release_index(x, why)
            self.release(x.legs, why)
        return [self.fresh(shape, why) for shape in shapes]

    def constant(self, tensor: torch.Tensor) -> Abstract:
        """A tensor that is no parameter: an axis may move only where the tensor is constant along it."""
        made = Abstract(tuple(Leg(Dim(size)) for size in tensor.shape), constant=tensor)
        self.tensors.append(made)
        for k, leg in enumerate(made.legs):
            if leg.size > 1 and (tensor.is_meta or not bool((tensor == tensor.narrow(k, 0, 1)).all())):
                free(leg.dim, "a constant tensor")
        self.pin(made.legs)
        return made


def _origins(legs: Sequence[Leg], before: Sequence[Leg]) -> list[int | None]:
    """For each leg where it stood before; None for new ones, and those that are not one leg only."""
    where = {id(leg): k for k, leg in enumerate(before)}
    once = [id(leg) for leg in (*legs, *before)]
    return [where[id(leg)] if id(leg) in where and once.count(id(leg)) == 2 else None for leg in legs]
