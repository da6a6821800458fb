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
from collections.abc import Mapping, Sequence
from dataclasses import replace

from graphws.errors import UsageError
from graphws.graph import Axis, NetworkGraph, Operation, Parameter, Space, Weights

TAPS, PIXELS = "taps", "pixels"
"""Roles of the joined spaces."""
_JOINED = re.compile(r"(?P<role>taps|pixels)(?P<height>[0-9]+)x(?P<width>[0-9]+)")


_CONVOLUTIONS = ("conv2d", "conv_transpose2d")


def convolves(graph: NetworkGraph) -> bool:
    """Whether a network convolves pictures."""
    return any(operation.kind in _CONVOLUTIONS for operation in graph.operations)


def picture_graph(graph: NetworkGraph) -> NetworkGraph:
    """The graph with pairs of spatial axes joined; it has no storage, and runs as the graph itself does.

    A graph whose axes are joined already stays as it is.
    """
    if any(space.role == TAPS and _JOINED.fullmatch(space.name) for space in graph.spaces):
        return graph
    kernels = {
        parameter.name: operation
        for operation in graph.operations
        if operation.kind in _CONVOLUTIONS
        for parameter in graph.weights_behind(operation.operands["weight"])
        if len(graph.weights_behind(operation.operands["weight"])) == 1
    }
    joined: dict[str, Space] = {}
    parameters, unfolding, read_as = [], [], {}
    for parameter in graph.parameters:
        step = kernels.get(parameter.name)
        if step is None:
            axes, spaces = _dense(graph, parameter)
        else:
            axes, spaces = _kernel(graph, parameter, step)
            unfolding += _unfolding(graph, parameter, step, axes)
            read_as[step.operands["weight"]] = f"{parameter.name}#"
        joined.update((space.name, space) for space in spaces)
        parameters.append(replace(parameter, axes=axes, storage=None))
    used = {name for parameter in parameters for name in parameter.spaces}
    kept = [space for space in graph.spaces if space.moves or space.parent is not None or space.name in used]
    steps = [_adapted(graph, o, parameters, read_as) for o in graph.operations if not set(o.outputs) & set(read_as)]
    return NetworkGraph((*kept, *joined.values()), tuple(parameters)).with_computation_of(graph, [*unfolding, *steps])


def _unfolding(graph: NetworkGraph, parameter: Parameter, step: Operation, axes: Sequence[Axis]) -> list[Operation]:
    """Steps that give a joined kernel the four axes that a convolution reads; no size of channels is fixed."""
    name, height, width = parameter.name, *kernel_size(graph, parameter)
    result, taps = f"{name}#", height * width > 1
    if len(axes) - taps == 2:
        if taps:
            return [Operation("unflatten", (name,), (result,), {"dim": -1, "sizes": (height, width)})]
        return [Operation("stored", (name,), (result,), {"merges": (1, 1, 0, 0)})]
    if len(axes) - taps == 1:  # a kernel for each channel
        flat = Operation("unsqueeze", (name,), (f"{name}/",), {"dim": 1})
        if taps:
            return [flat, Operation("unflatten", (f"{name}/",), (result,), {"dim": -1, "sizes": (height, width)})]
        return [flat, Operation("stored", (f"{name}/",), (result,), {"merges": (1, 1, 0, 0)})]
    raise UsageError(f"kernel {name!r} has {len(parameter.axes)} axes: its groups cannot be told apart from its taps")


def _adapted(
    graph: NetworkGraph, operation: Operation, parameters: Sequence[Parameter], read_as: Mapping[str, str]
) -> Operation:
    """A step that reads kernels unfolded, and merges as many axes of a dense weight as it now has."""
    inputs = tuple(read_as.get(name, name) if operation.kind in _CONVOLUTIONS else name for name in operation.inputs)
    if operation.kind != "stored" or len(operation.inputs) != 1:
        return replace(operation, inputs=inputs)
    before, after = graph.parameter(inputs[0]), next(p for p in parameters if p.name == inputs[0])
    lost = len(before.axes) - len(after.axes)
    if not lost:
        return operation
    merges = list(operation.attribute("merges"))
    k = max(range(len(merges)), key=lambda k: merges[k])
    merges[k] -= lost
    return replace(
        operation, attributes=(*(a for a in operation.attributes if a[0] != "merges"), ("merges", tuple(merges)))
    )


def _kernel(graph: NetworkGraph, parameter: Parameter, step: Operation) -> tuple[tuple[Axis, ...], list[Space]]:
    """The axes of a kernel: out, in (but for grouped convolutions), and one of all taps if it has more than one."""
    height, width = kernel_size(graph, parameter)
    count = (height > 1) + (width > 1)  # a side of one tap has no axis
    axes, spaces = parameter.axes[: len(parameter.axes) - count], []
    if int(step.attribute("groups")) == 1:
        transposed = step.kind == "conv_transpose2d"
        ends = (step.operands["input"], step.outputs[0])
        if not any(axis.power < 0 for axis in axes):
            spaces.append(_only_channel(graph, ends[0]))
            axes = (Axis(spaces[-1].name, -1), *axes) if transposed else (*axes, Axis(spaces[-1].name, -1))
        if not any(axis.power >= 0 for axis in axes):  # 0 where a normalisation takes the scale away
            spaces.append(_only_channel(graph, ends[1]))
            axes = (*axes, Axis(spaces[-1].name)) if transposed else (Axis(spaces[-1].name), *axes)
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
