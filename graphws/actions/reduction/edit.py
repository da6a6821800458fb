"""Taking elements out of a set: what read a duplicate reads its original, what read a constant gets it as a bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from graphws.actions.reduction.maps import Step
from graphws.actions.reduction.shrink import resized
from graphws.actions.reduction.slices import Tensors, family, places, put, slices
from graphws.graph import NetworkGraph

Folding = Mapping[str, str]
"""For each parameter that reads a space, the bias that takes over what a constant gave."""


def remove(
    graph: NetworkGraph, tensors: Tensors, space: str, steps: Mapping[int, Step], folding: Folding
) -> tuple[NetworkGraph, dict[str, Tensor]]:
    """The graph and the parameters without the elements `steps` of the set `space`.

    Law: where the steps are exact, the function stays: a duplicate's columns are added to its original's, times the
    factor of its output, and a constant's are multiplied out into the biases of its readers.
    """
    elements = graph.space(space).size
    edited = dict(tensors)
    for place in places(graph, space):
        if place.written:
            continue
        rows = slices(edited, place, elements).clone()
        for j, step in steps.items():
            if step.copies is not None:
                rows[step.copies] += rows[j] * step.scale**-place.power
        edited[place.parameter] = put(edited, place, rows)
        for j, step in steps.items():
            if step.reason == "constant" and step.value:
                bias = folding[place.parameter]
                edited[bias] = edited[bias] + rows[j].reshape(edited[bias].shape) * step.value
    keep = torch.tensor([j for j in range(elements) if j not in steps])
    smaller = resized(graph, replace(graph.space(space), size=len(keep)))
    for place in places(graph, space):
        extent = graph.extent(place.space)
        edited[place.parameter] = edited[place.parameter].index_select(place.axis, family(keep, elements, extent))
    return smaller, edited
