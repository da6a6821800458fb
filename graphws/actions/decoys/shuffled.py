"""Decoys: groups that the network has no reason to know, against which every figure is read.

A network of many neurons has a good match for almost any image of a neuron, in deep layers above all: a cosine of 0.9
says nothing by itself.  So the same search is made for decoys that act on the same numbers: the group conjugated by a
random permutation of pixels (the same order, relations and output representation), and, for pictures, other moves.

A decoy must be wrong.  On few numbers a random conjugate is often the group itself (of the three ways to pair four
numbers off, one is), and a network must not be blamed for knowing that; so no element of a decoy may do to inputs what
an element of the group does, and of several draws those that differ most are taken.  Where there is no other group of
the kind, there are fewer decoys.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from graphws.actions.groups.moves import PICTURES
from graphws.actions.groups.symmetry import DataSymmetry, close, is_identity
from graphws.graph import Monomial
from graphws.graph.element import SpaceElement, compose

_MOVES = ("mirror", "flip", "rotations-2", "transpose")
_DRAWS = 8
"""Random conjugates of which one decoy is picked."""


def decoys(
    symmetry: DataSymmetry, shape: Sequence[int], *, count: int, generator: torch.Generator, patch: int = 1
) -> list[DataSymmetry]:
    """Up to `count` decoys of a group: moves of pictures first (for a group of order 2), then random conjugates.

    Inputs with tokens are conjugated by a permutation of whole tokens or of their features, and pictures that a network
    cuts into patches by one of whole patches, so a decoy fits the same networks.

    Args:
        symmetry: The group.
        shape: Shape of one input.
        count: How many.
        generator: Source of the random permutations.
        patch: Side of the patches that the network cuts pictures into; 1 where it does not.
    """
    found: list[DataSymmetry] = []
    same_output = same_action(symmetry.input, symmetry.output)
    invariant = all(is_identity(element) for element in symmetry.output)
    if len(shape) == 3 and symmetry.order == 2 and (same_output or invariant):
        for name in _MOVES:
            if PICTURES[name].square and shape[-1] != shape[-2]:
                continue
            maps = PICTURES[name].on(tuple(shape))
            move = next(iter(maps.values()))
            if len(found) + 1 < count and overlap(symmetry.input, [move]) < 1:
                output = "same" if same_output else "invariant"
                found.append(close(name, dict(maps), output, outputs=symmetry.output[0].size))
    for number in range(1, count - len(found) + 1):
        draws = [_conjugate(symmetry, _shuffle(symmetry, shape, generator, patch)) for _ in range(_DRAWS)]
        shared = [overlap([*symmetry.input, *_moving(found)], inputs[1:]) for inputs in draws]
        best = min(range(_DRAWS), key=shared.__getitem__)
        if shared[best] == 1:
            break
        outputs = draws[best] if same_output else symmetry.output
        name = f"{symmetry.name}, inputs shuffled" + (f" ({number})" if number > 1 else "")
        found.append(DataSymmetry(name, symmetry.words, symmetry.table, symmetry.generators, draws[best], outputs))
    return found


def overlap(group: Sequence[SpaceElement], others: Sequence[SpaceElement]) -> float:
    """How near any of `others` comes to a non-identity of the group: the share of the moved numbers moved alike."""
    return max((_alike(a, b) for a in group[1:] for b in others), default=0.0)


def _alike(first: SpaceElement, second: SpaceElement) -> float:
    if isinstance(first, Monomial) and isinstance(second, Monomial):
        rows = torch.arange(first.size)
        scales = [torch.ones(first.size) if x.scale is None else x.scale for x in (first, second)]
        same = (first.perm == second.perm) & (scales[0] == scales[1])
        moved = (first.perm != rows) | (second.perm != rows) | (scales[0] != 1) | (scales[1] != 1)
        return float(same[moved].double().mean()) if bool(moved.any()) else 1.0
    return 1.0 if _close(first, second) else 0.0


def _moving(found: Sequence[DataSymmetry]) -> list[SpaceElement]:
    return [element for decoy in found for element in decoy.input[1:]]


def _conjugate(symmetry: DataSymmetry, perm: torch.Tensor) -> tuple[SpaceElement, ...]:
    shuffle = Monomial(perm)
    return tuple(compose(compose(shuffle, element), shuffle.inverse()) for element in symmetry.input)


def _shuffle(symmetry: DataSymmetry, shape: Sequence[int], generator: torch.Generator, patch: int = 1) -> torch.Tensor:
    """A random permutation of an input: pixels or patches for pictures (alike in all channels), features for tokens.

    A group that moves channels only commutes with all permutations of pixels, so numbers are mixed across channels.
    """
    size = math.prod(shape)
    if len(shape) == 3 and (patch > 1 or any(_moves_pixels(element, shape) for element in symmetry.input)):
        channels, rows, columns = shape[0], shape[1] // patch, shape[2] // patch
        grid = torch.arange(size).reshape(channels, rows, patch, columns, patch).permute(1, 3, 0, 2, 4)
        order = torch.randperm(rows * columns, generator=generator)
        mixed = grid.flatten(0, 1)[order].reshape(rows, columns, channels, patch, patch)
        return mixed.permute(2, 0, 3, 1, 4).flatten()
    if len(shape) == 2:
        table = torch.arange(size).reshape(tuple(shape))
        tokens = any(_moves_tokens(element, shape) for element in symmetry.input)
        order = torch.randperm(shape[0] if tokens else shape[1], generator=generator)
        return (table[order] if tokens else table[:, order]).flatten()
    return torch.randperm(size, generator=generator)


def _moves_pixels(element: SpaceElement, shape: Sequence[int]) -> bool:
    if not isinstance(element, Monomial):
        return True
    pixels = shape[1] * shape[2]
    return bool((element.perm % pixels != torch.arange(element.size) % pixels).any())


def _moves_tokens(element: SpaceElement, shape: Sequence[int]) -> bool:
    if not isinstance(element, Monomial):
        return False
    return bool((element.perm // shape[1] != torch.arange(element.size) // shape[1]).any())


def same_action(first: Sequence[SpaceElement], second: Sequence[SpaceElement]) -> bool:
    """Whether a group acts in the same way on two spaces."""
    return all(a.size == b.size and _close(a, b) for a, b in zip(first, second, strict=True))


def _close(first: SpaceElement, second: SpaceElement) -> bool:
    if isinstance(first, Monomial) and isinstance(second, Monomial) and first.scale is None and second.scale is None:
        return torch.equal(first.perm, second.perm)
    return torch.allclose(first.matrix(), second.matrix())
