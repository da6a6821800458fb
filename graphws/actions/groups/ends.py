"""The ends of a network: the free spaces of its input and output, on which a group on data acts."""

from __future__ import annotations

import math

from graphws.actions.computation.features import features_of, why_not_followed
from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Space


def end_space(graph: NetworkGraph, size: int | None, reads: bool) -> Space:
    """The free space at the network's input or output: what labels that value, else what is read and never written."""
    if len(graph.inputs) == 1 and (reads or len(graph.outputs) == 1):
        stated = features_of(graph).get(graph.inputs[0] if reads else graph.outputs[0])
        if stated is not None and (size is None or graph.extent(stated.space) == size):
            return graph.space(stated.space)
    wanted = "input" if reads else "output"
    read = {a.space for p in graph.parameters for a in p.axes if a.power < 0}
    written = {a.space for p in graph.parameters if p.kind != "position" for a in p.axes if a.power > 0}
    ends = (read - written) if reads else (written - read)
    found = [
        space
        for space in graph.spaces
        if not space.moves
        and space.parent is None
        and space.name in ends
        and (size is None or graph.extent(space.name) == size)
    ]
    found.sort(key=lambda space: wanted not in (space.role, space.name))
    if not found:
        numbers = f" of {size} numbers" if size is not None else ""
        has = ", ".join(f"{s.name} ({graph.extent(s.name)})" for s in graph.spaces if s.name in ends and not s.moves)
        raise UsageError(f"the network has no {wanted} space{numbers}; it has {has or 'none'}{why_no_end(graph)}")
    return found[0]


def why_no_end(graph: NetworkGraph) -> str:
    """What may be the reason that an end was not found."""
    if not graph.operations:
        return "; it does not say how its weights are used: give the converted module, or an ONNX file"
    unable = why_not_followed(graph)
    return f"; {unable}" if unable is not None else ""


def patch_side(graph: NetworkGraph) -> int | None:
    """Side of the patches that the network cuts pictures into, None where it reads them otherwise."""
    return next((int(o.attribute("size", 1)) for o in graph.operations if o.kind == "patches"), None)


def output_size(graph: NetworkGraph) -> int:
    """Numbers in the network's outputs, one after the other (per token or pixel, where a space labels their features).

    Raises:
        UsageError: Where the graph does not run, and no space is written and never read.
    """
    if why_not_followed(graph) is None:
        return sum(numbers_of(graph, name) for name in graph.outputs)
    return graph.extent(end_space(graph, None, reads=False).name)


def numbers_of(graph: NetworkGraph, output: str) -> int:
    """Numbers of one output of a graph that runs, per position; of one that no space labels all that it states."""
    features = features_of(graph).get(output)
    if features is not None:
        return graph.extent(features.space)
    value = graph.value(output)
    return math.prod(n for n in (() if value is None else value.shape[1:]) if isinstance(n, int))
