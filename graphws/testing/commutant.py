"""The commutant by brute force: every linear map that commutes with the group, found without knowing its form.

A linear map L from a tensor U to a tensor T is equivariant when ``L ρ(g) = ρ'(g) L`` for the generators g of G.  That
is a system of linear equations in the entries of L; its null space is the answer.  Nothing here uses patterns, keys or
orbits, so the count is independent of the layers that it checks (paper D, lemma E.1, proves what it must be).  The
price is dense linear algebra in (entries of U) × (entries of T) unknowns: for tiny graphs only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph import NetworkGraph

LARGEST = 2500
"""Unknowns above which a dense null space takes too long to be useful."""


def generators(graph: NetworkGraph) -> Iterator[dict[str, Tensor]]:
    """A generating set of G, each element as an index permutation of every space's extent.

    For each moving space a transposition and a cycle: among all elements of a set, or among the children of the first
    parent of a nested space (the parents' own generators carry them to every other parent).
    """
    for space in graph.spaces:
        if space.moves:
            for permutation in _symmetric(space.size):
                yield _element(graph, space.name, permutation)


def _symmetric(size: int) -> Iterator[Tensor]:
    """Generators of the permutations of `size` things."""
    if size >= 2:
        swapped = torch.arange(size)
        swapped[:2] = torch.tensor([1, 0])
        yield swapped
    if size >= 3:
        yield torch.arange(size).roll(1)


def _element(graph: NetworkGraph, moved: str, permutation: Tensor) -> dict[str, Tensor]:
    """The element that permutes one family of one space, children moving along with their parents."""
    element: dict[str, Tensor] = {}
    for space in graph.spaces:
        families = graph.extent(space.name) // space.size
        parents = element[space.parent] if space.parent is not None else torch.arange(families)
        children = torch.arange(space.size).repeat(families, 1)
        if space.name == moved:
            children[0] = permutation
        element[space.name] = (parents.unsqueeze(1) * space.size + children).flatten()
    return element


def representation(
    graph: NetworkGraph, parameter: str | None, element: Mapping[str, Tensor]
) -> Float[Tensor, "numel numel"]:
    """The matrix by which an element acts on the flattened parameter; the 1 × 1 identity for None."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    if parameter is not None:
        for space in graph.parameter(parameter).spaces:
            matrix = torch.kron(matrix, torch.eye(graph.extent(space), dtype=torch.float64)[:, element[space]])
    return matrix


def commutant(graph: NetworkGraph, source: str | None, target: str | None) -> Float[Tensor, "maps target source"]:
    """An orthonormal basis of all equivariant linear maps between two parameters.

    Law: ``basis[i] @ ρ(g) == ρ'(g) @ basis[i]`` for every g, and no map outside of the span has that property.  None
    stands for a plain number: from None come the equivariant biases of `target`, to None go the invariants of `source`.

    Raises:
        GraphError: Where the problem is too large to solve densely.
    """
    columns, rows = _numel(graph, source), _numel(graph, target)
    if rows * columns > LARGEST:
        pair = f"{source or 'a number'} -> {target or 'a number'}"
        raise GraphError(f"{pair}: {rows * columns} unknowns, brute force stops at {LARGEST}")
    normal = torch.zeros(rows * columns, rows * columns, dtype=torch.float64)
    for element in generators(graph):
        before, after = representation(graph, source, element), representation(graph, target, element)
        eye_rows, eye_columns = torch.eye(rows, dtype=torch.float64), torch.eye(columns, dtype=torch.float64)
        equations = torch.kron(eye_rows, before.T.contiguous()) - torch.kron(after, eye_columns)
        normal += equations.T @ equations
    values, vectors = torch.linalg.eigh(normal)
    basis: Tensor = vectors[:, values < 1e-9].T.reshape(-1, rows, columns)
    return basis


def _numel(graph: NetworkGraph, parameter: str | None) -> int:
    return 1 if parameter is None else math.prod(graph.shape(parameter))
