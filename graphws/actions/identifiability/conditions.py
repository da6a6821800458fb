"""The conditions of the theorems, measured: is anything inactive, redundant, or of deficient rank?

All theorems of paper I's list ask for a network without submodels: every neuron is written and read, and no two of a
layer have rows that agree up to an allowed factor.  The figures are relative (see
`graphws.actions.reduction.tolerance`), so "holds" means "by how much".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from graphws.actions.reduction.constants import Layer
from graphws.actions.reduction.rules import Distances, duplicate_figures, inactive_figures, typical
from graphws.actions.reduction.slices import Tensors, places
from graphws.graph import Action, NetworkGraph


@dataclass(frozen=True)
class Condition:
    """One condition in one layer.

    Args:
        space: The layer.
        name: ``read``, ``written``, ``not parallel``, ``not constant`` or ``full rank``.
        figure: The smallest relative figure of the layer's neurons.
        threshold: Above which it holds.
        failing: How many neurons, or dimensions, fail it.
    """

    space: str
    name: str
    figure: float
    threshold: float
    failing: int

    @property
    def holds(self) -> bool:
        """Whether no neuron fails."""
        return self.failing == 0


def conditions(graph: NetworkGraph, tensors: Tensors, space: str, layer: Layer, threshold: float) -> list[Condition]:
    """The conditions of one hidden layer of an MLP."""
    size, where = graph.space(space).size, places(graph, space)
    if graph.space(space).action is Action.LINEAR:
        return [_rank(tensors, space, layer, threshold)]
    unread, _ = inactive_figures(tensors, where, size)
    rows = tensors[layer.weight].norm(dim=1)
    relative = rows / typical(rows)
    apart = duplicate_figures(Distances(tensors, where, size, graph.space(space).action), size)
    figures = {"read": unread, "not constant": relative, "not parallel": apart}
    return [
        Condition(space, name, float(x.min()) if len(x) else float("inf"), threshold, int((x <= threshold).sum()))
        for name, x in figures.items()
    ]


def _rank(tensors: Tensors, space: str, layer: Layer, threshold: float) -> Condition:
    read = torch.cat([tensors[name] for name in layer.readers])
    values = torch.linalg.svdvals(read @ tensors[layer.weight])
    size = tensors[layer.weight].shape[0]
    figures = torch.nn.functional.pad(values, (0, max(0, size - len(values))))[:size] / values[0]
    return Condition(space, "full rank", float(figures.min()), threshold, int((figures <= threshold).sum()))
