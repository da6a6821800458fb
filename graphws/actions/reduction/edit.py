"""Taking elements out of a set: what read a duplicate reads its original; the rest is cut off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from graphws.actions.reduction.maps import Step
from graphws.actions.reduction.shrink import resized
from graphws.actions.reduction.slices import Tensors, family, places, put, slices
from graphws.graph import NetworkGraph


def merged(graph: NetworkGraph, tensors: Tensors, space: str, steps: Mapping[int, Step]) -> dict[str, torch.Tensor]:
    """The parameters in which nothing reads the elements `steps`: a duplicate's columns are added to its original's,
    times the factor of its output, and those of all that go are zero."""
    elements, edited = graph.space(space).size, dict(tensors)
    for place in places(graph, space):
        if not place.written:
            rows = slices(edited, place, elements).clone()
            for j, step in steps.items():
                if step.copies is not None:
                    rows[step.copies] += rows[j] * step.scale**-place.power
            rows[sorted(steps)] = 0.0
            edited[place.parameter] = put(edited, place, rows)
    return edited


def remove(
    graph: NetworkGraph, tensors: Tensors, space: str, steps: Mapping[int, Step]
) -> tuple[NetworkGraph, dict[str, torch.Tensor]]:
    """The graph and the parameters without the elements `steps` of the set `space`, which nothing reads.

    Law: the function stays, unless steps of the computation count the elements.
    """
    elements, edited = graph.space(space).size, dict(tensors)
    keep = torch.tensor([j for j in range(elements) if j not in steps])
    smaller = resized(graph, replace(graph.space(space), size=len(keep)))
    for place in places(graph, space):
        extent = graph.extent(place.space)
        edited[place.parameter] = edited[place.parameter].index_select(place.axis, family(keep, elements, extent))
    return smaller, edited
