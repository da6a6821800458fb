"""The parameters that matching reads.

Scores compare tensors whose axes each run over a whole space.  A converted network has more: integers (the counter of a
batch norm), single numbers, and tensors that keep parents and children on axes of their own, as experts do, (experts,
in, hidden).  Where the axis of the parents stands beside the inner one, both become one axis of the child space, which
says the same; all else that has inner axes (an output projection whose heads share keys and values) is left out.  It
moves with the spaces that it is labelled by, like every other parameter; it just has no say in how.
"""

from __future__ import annotations

from torch import Tensor

from graphws.graph import Axis, NetworkGraph, Parameter, Weights


def matching_view(weights: Weights) -> Weights:
    """The same spaces with the parameters that matching can read; the graph itself where it can read them all."""
    graph = weights.graph
    parameters: list[Parameter] = []
    tensors: dict[str, Tensor] = {}
    for parameter in graph.parameters:
        found = _readable(graph, parameter, weights[parameter.name])
        if found is not None:
            parameters.append(found[0])
            tensors[parameter.name] = found[1]
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
