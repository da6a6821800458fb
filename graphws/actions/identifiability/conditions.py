"""The conditions of the theorems, measured: is anything inactive, redundant, or of deficient rank?

All theorems of paper I's list ask for a network without submodels: every neuron is written and read, and no two of a
layer have rows that agree up to an allowed factor; no two heads could be one, and matrices have full rank.  The figures
are those that a reduction compares with its tolerance (see `graphws.actions.reduction.tolerance`), so "holds" means
"by how much".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.reduction.constants import constant_figures, layer_of
from graphws.actions.reduction.heads import head_figures, heads_of
from graphws.actions.reduction.rank import own_places, rank_table
from graphws.actions.reduction.rules import Distances, duplicate_figures, inactive_figures
from graphws.actions.reduction.slices import Tensors, places
from graphws.graph import Action, NetworkGraph, Space
from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class Condition(Shown):
    """One condition in one space.

    Args:
        space: The space.
        name: For neurons and channels ``read``, ``not constant`` (``written`` where constants cannot be told) and
            ``not parallel``; for heads ``not alike``; for linear spaces ``full rank``.
        figure: The smallest relative figure of the space's elements.
        threshold: Above which it holds.
        failing: How many elements, or dimensions, fail it.
    """

    space: str
    name: str
    figure: float
    threshold: float
    failing: int

    @property
    def holds(self) -> bool:
        """Whether nothing fails."""
        return self.failing == 0


def conditions(graph: NetworkGraph, tensors: Tensors, threshold: float) -> list[Condition]:
    """The conditions of every space that moves, in the order of the graph."""
    heads = {found.space: found for found in heads_of(graph)}
    found = []
    for space in graph.spaces:
        if not space.moves:
            continue
        if space.name in heads:
            figures = {"not alike": head_figures(graph, tensors, heads[space.name])}
        elif space.action is Action.LINEAR:
            figures = _rank(graph, tensors, space)
        elif space.parent is None and not _apart(graph, space):
            figures = _neurons(graph, tensors, space)
        else:
            continue
        for name, x in figures.items():
            least = float(x.min()) if len(x) else float("inf")
            found.append(Condition(space.name, name, least, threshold, int((x <= threshold).sum())))
    return found


def _neurons(graph: NetworkGraph, tensors: Tensors, space: Space) -> dict[str, Tensor]:
    where, layer = places(graph, space.name), layer_of(graph, space.name)
    unread, silent = inactive_figures(tensors, where, space.size)
    written = {"written": silent} if layer is None else {"not constant": constant_figures(layer, tensors)}
    distances = Distances(tensors, where, space.size, space.action)
    apart = {"not parallel": duplicate_figures(distances, space.size)} if distances.blocks else {}
    return {"read": unread, **written, **apart}


def _apart(graph: NetworkGraph, space: Space) -> bool:
    """Whether some parameter keeps what belongs to an element on two axes, so that it is no slice."""
    axes = [axis for parameter in graph.parameters for axis in parameter.axes if axis.inner]
    return any(graph.lineage(axis.space)[0].name == space.name for axis in axes)


def _rank(graph: NetworkGraph, tensors: Tensors, space: Space) -> dict[str, Tensor]:
    """For each dimension of each parent the smaller of the singular values on its two sides."""
    if any(axis.inner and axis.space == space.name for p in graph.parameters for axis in p.axes):
        return {}
    sides = {place.written for place in own_places(graph, space.name)}
    if sides != {True, False}:
        return {}
    written, read = (rank_table(graph, tensors, space.name, side) for side in (True, False))
    return {"full rank": torch.minimum(written, read).flatten()}
