"""The figures that a tolerance is chosen from: how nearly redundant everything is.

Each figure is the one that the rule itself compares with the tolerance, so a gap between them parts what the rule takes
from what it leaves.  They depend on one another: a neuron whose column was shared out among its copies looks nearly
unread until they are merged, and one that only dead neurons read looks alive until those are gone.  So
`graphws.actions.reduction.reduce` asks for them again as elements go.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.actions.reduction.constants import constant_figures, layer_of
from graphws.actions.reduction.heads import head_figures, heads_of
from graphws.actions.reduction.rank import rank_figures
from graphws.actions.reduction.rules import Distances, duplicate_figures, inactive_figures
from graphws.actions.reduction.slices import Tensors, places
from graphws.graph import NetworkGraph

RULES = ("inactive", "duplicate", "head", "rank")


def figures(rule: str, graph: NetworkGraph, tensors: Tensors, name: str) -> Tensor:
    """The relative figures of one rule in one space, in a row; none where the rule has nothing to look at.

    Args:
        rule: One of `RULES`.
        graph: The network as it is now.
        tensors: Its parameters.
        name: The space: a set for ``inactive`` and ``duplicate``, a set of heads for ``head``, a linear one for
            ``rank``.
    """
    none = torch.zeros(0, dtype=torch.float64)
    space = graph.space(name)
    if rule == "head":
        return next((head_figures(graph, tensors, heads) for heads in heads_of(graph) if heads.space == name), none)
    if rule == "rank":
        return torch.cat([rank_figures(graph, tensors, name, written) for written in (True, False)])
    where = places(graph, name)
    if rule == "duplicate":
        distances = Distances(tensors, where, space.size, space.action)
        return duplicate_figures(distances, space.size) if distances.blocks else none
    unread, silent = inactive_figures(tensors, where, space.size)
    layer = layer_of(graph, name)
    return torch.minimum(unread, silent if layer is None else constant_figures(layer, tensors))
