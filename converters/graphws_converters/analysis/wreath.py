"""Nesting: which atoms may be permuted anew for every element of another.

Head dimensions may be permuted in each head on their own if and only if the head is known wherever the dimension is:
every tensor that carries the dimension carries the head, and no operation looks across heads at one dimension.  The
second condition is what the engine's barriers say: the set of dims that an operation holds fixed while it mixes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from graphws_converters.algebra.choices import Told
from graphws_converters.algebra.dims import Dim, atoms, normal
from graphws_converters.algebra.tensors import Abstract
from graphws_converters.analysis.interpreter import Analysis

Companions = dict[Dim, set[Dim]]


def companions_of(analysis: Analysis) -> Companions:
    """For each atom those that are known wherever it is: in every tensor, and in what every mixing holds fixed."""
    companions: dict[Dim, set[Dim]] = {}
    seen: set[frozenset[int]] = set()
    parameters = (x for key in analysis.parameters for x in analysis.parts(key))
    tensors = [*parameters, *analysis.engine.tensors]
    groups: Iterable[tuple[Sequence[Dim], Sequence[Told]]] = [
        *((x.dims, _told(x)) for x in tensors),
        *(([*x.dims, x.index], ()) for x in tensors if x.index is not None),
        *((dims, ()) for dims in analysis.engine.barriers),
    ]
    for dims, told in groups:
        key = frozenset(id(dim) for dim in dims)
        if key in seen and len(key) == len(dims) and not told:
            continue
        if not told:
            seen.add(key)
        for atom, others in _companions(dims, told).items():
            companions[atom] = companions[atom] & others if atom in companions else others
    for dim, host in analysis.engine.strangers:
        for atom in atoms(dim):
            companions[atom] = companions.get(atom, set()) - set(atoms(host))
    return companions


def nesting(companions: Companions, movable: Sequence[Dim]) -> dict[Dim, Dim]:
    """For each atom that may be nested, its parent; the largest group where there is a choice.

    Args:
        companions: For each atom those that are known wherever it is.
        movable: The atoms of the parameters that are not free, in order.
    """
    order = {atom: k for k, atom in enumerate(movable)}
    candidates = {
        atom: {p for p in companions.get(atom, ()) if p in order and not _mutual(atom, p, companions, order)}
        for atom in movable
    }
    parents: dict[Dim, Dim] = {}
    for atom in sorted(movable, key=lambda a: (len(candidates[a]), order[a])):
        fitting = [p for p in candidates[atom] if _lineage(p, parents) <= candidates[atom] | {p}]
        if fitting:
            parents[atom] = max(fitting, key=lambda p: (_extent(p, parents), -order[p]))
    return parents


def _mutual(atom: Dim, other: Dim, companions: Companions, order: dict[Dim, int]) -> bool:
    """Of two atoms that always meet, only the larger is nested in the smaller."""
    if atom not in companions.get(other, ()):
        return False
    return (atom.size, order[atom]) < (other.size, order[other])


def _lineage(atom: Dim, parents: dict[Dim, Dim]) -> set[Dim]:
    found = {atom}
    while atom in parents:
        atom = parents[atom]
        found.add(atom)
    return found


def _extent(atom: Dim, parents: dict[Dim, Dim]) -> int:
    return math.prod(a.size for a in _lineage(atom, parents))


def _told(x: Abstract) -> Sequence[Told]:
    """What indices tell along the axes of a tensor; an index tells itself along those on which it is constant."""
    if x.index is None or x.choice is None:
        return x.told
    return [*x.told, *(Told(k, x.index, x.choice) for k in range(len(x.legs)))]


def _companions(dims: Sequence[Dim], told: Sequence[Told] = ()) -> dict[Dim, set[Dim]]:
    """For each atom of a tensor the atoms whose index is known wherever the atom's is.

    An atom that is known in two ways, by two axes or by an axis and an index, does not tell which of them counts.
    """
    whole = [_certain(dim) for dim in dims]
    found: dict[Dim, set[Dim]] = {}
    for k, dim in enumerate(dims):
        hosts = [_certain(t.host) for t in told if t.axis == k and t.choice.places[k] is None]
        ways = Counter(atom for w in [*whole, *hosts] for atom in w)
        _walk(dim, {atom for j, w in enumerate([*whole, *hosts]) if j != k for atom in w if ways[atom] == 1}, found)
    return found


def _certain(dim: Dim) -> set[Dim]:
    """Atoms that index every element of an axis: itself, or the factors of a product."""
    shape, items = normal(dim)
    if shape == "atom":
        return {items[0]} if items[0].size > 1 else set()
    return set().union(*(_certain(item) for item in items)) if shape in ("product", "reordered") else set()


def _walk(dim: Dim, known: set[Dim], found: dict[Dim, set[Dim]]) -> None:
    shape, items = normal(dim)
    if shape == "atom":
        if items[0].size > 1:
            here = known - {items[0]}
            found[items[0]] = found[items[0]] & here if items[0] in found else here
        return
    for k, item in enumerate(items):
        beside = [_certain(other) for j, other in enumerate(items) if j != k] if shape == "product" else []
        _walk(item, known.union(*beside), found)
