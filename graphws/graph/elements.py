"""Which element of its space each position along an axis is.

For an axis that runs over its whole space, position i is element i.  For an inner axis (``~h``) it depends on the
parent, which an earlier axis tells: child c of parent p is element ``p * size + c``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from graphws.graph.network import NetworkGraph


def elements(graph: NetworkGraph, parameter: str) -> list[Tensor]:
    """For each axis of a parameter the elements of its space, broadcastable to the parameter's shape."""
    shape, axes = graph.shape(parameter), graph.parameter(parameter).axes
    found: list[Tensor] = []
    for k, (axis, size) in enumerate(zip(axes, shape, strict=True)):
        here = torch.arange(size).reshape([-1 if j == k else 1 for j in range(len(shape))])
        if axis.inner:
            host, parent = graph.host(graph.parameter(parameter), k), graph.space(axis.space).parent
            assert host is not None
            assert parent is not None
            below = graph.extent(axes[host].space) // graph.extent(parent)
            here = found[host] // below * size + here
        found.append(here)
    return found
