"""Which signs, scales and matrices a space allows, and with which power each axis follows them.

The operations stated linear relations between the powers of their axes.  For one atom, the solutions over the
rationals are the scalings x_i -> s_i^p x_i with positive s_i that no operation notices; the solutions modulo 2 are the
sign flips.  A solution of both kinds is a monomial action.  Where every relation holds in any basis (nothing but sums
and products touched the space), invertible matrices act.

Relations are eliminated one by one, each variable bound to an expression in those that stay free, as in union-find:
nearly all relations say "equal" or "zero", so expressions stay short.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from graphws.graph import Action
from graphws_converters.algebra.dims import Dim, leaves, normal, order_of
from graphws_converters.algebra.tensors import Abstract, Leg, Relation
from graphws_converters.analysis.engine import Engine

Place = tuple[Leg, int]
"""A leaf of a leg: which, and its position among the leaves."""
Expression = dict[Place, Fraction]
ZERO = Fraction(0)


@dataclass(frozen=True, eq=False)
class Powers:
    """The rich action of one atom.

    Attributes:
        action: What may act.
        powers: The power of each place of a parameter; 0 where none is given.
        dimension: How many independent scalings (or, without any, sign flips) there are; one is represented.
    """

    action: Action = Action.PERMUTATION
    powers: Mapping[Place, int] = field(default_factory=dict)
    dimension: int = 0


@dataclass(eq=False)
class _System:
    """Linear equations over the rationals, or modulo 2."""

    modulus: Literal[0, 2]
    bound: dict[Place, Expression] = field(default_factory=dict)

    def reduce(self, expression: Expression) -> Expression:
        """The expression in free variables."""
        out: Expression = {}
        for place, factor in expression.items():
            if place in self.bound:
                inner = self.bound[place]
                if any(variable in self.bound for variable in inner):
                    inner = self.bound[place] = self.reduce(inner)
            else:
                inner = {place: Fraction(1)}
            for variable, value in inner.items():
                total = out.get(variable, ZERO) + factor * value
                out[variable] = total % 2 if self.modulus else total
        return {variable: value for variable, value in out.items() if value}

    def zero(self, expression: Expression) -> None:
        """Demands that the expression vanishes."""
        rest = self.reduce({p: f % 2 if self.modulus else f for p, f in expression.items()})
        if rest:
            place = next(iter(rest))
            factor = rest.pop(place)
            self.bound[place] = {variable: -value / factor for variable, value in rest.items()}
            if self.modulus:
                self.bound[place] = {variable: value % 2 for variable, value in self.bound[place].items()}


def solve_powers(engine: Engine, parameters: Iterable[Abstract]) -> dict[Dim, Powers]:
    """The rich action of every atom of the parameters that is not free."""
    scales, signs = _System(0), _System(2)
    crooked: set[Dim] = set()
    for relation in engine.relations:
        columns = _aligned(relation)
        if columns is None:
            columns = [[(1, place)] for place in _places(relation)]
        linear = relation.linear and columns is not None and all(len(column) > 1 for column in columns)
        for column in columns:
            expression: Expression = {}
            for factor, place in column:
                expression[place] = expression.get(place, ZERO) + factor
            if relation.scope in ("both", "scale"):
                scales.zero(expression)
            if relation.scope in ("both", "sign"):
                signs.zero(expression)
            if not linear:
                crooked |= {_atom(place) for _, place in column}
    found: dict[Dim, list[Place]] = {}
    wide: set[Leg] = set()
    for parameter in parameters:
        axes = [leg for leg in parameter.legs if leg.size > 1]
        wide |= set(axes) if len(axes) > 1 else set()
        for leg in axes:
            for k, atom in enumerate(leaves(leg.dim)):
                if not atom.free:
                    found.setdefault(atom, []).append((leg, k))
    written = set(engine.written)
    return {
        atom: _choose(places, scales, signs, atom not in crooked, [p for p in places if p[0] in written], wide)
        for atom, places in found.items()
    }


def _atom(place: Place) -> Dim:
    return leaves(place[0].dim)[place[1]]


def _movable(leg: Leg) -> list[Place]:
    return [(leg, k) for k, atom in enumerate(leaves(leg.dim)) if not atom.free]


def _places(relation: Relation) -> list[Place]:
    return [place for _, legs in relation.terms for leg in legs for place in _movable(leg)]


def _aligned(relation: Relation) -> list[list[tuple[int, Place]]] | None:
    """One equation for each leaf; None where the terms are made of different atoms."""
    if relation.order is not None:
        return _by_element(relation, relation.order)
    rows = [[place for leg in legs for place in _movable(leg)] for _, legs in relation.terms]
    kinds = [[_atom(place) for place in row] for row in rows]
    if any(kind != kinds[0] for kind in kinds):
        return None
    factors = [factor for factor, _ in relation.terms]
    return [list(zip(factors, column, strict=True)) for column in zip(*rows, strict=True)]


def _by_element(relation: Relation, order: Sequence[int]) -> list[list[tuple[int, Place]]]:
    """Equations between an axis and some of its elements in another sequence; what counts copies cannot be scaled."""
    (one, (whole,)), (other, (taken,)) = relation.terms
    before, after = _of_elements(whole.dim, whole), _of_elements(taken.dim, taken)
    pairs = dict.fromkeys((before[k], after[j]) for j, k in enumerate(order))
    equations: dict[tuple[tuple[int, Place], ...], None] = {}
    for first, second in pairs:
        held, told = [[place for place in places if not _atom(place).free] for places in (first, second)]
        for place in told:
            atom = _atom(place)
            same = [candidate for candidate in held if _atom(candidate) is atom]
            alone = len(same) == 1 and sum(_atom(p) is atom for p in told) == 1
            equations[((one, same[0]), (other, place)) if alone else ((other, place),)] = None
            if not alone:
                equations |= {((one, candidate),): None for candidate in same}
        for place in held:
            if not any(_atom(place) is _atom(p) for p in told):
                equations[((one, place),)] = None
    return [list(equation) for equation in equations]


def _of_elements(dim: Dim, leg: Leg, at: int = 0) -> list[tuple[Place, ...]]:
    """For each element of a dim the leaves that index it, as places of the leg."""
    shape, items = normal(dim)
    if shape == "atom":
        return [((leg, at),) if dim.size > 1 else ()] * dim.size
    if shape == "reordered":
        base, order = order_of(dim)
        rows = _of_elements(base, leg, at)
        return [rows[k] for k in order]
    inside = []
    for item in items:
        inside.append(_of_elements(item, leg, at))
        at += len(leaves(item))
    if shape == "sum":
        return [row for rows in inside for row in rows]
    return [tuple(p for row in chosen for p in row) for chosen in itertools.product(*inside)]


def _choose(
    places: list[Place], scales: _System, signs: _System, linear: bool, written: list[Place], wide: set[Leg]
) -> Powers:
    """The largest action; of several of one kind the one that moves the most axes of weights."""

    def moved(solution: Expression) -> tuple[int, int]:
        axes = [place for place in places if solution.get(place)]
        return sum(place[0] in wide for place in axes), -len(axes)

    scaling = _solutions(scales, places)
    flips = _solutions(signs, places)
    if scaling:
        best = max(scaling, key=moved)
        powers = _whole(best, places, written)
        if linear and all(abs(powers.get(place, 0)) == 1 for place in places):
            return Powers(Action.LINEAR, powers, len(scaling))
        odd = {place: Fraction(power % 2) for place, power in powers.items()}
        both = any(odd.values()) and _solves(signs, places, odd)
        return Powers(Action.MONOMIAL if both else Action.SCALING, powers, len(scaling))
    if flips:
        best = max(flips, key=moved)
        return Powers(Action.SIGNED, {place: int(power) for place, power in best.items()}, len(flips))
    return Powers()


def _solutions(system: _System, places: list[Place]) -> list[Expression]:
    """A basis of the solutions, as the power of each place, and where there are several their sum too."""
    columns = {place: system.reduce({place: Fraction(1)}) for place in places}
    generators = dict.fromkeys(variable for column in columns.values() for variable in column)
    basis = [{place: column.get(g, ZERO) for place, column in columns.items()} for g in generators]
    if len(basis) > 1:
        total = {place: sum((solution[place] for solution in basis), ZERO) for place in places}
        basis.append({p: v % 2 for p, v in total.items()} if system.modulus else total)
    return [solution for solution in basis if any(solution.values())]


def _solves(system: _System, places: list[Place], candidate: Expression) -> bool:
    """Whether powers obey all relations of a system: they are determined by the free variables among them."""
    columns = [(candidate.get(place, ZERO), system.reduce({place: Fraction(1)})) for place in places]
    rows = _System(system.modulus)
    one: Place = (Leg(Dim(1)), 0)
    for value, column in columns:
        rows.zero({**column, one: -value})
    return one not in rows.bound  # bound to 0 means that the demands contradict each other


def _whole(solution: Expression, places: list[Place], written: list[Place]) -> dict[Place, int]:
    """The smallest whole multiple whose first written axis has a positive power."""
    common = math.lcm(*(value.denominator for value in solution.values()))
    whole = {place: int(value * common) for place, value in solution.items()}
    divisor = math.gcd(*whole.values()) or 1
    leading = next((whole[p] for p in [*written, *places] if whole.get(p)), 1)
    return {place: value // divisor * (1 if leading > 0 else -1) for place, value in whole.items()}
