"""Random networks of a graph, and random inputs of the shapes that it reads."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph.network import NetworkGraph
from graphws.graph.value import Value
from graphws.graph.weights import Weights
from graphws.kinds.attributes import DTYPES, WEIGHTS, resolved

OTHER_SIZES = {"negated inputs": -1.0, "inputs times 10": 10.0, "inputs times 0.1": 0.1, "inputs times 10,000": 1e4,
               "zeros": 0.0}  # fmt: skip
"""Inputs that differ in kind from those at hand: what a threshold, a bound or a branch on data waits for."""


def random_weights(
    graph: NetworkGraph, batch: int, generator: torch.Generator, dtype: torch.dtype = torch.float64
) -> Weights:
    """Networks whose values neither vanish nor explode: weights by what they read, scales and statistics positive."""
    tensors = {}
    for parameter in graph.parameters:
        shape = graph.shape(parameter.name)
        noise = torch.randn(batch, *shape, generator=generator, dtype=dtype)
        if parameter.kind in ("scale", "buffer"):
            tensors[parameter.name] = torch.exp(0.1 * noise)
        else:
            read = [size for axis, size in zip(parameter.axes, shape, strict=True) if axis.power < 0]
            tensors[parameter.name] = noise / math.sqrt(max(1, math.prod(read)))
    return Weights(graph, tensors)


def random_inputs(
    graph: NetworkGraph, points: int, generator: torch.Generator, dtype: torch.dtype = torch.float64, free: int = 4
) -> dict[str, Tensor]:
    """Random inputs: normal numbers, whole numbers up to the largest that makes sense, masks that hide nothing.

    Args:
        graph: The graph.
        points: Length of the batch, n.
        generator: Source of randomness.
        dtype: Type of floating inputs.
        free: Length of axes that may have any.

    Raises:
        GraphError: Where the graph does not say which shape an input has.
    """
    found = {}
    for name in graph.inputs:
        value = graph.value(name)
        if value is None:
            raise GraphError(f"the graph does not say which shape its input {name!r} has")
        shape = [free if size == "?" else resolved(size, points) for size in value.shape]
        found[name] = _random(value, shape, generator, dtype)
    return found


def _random(value: Value, shape: list[int], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    kind = dtype if value.dtype == WEIGHTS else DTYPES[value.dtype]
    if kind.is_floating_point or kind.is_complex:
        return torch.randn(shape, generator=generator, dtype=kind)
    if kind == torch.bool:
        return torch.ones(shape, dtype=kind)
    high = 1 if value.highest is None else value.highest
    return torch.randint(0, high + 1, shape, generator=generator).to(kind)
