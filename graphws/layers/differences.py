"""What keeps a graph from a model that was built for another: the first difference that matters, in words."""

from __future__ import annotations

from collections.abc import Iterator

from graphws.graph import NetworkGraph, Parameter, Space


def difference(known: NetworkGraph, other: NetworkGraph) -> str:
    """How the structure of a graph differs from the known one's; empty where it does not."""
    return next(_differences(known, other), "")


def _differences(known: NetworkGraph, other: NetworkGraph) -> Iterator[str]:
    parameters = {p.name: p for p in known.parameters}
    spaces = {s.name: s for s in known.spaces}
    for parameter in other.parameters:
        if parameter.name not in parameters:
            yield f"parameter {parameter.name!r} is not among the model's"
        elif (axes := _axes(parameters[parameter.name])) != _axes(parameter):
            yield f"parameter {parameter.name!r} has the axes {_axes(parameter)}, the model's {axes}"
    for name in parameters.keys() - {p.name for p in other.parameters}:
        yield f"there is no parameter {name!r}"
    for space in other.spaces:
        if space.name not in spaces:
            yield f"space {space.name!r} is not among the model's"
        elif space.size != spaces[space.name].size:
            yield f"space {space.name!r} has {space.size} elements, the model's {spaces[space.name].size}"
        elif _kind(space) != _kind(spaces[space.name]):
            yield f"space {space.name!r} is {_kind(space)}, the model's {_kind(spaces[space.name])}"
    if known.structure != other.structure:
        yield "kinds, roles, or the order of spaces or parameters differ"


def _axes(parameter: Parameter) -> str:
    return " x ".join(("~" if axis.inner else "") + axis.space for axis in parameter.axes) or "none"


def _kind(space: Space) -> str:
    return space.kind + (f" in {space.parent}" if space.parent else "")
