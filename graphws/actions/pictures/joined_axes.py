"""Convolutional networks as actions see them: the two axes of a kernel, or of a feature map, as one.

A converted kernel has axes (out, in, rows, columns), the last two labelled by spaces of their own.  A turn of pictures
exchanges rows and columns, which no pair of maps of two spaces does; one map of the space of all taps does.  So

* ``[out, in*, kernel3, kernel3]`` becomes ``[out, in*, taps3x3^0]``, 9 taps;
* ``[out, in*]`` of a 1 x 1 kernel stays, and grey pictures, ``[out, kernel3, kernel3]``, get a space of one channel;
* ``[out, in*, pixels8*, pixels8*]``, a dense layer on a flattened feature map, ``[out, in*, pixels8x8*]``.

A sequence is a picture of one row: ``[out, in*, kernel3]`` becomes ``[out, in*, taps1x3^0]``.  Numbers and their order
stay; `unfolded` is the way back.

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
from collections.abc import Sequence
from dataclasses import replace

from graphws.errors import UsageError
from graphws.graph import Axis, NetworkGraph, Operation, Parameter, Space, Weights

TAPS, PIXELS = "taps", "pixels"
"""Roles of the joined spaces."""
_JOINED = re.compile(r"(?P<role>taps|pixels)(?P<height>[0-9]+)x(?P<width>[0-9]+)")


_PLANE, _LINE = ("conv2d", "conv_transpose2d"), ("conv1d", "conv_transpose1d")
_CONVOLUTIONS = (*_PLANE, *_LINE)
_TRANSPOSED = ("conv_transpose1d", "conv_transpose2d")


def convolves(graph: NetworkGraph) -> bool:
    """Whether a network convolves pictures, or sequences."""
    return any(operation.kind in _CONVOLUTIONS for operation in graph.operations)


def on_lines(graph: NetworkGraph) -> bool:
    """Whether a network convolves sequences only."""
    return convolves(graph) and not any(operation.kind in _PLANE for operation in graph.operations)


def picture_graph(graph: NetworkGraph) -> NetworkGraph:
    """The graph with pairs of spatial axes joined; it has no storage, and runs as the graph itself does.

    A graph whose axes are joined already stays as it is.
    """
    if any(space.role == TAPS and _JOINED.fullmatch(space.name) for space in graph.spaces):
        return graph
    kernels: dict[str, tuple[Operation, bool]] = {}
    for operation in graph.operations:
        if operation.kind in _CONVOLUTIONS:
            behind = graph.weights_behind(operation.operands["weight"])
            kernels.update((parameter.name, (operation, len(behind) == 1)) for parameter in behind)
    joined: dict[str, Space] = {}
    parameters, unfolding, read_as, gone = [], [], {}, set[str]()
    for parameter in graph.parameters:
        step, alone = kernels.get(parameter.name, (None, False))
        if step is None:
            axes, spaces, steps = _dense(graph, parameter)
        elif alone:
            axes, spaces = _kernel(graph, parameter, step)
            steps = _unfolding(graph, parameter, step, axes)
        else:
            axes, spaces, steps = _part_of_a_kernel(graph, parameter, step)
        result = steps[-1].outputs[0] if steps else parameter.name
        if step is not None and alone:
            read_as[step.operands["weight"]] = result
            gone.add(step.operands["weight"])
        elif steps:
            read_as[parameter.name] = result
        unfolding += steps
        joined.update((space.name, space) for space in spaces)
        parameters.append(replace(parameter, axes=axes, storage=None))
    used = {name for parameter in parameters for name in parameter.spaces}
    kept = [space for space in graph.spaces if space.moves or space.parent is not None or space.name in used]
    steps = [
        replace(operation, inputs=tuple(read_as.get(name, name) for name in operation.inputs))
        for operation in graph.operations
        if not gone & set(operation.outputs)
    ]
    return NetworkGraph((*kept, *joined.values()), tuple(parameters)).with_computation_of(graph, [*unfolding, *steps])


def _unfolding(graph: NetworkGraph, parameter: Parameter, step: Operation, axes: Sequence[Axis]) -> list[Operation]:
    """Steps that give a joined kernel the axes that a convolution reads; no size of channels is fixed."""
    name, line, steps = parameter.name, step.kind in _LINE, list[Operation]()
    height, width = kernel_size(graph, parameter, line=line)
    taps = height * width > 1
    if len(axes) - taps == 1:  # a kernel for each channel
        steps.append(Operation("unsqueeze", (name,), (f"{name}/",), (("dim", 1),)))
        name = f"{name}/"
    elif len(axes) - taps != 2:
        raise UsageError(
            f"kernel {name!r} has {len(parameter.axes)} axes: its groups cannot be told apart from its taps"
        )
    if not taps:
        merges = (1, 1, 0) if line else (1, 1, 0, 0)
        steps.append(Operation("stored", (name,), (f"{parameter.name}#",), (("merges", merges),)))
    elif not line:
        steps.append(
            Operation("unflatten", (name,), (f"{parameter.name}#",), (("dim", -1), ("sizes", (height, width))))
        )
    return steps


def _kernel(graph: NetworkGraph, parameter: Parameter, step: Operation) -> tuple[tuple[Axis, ...], list[Space]]:
    """The axes of a kernel: out, in (but for grouped convolutions), and one of all taps if it has more than one."""
    height, width = kernel_size(graph, parameter, line=step.kind in _LINE)
    count = (height > 1) + (width > 1)  # a side of one tap has no axis
    axes, spaces = parameter.axes[: len(parameter.axes) - count], list[Space]()
    if int(step.attribute("groups")) == 1 and len(axes) < 2:
        transposed = step.kind in _TRANSPOSED
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


def _part_of_a_kernel(
    graph: NetworkGraph, parameter: Parameter, step: Operation
) -> tuple[tuple[Axis, ...], list[Space], list[Operation]]:
    """The same of one of several parameters that a kernel is put together from, and the steps that part its taps."""
    height, width = kernel_size(graph, parameter, line=step.kind in _LINE)
    count = (height > 1) + (width > 1)
    if not count:
        return parameter.axes, [], []
    space = _grid(TAPS, height, width)
    axes = (*parameter.axes[: len(parameter.axes) - count], Axis(space.name, 0))
    return axes, [space], _parted(parameter, -1, (height, width)) if count == 2 else []


def _dense(graph: NetworkGraph, parameter: Parameter) -> tuple[tuple[Axis, ...], list[Space], list[Operation]]:
    """The same of any other parameter: pairs of axes for the rows and columns of a feature map are one."""
    axes, sizes = parameter.axes, graph.shape(parameter.name)
    for k in range(len(axes) - 1, 0, -1):
        here, before = (_flattened(graph.space(axis.space)) for axis in (axes[k], axes[k - 1]))
        if here and before and axes[k].power == axes[k - 1].power:
            space = _grid(PIXELS, sizes[k - 1], sizes[k])
            joined = (*axes[: k - 1], Axis(space.name, axes[k].power), *axes[k + 1 :])
            return joined, [space], _parted(parameter, k - 1, (sizes[k - 1], sizes[k]))
        if here and on_lines(graph):
            space = _grid(PIXELS, 1, sizes[k])
            return (*axes[:k], Axis(space.name, axes[k].power), *axes[k + 1 :]), [space], []
    return axes, [], []


def _parted(parameter: Parameter, axis: int, sizes: tuple[int, int]) -> list[Operation]:
    """The step that gives a parameter its two axes back."""
    return [Operation("unflatten", (parameter.name,), (f"{parameter.name}#",), (("dim", axis), ("sizes", sizes)))]


def _grid(role: str, height: int, width: int) -> Space:
    return Space(f"{role}{height}x{width}", height * width, "free", role=role)


def _only_channel(graph: NetworkGraph, value: str) -> Space:
    """The space of a value with one channel, which has no axis in a converted kernel."""
    if value in graph.inputs and all(space.name != "input" for space in graph.spaces):
        return Space("input", 1, "free", role="input")
    return Space("channel." + re.sub(r"[^\w.-]", "_", value), 1, "free")


def kernel_size(graph: NetworkGraph, parameter: Parameter, *, line: bool = False) -> tuple[int, int]:
    """Rows and columns of a kernel, whose axes show a side only where it has more than one tap.

    Args:
        graph: The graph.
        parameter: The kernel, or a part of it.
        line: Whether it slides along sequences, which are pictures of one row.

    Raises:
        UsageError: Where there is one axis of taps, and no storage that says which side it is.
    """
    sides = 1 if line else 2
    if parameter.storage is not None and len(parameter.storage.shape) == 2 + sides:
        height, width = (1, *parameter.storage.shape[2:])[-2:]
        return height, width
    taps = [size for axis, size in zip(parameter.axes, graph.shape(parameter.name), strict=True) if axis.power >= 0][1:]
    if line:
        return (1, taps[0]) if taps else (1, 1)
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


def _flattened(space: Space) -> bool:
    return not space.moves and space.parent is None and space.name.startswith(PIXELS)
