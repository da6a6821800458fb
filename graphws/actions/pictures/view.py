"""Convolutional networks as actions see them: the two axes of a kernel, or of a feature map, as one.

A converted kernel has axes (out, in, rows, columns), the last two labelled by spaces of their own.  A turn of pictures
exchanges rows and columns, which no pair of maps of two spaces does; one map of the space of all taps does.  So

* ``[out, in*, kernel3, kernel3]`` becomes ``[out, in*, taps3x3^0]``, 9 taps;
* ``[out, in*]`` of a 1 x 1 kernel stays, and grey pictures, ``[out, kernel3, kernel3]``, get a space of one channel;
* ``[out, in*, pixels8*, pixels8*]``, a dense layer on a flattened feature map, ``[out, in*, pixels8x8*]``.

Numbers and their order stay; `unfolded` is the way back.

>>> from graphws.graph import NetworkGraph, Operation, Parameter, Space
>>> graph = NetworkGraph(
...     (Space("colour", 3, "free"), Space("hidden", 8), Space("kernel3", 3, "free")),
...     (Parameter("K", "hidden colour* kernel3 kernel3"),),
...     (Operation("conv2d", ("x", "K"), ("y",)),),
...     ("x",),
...     ("y",),
... )
>>> print(picture_graph(graph).parameters[0])
K[hidden, colour*, taps3x3^0]
"""

from __future__ import annotations

import re
from dataclasses import replace

from graphws.actions.pictures.spelling import spelled
from graphws.errors import UsageError
from graphws.graph import Axis, NetworkGraph, Operation, Parameter, Space, Weights

TAPS, PIXELS = "taps", "pixels"
"""Roles of the joined spaces."""
_JOINED = re.compile(r"(?P<role>taps|pixels)(?P<height>[0-9]+)x(?P<width>[0-9]+)")


def convolves(graph: NetworkGraph) -> bool:
    """Whether a network convolves pictures."""
    return any(spelled(operation, ()).kind == "conv2d" for operation in graph.operations)


def picture_graph(graph: NetworkGraph) -> NetworkGraph:
    """The graph with pairs of spatial axes joined; it has no storage, and `graphws.actions.pictures.steps` runs it.

    A graph whose axes are joined already stays as it is.
    """
    if any(name == "taps" for operation in graph.operations for name, _ in operation.attributes):
        return graph
    read = {name for operation in graph.operations for name in operation.inputs} | set(graph.outputs)
    steps = tuple(spelled(operation, read) for operation in graph.operations)
    kernels = {o.inputs[1]: o for o in steps if o.kind == "conv2d"}
    joined: dict[str, Space] = {}
    parameters = []
    for parameter in graph.parameters:
        step = kernels.get(parameter.name)
        axes, spaces = _dense(graph, parameter) if step is None else _kernel(graph, parameter, step)
        joined.update((space.name, space) for space in spaces)
        parameters.append(replace(parameter, axes=axes, storage=None))
    used = {name for parameter in parameters for name in parameter.spaces}
    kept = [space for space in graph.spaces if space.moves or space.parent is not None or space.name in used]
    steps = tuple(_with_taps(graph, operation) for operation in steps)
    return NetworkGraph((*kept, *joined.values()), tuple(parameters), steps, graph.inputs, graph.outputs)


def _kernel(graph: NetworkGraph, parameter: Parameter, step: Operation) -> tuple[tuple[Axis, ...], list[Space]]:
    """The axes of a kernel: out, in (but for grouped convolutions), and one of all taps if it has more than one."""
    height, width = kernel_size(graph, parameter)
    count = (height > 1) + (width > 1)  # a side of one tap has no axis
    axes, spaces = parameter.axes[: len(parameter.axes) - count], []
    if int(step.attribute("groups", 1)) == 1:
        if not any(axis.power < 0 for axis in axes):
            spaces.append(_only_channel(graph, step.inputs[0]))
            axes = (*axes, Axis(spaces[-1].name, -1))
        if not any(axis.power >= 0 for axis in axes):  # 0 where a normalisation takes the scale away
            spaces.append(_only_channel(graph, step.outputs[0]))
            axes = (Axis(spaces[-1].name), *axes)
    if count:
        spaces.append(_grid(TAPS, height, width))
        axes = (*axes, Axis(spaces[-1].name, 0))
    return axes, spaces


def _dense(graph: NetworkGraph, parameter: Parameter) -> tuple[tuple[Axis, ...], list[Space]]:
    """The axes of any other parameter: pairs that read the rows and columns of a feature map are one."""
    axes, place = parameter.axes, _pixels(graph, parameter)
    if place is None:
        return axes, []
    height, width = graph.shape(parameter.name)[place : place + 2]
    space = _grid(PIXELS, height, width)
    return (*axes[:place], Axis(space.name, -1), *axes[place + 2 :]), [space]


def _grid(role: str, height: int, width: int) -> Space:
    return Space(f"{role}{height}x{width}", height * width, "free", role=role)


def _only_channel(graph: NetworkGraph, value: str) -> Space:
    """The space of a value with one channel, which has no axis in a converted kernel."""
    if value in graph.inputs and all(space.name != "input" for space in graph.spaces):
        return Space("input", 1, "free", role="input")
    return Space("channel." + re.sub(r"[^\w.-]", "_", value), 1, "free")


def _with_taps(graph: NetworkGraph, operation: Operation) -> Operation:
    """A convolution with the size of its kernel written on it, as the kernel's shape no longer shows it."""
    if operation.kind != "conv2d":
        return operation
    height, width = kernel_size(graph, graph.parameter(operation.inputs[1]))
    return replace(operation, attributes=(*operation.attributes, ("taps", f"{height},{width}")))


def kernel_size(graph: NetworkGraph, parameter: Parameter) -> tuple[int, int]:
    """Rows and columns of a kernel, whose axes show a side only where it has more than one tap.

    Raises:
        UsageError: Where there is one axis of taps, and no storage that says which side it is.
    """
    if parameter.storage is not None and len(parameter.storage.shape) == 4:
        return parameter.storage.shape[-2], parameter.storage.shape[-1]
    taps = [size for axis, size in zip(parameter.axes, graph.shape(parameter.name), strict=True) if axis.power >= 0][1:]
    if len(taps) == 1:
        raise UsageError(f"kernel {parameter.name!r} has one axis of taps, and nothing says whether they are rows")
    return (taps[0], taps[1]) if taps else (1, 1)


def picture_view(weights: Weights) -> Weights:
    """A convolutional network with pairs of spatial axes joined; any other network as it is."""
    if not convolves(weights.graph):
        return weights
    graph = picture_graph(weights.graph)
    tensors = {p.name: weights[p.name].reshape(weights.batch, *graph.shape(p.name)) for p in graph.parameters}
    return Weights(graph, tensors)


def unfolded(weights: Weights, graph: NetworkGraph) -> Weights:
    """The inverse of `picture_view`: the numbers for the graph that the view was made of."""
    tensors = {p.name: weights[p.name].reshape(weights.batch, *graph.shape(p.name)) for p in graph.parameters}
    return Weights(graph, tensors)


def grids(graph: NetworkGraph) -> dict[str, tuple[int, int]]:
    """Rows and columns of every joined space of a picture graph."""
    found = {}
    for space in graph.spaces:
        match = _JOINED.fullmatch(space.name)
        if match is not None and space.role == match["role"]:
            found[space.name] = (int(match["height"]), int(match["width"]))
    return found


def _pixels(graph: NetworkGraph, parameter: Parameter) -> int | None:
    """The first of two neighbouring axes that read the rows and columns of a flattened feature map."""
    for k in range(len(parameter.axes) - 2, 0, -1):
        if all(axis.power == -1 and _flattened(graph.space(axis.space)) for axis in parameter.axes[k : k + 2]):
            return k
    return None


def _flattened(space: Space) -> bool:
    return not space.moves and space.parent is None and space.name.startswith(PIXELS)
