"""The parameters that matching reads.

Scores compare tensors whose axes each run over a whole space.  A converted network has more: integers (the counter of a
batch norm), single numbers, and tensors that keep parents and children on axes of their own, as experts do, (experts,
in, hidden).  Where the axis of the parents stands beside the inner one, both become one axis of the child space, which
says the same.  Where other children of the same parents stand there (the queries that share a key), the tensor is
multiplied with one on the other side of the inner space, keys for queries and values for outputs: the product, W_A of
every asking head, has whole axes only, and no matrix inside the heads can change it.  What fits neither is left out: it
moves with the spaces that it is labelled by, and has no say in how.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.graph import Axis, NetworkGraph, Parameter, Weights


def matching_view(weights: Weights) -> Weights:
    """The same spaces with the parameters that matching can read; the graph itself where it can read them all."""
    graph = weights.graph
    parameters: list[Parameter] = []
    tensors: dict[str, Tensor] = {}
    for parameter in graph.parameters:
        found = _readable(graph, parameter, weights[parameter.name])
        found = found or _product(weights, parameter)
        if found is not None:
            parameters.append(found[0])
            tensors[found[0].name] = found[1]
    if tuple(parameters) == graph.parameters:
        return weights
    bare = tuple(Parameter(p.name, p.axes, p.kind, p.role) for p in parameters)
    return Weights(NetworkGraph(graph.spaces, bare), tensors)


def _readable(graph: NetworkGraph, parameter: Parameter, tensor: Tensor) -> tuple[Parameter, Tensor] | None:
    """The parameter without inner axes, and its tensor; None where it cannot be read."""
    if not tensor.is_floating_point() or not parameter.axes:
        return None
    inner = [k for k, axis in enumerate(parameter.axes) if axis.inner]
    if not inner:
        return parameter, tensor
    host = graph.host(parameter, inner[0])
    child = graph.space(parameter.axes[inner[0]].space)
    if len(inner) > 1 or host is None or parameter.axes[host].space != child.parent:
        return None
    moved = tensor.movedim(inner[0] + 1, host + 2).flatten(host + 1, host + 2)
    axes = list(parameter.axes)
    axes[host] = Axis(child.name, axes.pop(inner[0]).power)
    return Parameter(parameter.name, tuple(axes), parameter.kind, parameter.role), moved


def _product(weights: Weights, parameter: Parameter) -> tuple[Parameter, Tensor] | None:
    """A parameter with one inner axis times the first that meets it there; None where there is none."""
    graph = weights.graph
    inner = [k for k, axis in enumerate(parameter.axes) if axis.inner]
    host = graph.host(parameter, inner[0]) if len(inner) == 1 else None
    if host is None:
        return None
    axis, child = parameter.axes[inner[0]], graph.space(parameter.axes[inner[0]].space)
    parents = graph.extent(child.name) // child.size
    for other in graph.parameters:
        places = [k for k, each in enumerate(other.axes) if each.space == child.name]
        if len(places) != 1 or len(other.axes) < 2 or any(each.inner for each in other.axes):
            continue
        if other.axes[places[0]].power != -axis.power:
            continue
        ours = weights[parameter.name].movedim((host + 1, inner[0] + 1), (1, 2))  # (batch, hosts, d, ...)
        theirs = weights[other.name].movedim(places[0] + 1, 1)
        theirs = theirs.reshape(len(theirs), parents, child.size, *theirs.shape[2:])
        theirs = theirs.repeat_interleave(ours.shape[1] // parents, dim=1)
        product = torch.einsum("bhdx,bhdy->bhxy", *(x.reshape(*x.shape[:3], -1) for x in (ours, theirs)))
        rest = [each for k, each in enumerate(parameter.axes) if k not in (host, inner[0])]
        rest += [each for k, each in enumerate(other.axes) if k != places[0]]
        made = Parameter(
            f"{parameter.name}|{other.name}", (parameter.axes[host], *rest), parameter.kind, parameter.role
        )
        return made, product.reshape(*ours.shape[:2], *ours.shape[3:], *theirs.shape[3:])
    return None
