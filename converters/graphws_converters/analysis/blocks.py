"""Tensors of the state dict in blocks: where an axis is a sum, each term becomes a parameter of its own.

A stored axis is read as one or several *columns*: one where it is an atom, a sum, or a product of atoms; one for each
factor where it is a product with a sum inside (heads, then q, k and v side by side in each head), which needs a view of
the stored tensor.  An axis that reads its elements in another sequence is put in order first.  A column is cut into
*runs*, each a row-major product of atoms.  A structure deeper than that is given up: its atoms become free.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from graphws_converters.algebra.dims import Dim, factors, free, in_order, is_free, laid_out, leaves, normal, terms
from graphws_converters.algebra.orders import Order, inverse, is_identity
from graphws_converters.algebra.tensors import Abstract, Leg
from graphws_converters.analysis.powers import Place

MOST_BLOCKS = 1024
"""How many parameters may share one stored tensor; graphs allow no more."""
EMPTY = "a tensor without elements"
SINGLE = "one element"
MOST_PLACES = 1 << 20
"""How many places the orders of all blocks of one tensor may name."""
GIVEN_UP = "its structure is too deep to be stored in blocks"


@dataclass(frozen=True, eq=False)
class Run:
    """Part of a column that is a product of atoms.

    Attributes:
        start: Where it begins in its column.
        stop: Where it ends.
        atoms: Each atom with its place; a run of free atoms is one atom.
        told: The free atom of which this run holds one element, and which; None where it was not taken apart.
        first: Of a free run that is a product, its slowest factor.
    """

    start: int
    stop: int
    atoms: tuple[tuple[Dim, Place], ...]
    told: tuple[Dim, int] | None = None
    first: Dim | None = None

    def apart(self, free: Collection[Dim]) -> list[Run]:
        """A run for each element of its slowest atom, where that is one of the given free ones."""
        slowest = self.first or (self.atoms[0][0] if self.atoms else None)
        if slowest is None or slowest not in free:
            return [self]
        step = (self.stop - self.start) // slowest.size
        inner = self.atoms[1:]
        if self.first is not None and step > 1:
            inner = ((Dim(step, self.first.reason), self.atoms[0][1]),)
        starts = range(self.start, self.stop, step)
        return [Run(start, start + step, inner, (slowest, k)) for k, start in enumerate(starts)]


@dataclass(frozen=True, eq=False)
class StoredBlock:
    """One parameter inside a stored tensor.

    Attributes:
        view: The shape in which the bounds are meant.
        bounds: Start and stop for each column.
        atoms: Of each column its atoms, with their places.
        number: Its number along each column that is cut; empty where none is.
        told: Of each column the free atom of which it holds one element, and which; None where it holds no such.
        orders: For each axis of the tensor the places of its elements in order; empty where they stand in order.
    """

    view: tuple[int, ...]
    bounds: tuple[tuple[int, int], ...]
    atoms: tuple[tuple[tuple[Dim, Place], ...], ...]
    number: tuple[int, ...]
    told: tuple[tuple[Dim, int] | None, ...]
    orders: tuple[Order, ...] = ()

    def element(self, column: int, host: Dim) -> int | None:
        """Of which element of a free atom the entries of a column are; None where that is not told, or told twice."""
        still = [any(atom is host for atom, _ in atoms) for atoms in self.atoms]
        here = [told[1] if told is not None and told[0] is host else None for told in self.told]
        if still[column] or here[column] is not None:
            return None if still[column] else here[column]
        found = [k for k in here if k is not None]
        return found[0] if len(found) == 1 and not any(still) else None

    def inside(self, axis: int, column: int, at: int, count: int) -> StoredBlock:
        """This block of one of `count` tensors that are stored side by side along an axis, and column, of their own."""
        view, bounds, atoms, told = list(self.view), list(self.bounds), list(self.atoms), list(self.told)
        view.insert(column, count)
        bounds.insert(column, (at, at + 1))
        atoms.insert(column, ())
        told.insert(column, None)
        orders = (*self.orders[:axis], (), *self.orders[axis:]) if self.orders else ()
        return StoredBlock(tuple(view), tuple(bounds), tuple(atoms), (at, *self.number), tuple(told), orders)


def settle(parameters: Sequence[Sequence[Abstract]]) -> None:
    """Frees what cannot be stored in blocks, until nothing changes.

    Args:
        parameters: The stored tensors, each as one or as its parts.
    """
    while any(_give_up(part) for parts in parameters for part in parts) or any(map(_differ, parameters)):
        pass


def _differ(parts: Sequence[Abstract]) -> bool:
    """Frees the first axis that stands in another order in each part of a tensor; whether there was one."""
    for legs in zip(*(part.legs for part in parts), strict=True):
        if len({_order(leg, ()) for leg in legs}) > 1:
            for leg in legs:
                free(leg.dim, "parts in different orders")
            return True
    return False


def _give_up(parameter: Abstract) -> bool:
    """Frees the first thing that is too deep or too finely cut; whether there was one."""
    for leg in parameter.legs:
        for dim in _too_deep(_plain(leg.dim)):
            free(dim, GIVEN_UP)
            return True
    cuts = [[len(runs) for runs in columns(leg)[1]] for leg in parameter.legs]
    if math.prod(n for row in cuts for n in row) > MOST_BLOCKS:
        worst = max(range(len(cuts)), key=lambda k: math.prod(cuts[k]))
        free(parameter.legs[worst].dim, f"cut into more than {MOST_BLOCKS} blocks")
        return True
    moved = [leg for leg in parameter.legs if _order(leg, ())]
    if moved and math.prod(n for row in cuts for n in row) * sum(leg.size for leg in moved) > MOST_PLACES:
        free(max(moved, key=lambda leg: leg.size).dim, "too many blocks of an axis in another order")
        return True
    return False


def _too_deep(dim: Dim) -> Iterator[Dim]:
    """Parts of an axis that are neither runs nor columns of runs."""
    shape, items = normal(dim)
    if is_free(dim) or shape == "atom":
        return
    for item in items:
        inner, parts = normal(item)
        if shape == "sum" and inner == "product" and any(normal(p)[0] == "sum" and not is_free(p) for p in parts):
            yield item
        if shape == "product" and inner == "sum":
            yield from (d for term in terms(item) for d in _too_deep_in_run(term))


def _too_deep_in_run(dim: Dim) -> Iterator[Dim]:
    shape, items = normal(dim)
    if shape == "product" and not is_free(dim):
        yield from (item for item in items if normal(item)[0] == "sum" and not is_free(item))


def blocks(parameter: Abstract, apart: Collection[Dim] = ()) -> list[StoredBlock]:
    """The parameters inside one stored tensor, in row-major order; together they hold every number once.

    Args:
        parameter: The tensor.
        apart: Free atoms whose elements are to be blocks of their own, wherever they are the slowest of a run.
    """
    if not math.prod(leg.size for leg in parameter.legs):
        return [_without_numbers(parameter)]
    read = [columns(leg) for leg in parameter.legs]
    orders = tuple(_order(leg, apart) for leg in parameter.legs)
    orders = orders if any(orders) else ()
    view = tuple(size for sizes, _ in read for size in sizes)
    cut = [[part for run in runs for part in run.apart(apart)] for _, rows in read for runs in rows]
    found = []
    for chosen in itertools.product(*(range(len(runs)) for runs in cut)):
        runs = [cut[k][n] for k, n in enumerate(chosen)]
        number = tuple(n for k, n in enumerate(chosen) if len(cut[k]) > 1)
        told = tuple(run.told for run in runs)
        found.append(
            StoredBlock(
                view, tuple((r.start, r.stop) for r in runs), tuple(r.atoms for r in runs), number, told, orders
            )
        )
    return found


def _without_numbers(parameter: Abstract) -> StoredBlock:
    """The one block of a tensor without elements: whole, and none of its axes in a space that moves."""
    view = tuple(leg.size for leg in parameter.legs)
    atoms = tuple(((Dim(leg.size, EMPTY), (leg, 0)),) if leg.size != 1 else () for leg in parameter.legs)
    return StoredBlock(view, tuple((0, size) for size in view), atoms, (), (None,) * len(view))


def _plain(dim: Dim) -> Dim:
    return dim if in_order(dim) else laid_out(dim)[0]


def _order(leg: Leg, apart: Collection[Dim]) -> Order:
    """The places of the elements of a stored axis in order; empty where they stand in order, or nobody asks."""
    if in_order(leg.dim) or (is_free(leg.dim) and not set(leaves(leg.dim)) & set(apart)):
        return ()
    order = inverse(laid_out(leg.dim)[1])
    return () if is_identity(order) else order


def columns(leg: Leg) -> tuple[list[int], list[list[Run]]]:
    """The columns of a stored axis, put in order: their sizes, and the runs of each."""
    dim = _plain(leg.dim)
    shape, items = normal(dim)
    if is_free(dim) or shape != "product" or not any(normal(item)[0] == "sum" for item in items):
        return [leg.size], [_runs(leg, dim, 0)]
    sizes, rows, at = [], [], 0
    for item in items:
        sizes.append(item.size)
        rows.append(_runs(leg, item, at))
        at += len(leaves(item))
    return sizes, rows


def _runs(leg: Leg, dim: Dim, at: int) -> list[Run]:
    """A column's terms, neighbours that are free joined."""
    runs: list[Run] = []
    offset = 0
    for whole, group in itertools.groupby(terms(dim) if not is_free(dim) else [dim], key=is_free):
        parts = list(group)
        if whole:
            size, inner = sum(part.size for part in parts), [leaf for part in parts for leaf in leaves(part)]
            atom = inner[0] if inner and inner[0].size == size else Dim(size, inner[0].reason if inner else SINGLE)
            first = inner[0] if inner and len(parts) == 1 and normal(parts[0])[0] == "product" else None
            first = first if first is not None and first is factors(parts[0])[0] else None
            runs.append(Run(offset, offset + size, ((atom, (leg, at)),) if size > 1 else (), first=first))
            offset, at = offset + size, at + len(inner)
            continue
        for part in parts:
            atoms = []
            for factor in factors(part):
                inner = leaves(factor)
                atoms.append((_one(factor), (leg, at)))
                at += len(inner)
            runs.append(Run(offset, offset + part.size, tuple(atoms)))
            offset += part.size
    return runs


def _one(factor: Dim) -> Dim:
    """A factor as one atom: what is free need not be told apart, nor what is put together of single elements."""
    inner = leaves(factor)
    if inner and inner[0].size == factor.size:
        return inner[0]
    return Dim(factor.size, inner[0].reason if inner else SINGLE)
