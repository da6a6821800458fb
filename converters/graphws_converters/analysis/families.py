"""Families inside a free space: sets that belong to single elements of it, so that each has a symmetry of its own.

Head dimensions whose heads are told apart (ALiBi gives each head a slope) and the channels of a group whose groups are
told apart may still be permuted in each head, or group, on their own.  A free space cannot be the parent of a nested
one, for its elements never change places; so each gets a set of its own, and the tensors are cut into blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphws_converters.algebra.dims import Dim, atoms
from graphws_converters.algebra.tensors import Abstract
from graphws_converters.analysis.blocks import MOST_BLOCKS, StoredBlock, blocks, columns
from graphws_converters.analysis.wreath import Companions

MOST_FAMILIES = 128
"""How many elements of a free space get sets of their own."""


def take_apart(
    parameters: Sequence[Abstract], companions: Companions, movable: Sequence[Dim]
) -> tuple[list[list[StoredBlock]], dict[Dim, Dim]]:
    """The blocks of each stored tensor, cut so that families inside free spaces are sets of their own.

    Law: a family is taken apart only where each block that holds it belongs to one element of the free space.

    Args:
        parameters: The stored tensors.
        companions: For each atom those that are known wherever it is.
        movable: The atoms that may be taken apart: not free, neither nested nor parents.

    Returns:
        tuple: For each tensor its blocks; and for each new atom the one that it is a copy of.
    """
    hosts = {atom: host for atom in movable for host in [_host(companions.get(atom, set()))] if host is not None}
    while True:
        found = [_blocks(parameter, hosts) for parameter in parameters]
        refused = {
            atom
            for parameter, made in zip(parameters, found, strict=True)
            for atom in _atoms(parameter) & hosts.keys()
            if made is None or any(not _tells(block, atom, hosts[atom]) for block in made)
        }
        if not refused:
            break
        hosts = {atom: host for atom, host in hosts.items() if atom not in refused}
    copies = {atom: [Dim(atom.size, label=atom.label) for _ in range(host.size)] for atom, host in hosts.items()}
    renamed = [[_renamed(block, hosts, copies) for block in made or []] for made in found]
    return renamed, {copy: atom for atom, made in copies.items() for copy in made}


def _host(candidates: set[Dim]) -> Dim | None:
    """The largest free atom that tells families apart; None where there is none, or too many elements."""
    free = [atom for atom in candidates if atom.free and 1 < atom.size <= MOST_FAMILIES]
    return max(free, key=lambda atom: atom.size, default=None)


def _blocks(parameter: Abstract, hosts: Mapping[Dim, Dim]) -> list[StoredBlock] | None:
    """The blocks of one tensor; None where they would be too many."""
    apart = {hosts[atom] for atom in _atoms(parameter) if atom in hosts}
    runs = [rows for leg in parameter.legs for rows in columns(leg)[1]]
    count = math.prod(sum(len(run.apart(apart)) for run in row) for row in runs)
    return blocks(parameter, apart) if count <= MOST_BLOCKS else None


def _atoms(parameter: Abstract) -> set[Dim]:
    return {atom for leg in parameter.legs for atom in atoms(leg.dim)}


def _tells(block: StoredBlock, atom: Dim, host: Dim) -> bool:
    """Whether a block holds nothing of the atom, or one element of its host."""
    places = [k for k, column in enumerate(block.atoms) if any(a is atom for a, _ in column)]
    return all(block.element(k, host) is not None for k in places)


def _renamed(block: StoredBlock, hosts: Mapping[Dim, Dim], copies: Mapping[Dim, Sequence[Dim]]) -> StoredBlock:
    """The block with each family's own atom."""

    def own(atom: Dim, column: int) -> Dim:
        element = block.element(column, hosts[atom]) if atom in hosts else None
        return atom if element is None else copies[atom][element]

    atoms = (tuple((own(a, k), place) for a, place in column) for k, column in enumerate(block.atoms))
    return replace(block, atoms=tuple(atoms))
