"""Values, and the three kinds of demand that an operation can make of their axes.

An operation *unifies* dims (who is permuted with whom), states *relations* between the powers of legs (who is scaled
with whom), and notes *barriers*: sets of axes that it looks at together, so that a nested space may not depend on
anything outside of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from graphws_converters.algebra.dims import Dim, free
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

    def constant(self, tensor: torch.Tensor) -> Abstract:
        """A tensor that is no parameter: an axis may move only where the tensor is constant along it."""
        made = Abstract(tuple(Leg(Dim(size)) for size in tensor.shape), constant=tensor)
        self.tensors.append(made)
        for k, leg in enumerate(made.legs):
            if leg.size > 1 and (tensor.is_meta or not bool((tensor == tensor.narrow(k, 0, 1)).all())):
                free(leg.dim, "a constant tensor")
        self.pin(made.legs)
        return made
