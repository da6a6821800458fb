"""Decoys: groups that the network has no reason to know, against which every figure is read.

A network of many neurons has a good match for almost any image of a neuron, in deep layers above all: a cosine of 0.9
says nothing by itself.  So the same search is made for decoys that act on the same numbers: the group conjugated by a
random permutation of pixels (the same order, relations and output representation), and, for pictures, other moves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from graphws.actions.moves import PICTURES
from graphws.actions.symmetry import DataSymmetry, close
from graphws.graph import Monomial
from graphws.graph.element import SpaceElement, compose

_MOVES = ("mirror", "flip", "rotations-2", "transpose")


def decoys(
    symmetry: DataSymmetry, shape: Sequence[int], *, count: int, generator: torch.Generator
) -> list[DataSymmetry]:
    """Up to `count` decoys of a group: moves of pictures first (for a group of order 2), then random conjugates.

    Inputs with tokens are conjugated by a permutation of whole tokens' features, so a decoy fits the same networks.

    Args:
        symmetry: The group.
        shape: Shape of one input.
        count: How many.
        generator: Source of the random permutations.
    """
    found: list[DataSymmetry] = []
    same_output = _same(symmetry.input, symmetry.output)
    invariant = all(_is_identity(element) for element in symmetry.output)
    if len(shape) == 3 and symmetry.order == 2 and (same_output or invariant):
        for name in _MOVES:
            if PICTURES[name].square and shape[-1] != shape[-2]:
                continue
            maps = PICTURES[name].on(tuple(shape))
            move = next(iter(maps.values()))
            if len(found) + 1 < count and not _close(move, symmetry.input[1]):
                output = "same" if same_output else "invariant"
                found.append(close(name, dict(maps), output, outputs=symmetry.output[0].size))
    number = 0
    while len(found) < count:
        number += 1
        perm = _shuffle(symmetry, shape, generator)
        shuffle = Monomial(perm)
        inputs = tuple(compose(compose(shuffle, element), shuffle.inverse()) for element in symmetry.input)
        outputs = inputs if same_output else symmetry.output
        name = f"{symmetry.name}, inputs shuffled" + (f" ({number})" if number > 1 else "")
        found.append(DataSymmetry(name, symmetry.words, symmetry.table, symmetry.generators, inputs, outputs))
    return found


def _shuffle(symmetry: DataSymmetry, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """A random permutation of an input: pixels for pictures (the same in all channels), features for tokens."""
    size = math.prod(shape)
    if len(shape) == 3:
        table = torch.arange(size).reshape(shape[0], -1)
        return table[:, torch.randperm(table.shape[1], generator=generator)].flatten()
    if len(shape) == 2:
        table = torch.arange(size).reshape(tuple(shape))
        tokens = any(_moves_tokens(element, shape) for element in symmetry.input)
        order = torch.randperm(shape[0] if tokens else shape[1], generator=generator)
        return (table[order] if tokens else table[:, order]).flatten()
    return torch.randperm(size, generator=generator)


def _moves_tokens(element: SpaceElement, shape: Sequence[int]) -> bool:
    if not isinstance(element, Monomial):
        return False
    return bool((element.perm // shape[1] != torch.arange(element.size) // shape[1]).any())


def _same(first: Sequence[SpaceElement], second: Sequence[SpaceElement]) -> bool:
    return all(a.size == b.size and _close(a, b) for a, b in zip(first, second, strict=True))


def _close(first: SpaceElement, second: SpaceElement) -> bool:
    if isinstance(first, Monomial) and isinstance(second, Monomial) and first.scale is None and second.scale is None:
        return torch.equal(first.perm, second.perm)
    return torch.allclose(first.matrix(), second.matrix())


def _is_identity(element: SpaceElement) -> bool:
    return _close(element, Monomial(torch.arange(element.size)))
