"""Decoys for networks that convolve: other actions of the same group by moves of pictures and of their channels.

Pixels cannot be shuffled at random where kernels slide over them.  But the group may act in other ways by the eight
symmetries of a square and by permutations of three channels: any map of its generators there that respects the group's
table.  A mirror's decoys are a flip, a half turn, a transposition, or these and an exchange of two colours.

What moves pixels as the group does is no decoy, whatever it does to colours: behind the first layer a network that
knows the group knows that too.  So all eight symmetries of the square together have none here; see
`graphws.actions.decoys.taps`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from graphws.actions.decoys.shuffled import overlap, same_action
from graphws.actions.groups.grid_moves import SQUARE, grid_move
from graphws.actions.groups.moves import channel_permutation
from graphws.actions.groups.outputs import following
from graphws.actions.groups.picture_layout import picture_layout, picture_map
from graphws.actions.groups.placing import place
from graphws.actions.groups.symmetry import DataSymmetry, is_identity
from graphws.errors import UsageError
from graphws.graph import Monomial, NetworkGraph
from graphws.graph.element import SpaceElement, compose


def picture_decoys(
    graph: NetworkGraph, symmetry: DataSymmetry, shape: Sequence[int], *, count: int, generator: torch.Generator
) -> list[DataSymmetry]:
    """Up to `count` decoys of a group that acts on pictures, or on sequences.

    Args:
        graph: The picture graph of the network; what its kernels cannot follow is left out.
        symmetry: The group.
        shape: Shape of one input.
        count: How many.
        generator: Which of the possible ones are taken.
    """
    layout = picture_layout(graph, tuple(shape), graph.inputs[0])
    channels = layout.channels
    moves = _moves((channels, *layout.grid))
    same = same_action(symmetry.input, symmetry.output)
    known = {tuple(picture_map(layout.by_channel(element), channels)[0].tolist()) for element in symmetry.input}
    wrong = {
        name
        for name, element in moves.items()
        if tuple(picture_map(element, channels)[0].tolist()) not in known or is_identity(element)
    }
    names, keys = [name for name in moves if name in wrong], list(symmetry.generators)
    tried = list(itertools.product(names, repeat=len(keys)))
    found: list[DataSymmetry] = []
    for number in torch.randperm(len(tried), generator=generator).tolist():
        if len(found) == count:
            break
        images = {key: moves[name] for key, name in zip(keys, tried[number], strict=True)}
        inputs = _extended(symmetry, images)
        if inputs is None or all(is_identity(element) for element in inputs):
            continue
        places = {tuple(picture_map(e, channels)[0].tolist()) for e in inputs if not is_identity(e)}
        earlier = [layout.by_channel(e) for decoy in found for e in decoy.input if not is_identity(e)]
        if places & known or overlap([inputs[0], *earlier], inputs[1:]) == 1:
            continue
        name = ", ".join(f"{key} as {move}" for key, move in zip(keys, tried[number], strict=True))
        outputs = symmetry.output
        if not same:
            turns = [grid_move(picture_map(element, channels)[0], layout.grid) for element in inputs]
            try:
                outputs = following(graph, symmetry, tuple(shape), turns)
            except UsageError:  # outputs on a grid on which the decoy does not act
                continue
        inputs = tuple(layout.as_given(element) for element in inputs)
        outputs = inputs if same else outputs
        decoy = DataSymmetry(name, symmetry.words, symmetry.table, symmetry.generators, inputs, outputs)
        if _fits(graph, decoy, shape):
            found.append(decoy)
    return found


def _fits(graph: NetworkGraph, decoy: DataSymmetry, shape: Sequence[int]) -> bool:
    """Whether every kernel can follow: no quarter turn of one that is not square."""
    try:
        place(graph, decoy, tuple(shape))
    except UsageError:
        return False
    return True


def _moves(shape: tuple[int, int, int]) -> dict[str, Monomial]:
    """Every symmetry of the grid with every permutation of the first three channels, by name."""
    channels, height, width = shape
    table = torch.arange(channels * height * width).reshape(shape)
    found = {}
    for turn, move in SQUARE.items():
        moved = move(table)
        if moved.shape != table.shape:
            continue
        for order in itertools.permutations(range(min(channels, 3))):
            colours = channel_permutation([*order, *range(len(order), channels)], shape)
            plain = list(order) == sorted(order)
            name = turn if plain else f"{turn} and channels {','.join(map(str, order))}"
            found[name] = compose(colours, Monomial(moved.flatten()))
    return {name: element for name, element in found.items() if isinstance(element, Monomial)}


def _extended(symmetry: DataSymmetry, images: dict[str, Monomial]) -> tuple[SpaceElement, ...] | None:
    """The images of all elements when those of the generators are given; None where the table is not respected."""
    size = symmetry.input[0].size
    elements: list[Monomial | None] = [None] * symmetry.order
    elements[0], waiting = Monomial(torch.arange(size)), [0]
    while waiting:
        g = waiting.pop()
        here = elements[g]
        assert here is not None
        for key, index in symmetry.generators.items():
            place = int(symmetry.table[index, g])
            product = images[key].compose(here)
            known = elements[place]
            if known is None:
                elements[place] = product
                waiting.append(place)
            elif not torch.equal(known.perm, product.perm):
                return None
    return tuple(element for element in elements if element is not None)
