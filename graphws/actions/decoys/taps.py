"""Decoys for convolutional networks that know every move of pictures: the same group on scrambled kernels.

All eight symmetries of a square together leave no other move that kernels can follow, so no decoy acts on pictures.
But a decoy may act on weights alone: the group's maps of the taps of kernels, and of the pixels that a dense layer
reads, conjugated by a random permutation of them, π g π⁻¹.  Order, relations, channels and outputs stay; what is gone
is the geometry.  If channels can be matched as well when taps are scrambled, matching them says nothing.

It is a null in the strict sense: for kernels without structure both actions are alike in distribution, so figures that
differ come from what training has put there.  Two limits follow from its being no function of pictures:

* errors are those of weights, and must be read beside weight errors;
* it speaks about layers whose weights have taps or pixels.  Behind a 1 x 1 kernel nothing is scrambled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from graphws.actions.decoys.shuffled import overlap
from graphws.actions.groups.placing import Placed
from graphws.actions.pictures.joined_axes import grids
from graphws.graph import Monomial, NetworkGraph
from graphws.graph.element import SpaceElement

_DRAWS = 8
"""Scramblings of which the one that has least in common with the group is taken."""


def tap_decoys(graph: NetworkGraph, placed: Placed, *, count: int, generator: torch.Generator) -> list[Placed]:
    """Up to `count` decoys, for weights alone; none where no kernel has a tap to scramble.

    Law: each is an action of the same group, and none of its elements acts as one of the group's does.

    Args:
        graph: The picture graph of a network.
        placed: How the group acts on it.
        count: How many.
        generator: Source of the permutations.
    """
    sizes = {name: height * width for name, (height, width) in grids(graph).items() if height * width > 1}
    if not sizes:
        return []
    found: list[Placed] = []
    known = [_together(sizes, maps) for maps in placed.maps]
    for _ in range(count):
        draws = [_scrambled(placed, sizes, generator) for _ in range(_DRAWS)]
        shared = [overlap(known, [_together(sizes, maps) for maps in draw.maps[1:]]) for draw in draws]
        best = min(range(_DRAWS), key=shared.__getitem__)
        if shared[best] == 1:
            break
        found.append(draws[best])
        known += [_together(sizes, maps) for maps in draws[best].maps[1:]]
    return found


def scrambled_layers(graph: NetworkGraph) -> set[str]:
    """The spaces that weights with taps or pixels write: those that such decoys speak about."""
    sizes = {name: height * width for name, (height, width) in grids(graph).items()}
    return {
        axis.space
        for parameter in graph.parameters
        if any(sizes.get(name, 1) > 1 for name in parameter.spaces)
        for axis in parameter.axes
        if axis.power > 0
    }


def _scrambled(placed: Placed, sizes: Mapping[str, int], generator: torch.Generator) -> Placed:
    orders = {name: Monomial(torch.randperm(size, generator=generator)) for name, size in sizes.items()}
    maps: list[dict[str, SpaceElement]] = []
    for given in placed.maps:
        moved = dict(given)
        for name, order in orders.items():
            here = given[name]
            assert isinstance(here, Monomial)  # moves of pictures permute taps and pixels
            moved[name] = order.compose(here).compose(order.inverse())
        maps.append(moved)
    return replace(placed, maps=tuple(maps))


def _together(sizes: Mapping[str, int], maps: Mapping[str, SpaceElement]) -> Monomial:
    """An element on all taps and pixels, one space after the other."""
    parts, start = [], 0
    for name, size in sizes.items():
        here = maps[name]
        assert isinstance(here, Monomial)
        parts.append(here.perm + start)
        start += size
    return Monomial(torch.cat(parts))
