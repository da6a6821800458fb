"""Dims: what one axis of one tensor runs over.

A dim is an *atom* (an index set that is not split further), a *sum* of dims that stand one after the other (``cat``
makes it and ``split`` takes it apart), or a *product* of dims, row-major (what a reshape merges).  Dims are cells:
`unify` binds one to another, or an atom to a sum or product of finer atoms, and everybody who holds the cell sees it.

A fixed order may stand before any of them (``h[:, [2, 0, 1]]``, a flip, a shuffle): the same elements, in another
sequence.  Where it only moves whole terms or whole factors, the normal form is the sum or product in that sequence.

An atom is *free* once something in the network knows the order of its elements: it can no longer be permuted.  The
first such reason is kept, so that it can be shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from graphws_converters.algebra import orders

Shape = Literal["atom", "sum", "product", "reordered"]


@dataclass(eq=False, slots=True)
class Dim:
    """A cell of the algebra; read it with `normal`, never by its fields.

    Attributes:
        size: How many elements.
        reason: Why the elements cannot be permuted; empty while they can.
        label: Where the dim was seen first, for names.
        body: What the cell was bound to.
    """

    size: int
    reason: str = ""
    label: str = ""
    body: Dim | Parts | Reordered | None = None

    @property
    def free(self) -> bool:
        """Whether the order of the elements of this atom is known to somebody."""
        return bool(self.reason)

    def __str__(self) -> str:
        shape, items = normal(self)
        if shape == "atom":
            return f"{items[0].size}" + ("!" if items[0].free else "")
        if shape == "reordered":
            return f"{items[0]}~"
        return "(" + {"sum": " + ", "product": " * "}[shape].join(map(str, items)) + ")"


@dataclass(frozen=True, eq=False, slots=True)
class Parts:
    """The finer dims that a cell is made of."""

    shape: Literal["sum", "product"]
    items: tuple[Dim, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Reordered:
    """The elements of a dim in another sequence: element k is element ``order[k]`` of the base."""

    base: Dim
    order: orders.Order


def resolve(dim: Dim) -> Dim:
    """The cell at the end of a chain of bindings (chains are shortened on the way)."""
    end = dim
    while isinstance(end.body, Dim):
        end = end.body
    while isinstance(dim.body, Dim) and dim.body is not end:
        dim.body, dim = end, dim.body
    return end


def settled(dim: Dim) -> Dim:
    """The cell at the end, an order before it written as a sequence of terms or factors, as far as it is one."""
    dim = resolve(dim)
    while isinstance(dim.body, Reordered):
        base, order = settled(dim.body.base), dim.body.order
        if orders.is_identity(order):
            dim.body = base
            dim = base
            break
        if isinstance(base.body, Reordered):
            dim.body = Reordered(base.body.base, orders.composed(base.body.order, order))
            continue
        shape, items = normal(base)
        parts = None
        if shape == "sum":
            parts = orders.blockwise(order, [item.size for item in items])
        elif shape == "product":
            parts = orders.factorwise(order, [item.size for item in items])
        if parts is None or shape not in ("sum", "product"):
            break
        dim.body = Parts(shape, tuple(reordered(items[k], inside) for k, inside in parts))
    return dim


def reordered(dim: Dim, order: Sequence[int]) -> Dim:
    """The elements of a dim in another sequence; the dim itself where it is the same."""
    if orders.is_identity(order):
        return dim
    return settled(Dim(dim.size, label=dim.label, body=Reordered(dim, tuple(order))))


def order_of(dim: Dim) -> tuple[Dim, orders.Order]:
    """A dim that is not reordered, and the order in which the given one reads it."""
    dim = settled(dim)
    if isinstance(dim.body, Reordered):
        return settled(dim.body.base), dim.body.order
    return dim, tuple(range(dim.size))


def in_order(dim: Dim) -> bool:
    """Whether no order stands before the dim or any part of it."""
    shape, items = normal(dim)
    return shape == "atom" or (shape != "reordered" and all(in_order(item) for item in items))


def laid_out(dim: Dim) -> tuple[Dim, orders.Order]:
    """A dim without any order inside, with the same leaves, and the order in which the given one reads it."""
    dim = settled(dim)
    shape, items = normal(dim)
    if shape == "atom":
        return items[0], tuple(range(dim.size))
    if shape == "reordered":
        assert isinstance(dim.body, Reordered)
        plain, order = laid_out(items[0])
        return plain, orders.composed(order, dim.body.order)
    inside = [laid_out(item) for item in items]
    if shape == "sum":
        starts = [sum(item.size for item in items[:k]) for k in range(len(items))]
        moved = [start + place for start, (_, order) in zip(starts, inside, strict=True) for place in order]
        return total([plain for plain, _ in inside]), tuple(moved)
    strides = [math.prod(item.size for item in items[k + 1 :]) for k in range(len(items))]
    scaled = [[place * stride for place in order] for stride, (_, order) in zip(strides, inside, strict=True)]
    return product([plain for plain, _ in inside]), orders.along(scaled)


def normal(dim: Dim) -> tuple[Shape, list[Dim]]:
    """The normal form: an atom, at least two terms that are no sums, or at least two factors that are no products.

    Or the base of a dim that reads it in another sequence and is none of these.  Empty terms and factors of size 1 are
    dropped.
    """
    dim = settled(dim)
    if dim.body is None:
        return "atom", [dim]
    if isinstance(dim.body, Reordered):
        return "reordered", [settled(dim.body.base)]
    assert isinstance(dim.body, Parts)
    items = terms(dim) if dim.body.shape == "sum" else factors(dim)
    if len(items) == 1 and items[0] is not dim:
        return normal(items[0])
    return (dim.body.shape, items) if items else ("atom", [Dim(dim.size)])


def terms(dim: Dim) -> list[Dim]:
    """The terms of a sum; the dim itself where it is none."""
    dim = settled(dim)
    if isinstance(dim.body, Parts) and dim.body.shape == "sum":
        return [term for item in dim.body.items for term in terms(item)]
    return [dim] if dim.size else []


def factors(dim: Dim) -> list[Dim]:
    """The factors of a product without those of size 1; the dim itself where it is no product."""
    dim = settled(dim)
    if isinstance(dim.body, Parts) and dim.body.shape == "product":
        return [factor for item in dim.body.items for factor in factors(item)]
    if isinstance(dim.body, Parts) and len(terms(dim)) == 1:
        only = terms(dim)[0]
        return [dim] if only is dim else factors(only)
    return [dim] if dim.size != 1 else []


def total(items: Sequence[Dim]) -> Dim:
    """The sum of dims, one after the other."""
    flat = [term for item in items for term in terms(item)]
    if len(flat) == 1:
        return flat[0]
    return Dim(sum(term.size for term in flat), body=Parts("sum", tuple(flat)) if flat else None)


def product(items: Sequence[Dim]) -> Dim:
    """The product of dims, the last running fastest."""
    flat = [factor for item in items for factor in factors(item)]
    if len(flat) == 1:
        return flat[0]
    return Dim(math.prod(factor.size for factor in flat), body=Parts("product", tuple(flat)) if flat else None)


def leaves(dim: Dim) -> list[Dim]:
    """The atoms of a dim from left to right, repeated ones too; those of size 1 are dropped."""
    shape, items = normal(dim)
    if shape == "atom":
        return items if items[0].size > 1 else []
    return [leaf for item in items for leaf in leaves(item)]


def atoms(dim: Dim) -> list[Dim]:
    """The atoms of a dim, each once."""
    return list(dict.fromkeys(leaves(dim)))


def free(dim: Dim, reason: str) -> None:
    """Takes all atoms of a dim out of the group; the first reason stays."""
    for atom in leaves(dim):
        if not atom.reason:
            atom.reason = reason


def is_free(dim: Dim) -> bool:
    """Whether nothing of the dim can be permuted."""
    return all(atom.free for atom in leaves(dim))
