"""Where a space occurs in the parameters, and one slice for each of its elements.

An element of a set (a neuron, a channel, a head) owns one slice of every axis that the set labels.  Slices of axes of
power p ≥ 0 are *written*: they make the element's value (rows, biases, norm parameters).  Slices of axes of power p < 0
are *read*: they use it (columns of the next weight), and so are some of power 0
(`graphws.actions.reduction.reading`).  An axis of a child space belongs to its root: an element of the
root owns the whole family of its children.  The keys of a head have a negative power, because they undo what a matrix
does to its queries, but nothing of the head leaves through them: they are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.reduction.reading import reading
from graphws.graph import Action, NetworkGraph, Parameter

Tensors = Mapping[str, Tensor]
"""For each parameter its tensor, without a batch axis."""


@dataclass(frozen=True)
class Place:
    """One axis of a parameter that a space labels.

    Args:
        parameter: Name of the parameter.
        axis: Position of the axis.
        power: How the axis follows the action.
        space: The space that labels it: the set itself, or one nested in it.
        inside: Whether nothing leaves the element through it, though its power is negative (keys of a head).
        reads: Whether it uses the element's value, though its power is 0.
    """

    parameter: str
    axis: int
    power: int
    space: str
    inside: bool = False
    reads: bool = False

    @property
    def written(self) -> bool:
        """Whether its slices make the element's value, rather than use it."""
        return (self.power >= 0 and not self.reads) or self.inside


def places(graph: NetworkGraph, root: str) -> list[Place]:
    """Every axis that the set `root`, or a space nested in it, labels; those along which one parent's children stand
    keep their length when parents go, and are left out."""
    reads = reading(graph)
    return [
        Place(
            parameter.name, k, axis.power, axis.space, _inside(graph, parameter, k, root), (parameter.name, k) in reads
        )
        for parameter in graph.parameters
        for k, axis in enumerate(parameter.axes)
        if not axis.inner and graph.lineage(axis.space)[0].name == root
    ]


def leaves(graph: NetworkGraph, parameter: Parameter, root: str) -> bool:
    """Whether a parameter writes into a space that does not belong to the set `root`."""
    return any(axis.power >= 0 and graph.lineage(axis.space)[0].name != root for axis in parameter.axes)


def _inside(graph: NetworkGraph, parameter: Parameter, k: int, root: str) -> bool:
    axis = parameter.axes[k]
    linear = axis.space != root and graph.space(axis.space).action is Action.LINEAR
    return axis.power < 0 and linear and not leaves(graph, parameter, root)


def slices(tensors: Tensors, place: Place, elements: int) -> Tensor:
    """(elements, numbers of each): the slices of one place."""
    return tensors[place.parameter].movedim(place.axis, 0).reshape(elements, -1)


def put(tensors: Tensors, place: Place, rows: Tensor) -> Tensor:
    """The parameter's tensor with the slices `rows` at the place; the inverse of `slices`."""
    shape = tensors[place.parameter].movedim(place.axis, 0).shape
    return rows.reshape(shape).movedim(0, place.axis)


def family(keep: Tensor, elements: int, extent: int) -> Tensor:
    """Positions along an axis of length `extent` of the families of the elements `keep`.

    >>> family(torch.tensor([0, 2]), 3, 6).tolist()
    [0, 1, 4, 5]
    """
    size = extent // elements
    return (keep.unsqueeze(1) * size + torch.arange(size, device=keep.device)).flatten()
