"""A group on outputs, output by output: one map of each output's features, and whether its positions move.

A network may have several outputs, as a detector has classes and boxes, and an output may lie on another grid than the
inputs do, as behind strides.  A group acts on all outputs side by side, in the graph's order, each of them flattened;
or on the features of each alone, and then positions follow the inputs'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.computation.features import features_of, run_network, why_not_followed
from graphws.actions.groups.ends import end_space, numbers_of
from graphws.actions.groups.grid_moves import GridMove
from graphws.actions.groups.picture_layout import outputs_by_channel, picture_map
from graphws.actions.groups.symmetry import DataSymmetry, is_identity
from graphws.errors import GraphError, UsageError
from graphws.graph import LinearMap, Monomial, NetworkGraph
from graphws.graph.element import SpaceElement
from graphws.operations.sampling import random_weights


@dataclass(frozen=True, eq=False)
class OutputPart:
    """What a group does to one output.

    Attributes:
        value: The output's name; empty where the graph does not run.
        space: The space of its features; empty where none labels them, and the group leaves it alone.
        positions: Sizes of the axes of its positions.
        elements: The map of each element of the group, of its features or of all that it holds.
    """

    value: str
    space: str
    positions: tuple[int, ...]
    elements: tuple[SpaceElement, ...]


def output_parts(graph: NetworkGraph, symmetry: DataSymmetry, shape: tuple[int, ...]) -> list[OutputPart]:
    """The parts of a group's action on outputs.

    Args:
        graph: The graph.
        symmetry: The group.
        shape: Shape of one input as the network reads it.

    Raises:
        UsageError: Where sizes do not fit, outputs are mixed, or what no space labels is not left alone.
    """
    if why_not_followed(graph) is not None:
        return [OutputPart("", end_space(graph, None, reads=False).name, (), symmetry.output)]
    features = features_of(graph)
    positions = output_positions(graph, shape)
    if len(graph.outputs) == 1:
        name = graph.outputs[0]
        space = features[name].space if name in features else ""
        return [_checked(OutputPart(name, space, positions[name], symmetry.output), "outputs belong")]
    size = symmetry.output[0].size
    alone = {name: numbers_of(graph, name) for name in graph.outputs}
    whole = {
        name: count * (torch.Size(positions[name]).numel() if name in features else 1) for name, count in alone.items()
    }
    counts = next((each for each in (alone, whole) if sum(each.values()) == size), None)
    if counts is None:
        has = ", ".join(f"{name}: {count}" for name, count in alone.items())
        raise UsageError(f"the group acts on {size} outputs, the network writes {sum(alone.values())} ({has})")
    found, start = [], 0
    for name, count in counts.items():
        parts = tuple(_part(element, start, count) for element in symmetry.output)
        space = features[name].space if name in features else ""
        found.append(_checked(OutputPart(name, space, positions[name], parts), f"output {name} belongs"))
        start += count
    return found


def following(
    graph: NetworkGraph, symmetry: DataSymmetry, shape: tuple[int, ...], moves: Sequence[GridMove]
) -> tuple[SpaceElement, ...]:
    """A group's action on outputs with their pixels moved in another way, where it moves pixels of outputs.

    Args:
        graph: The graph of a network that convolves.
        symmetry: The group.
        shape: Shape of one input.
        moves: The other move of each element.
    """
    parts = output_parts(graph, symmetry, shape)
    first = all(not part.space or features_of(graph)[part.value].axis == 1 for part in parts if part.value)
    whole = [part for part in parts if part.space and part.elements[0].size > graph.extent(part.space)]
    if not whole or not first or any(isinstance(element, LinearMap) for element in symmetry.output):
        return symmetry.output
    found: list[SpaceElement] = []
    for g, move in enumerate(moves):
        perms, scales, start = list[Tensor](), list[Tensor](), 0
        for part in parts:
            perm, scale = _moved(graph, part, g, move) if part in whole else _plain(part.elements[g])
            perms.append(perm + start)
            scales.append(scale)
            start += len(perm)
        signs = torch.cat(scales)
        found.append(Monomial(torch.cat(perms), None if bool((signs == 1).all()) else signs))
    return tuple(found)


def _moved(graph: NetworkGraph, part: OutputPart, g: int, move: GridMove) -> tuple[Tensor, Tensor]:
    """The places and scales of an output's numbers, its channels mapped as before and its pixels by another move."""
    there: tuple[int, int] = (1, *part.positions)[-2:]  # type: ignore[assignment]
    channels = graph.extent(part.space)
    perm, scale = _plain(picture_map(outputs_by_channel(graph, part.elements[g], there, part.value), channels)[1])
    outer = move.on_pixels(*there).perm
    return (perm.unsqueeze(1) * len(outer) + outer).flatten(), scale.repeat_interleave(len(outer))


def _plain(element: SpaceElement) -> tuple[Tensor, Tensor]:
    assert isinstance(element, Monomial)
    ones = torch.ones(element.size, dtype=torch.float64)
    return element.perm, ones if element.scale is None else element.scale.double()


def output_positions(graph: NetworkGraph, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The sizes of the axes of positions of every output that has features, for inputs of a shape; none for others.

    Raises:
        UsageError: Where the network does not run on these.
    """
    if all(_stated(graph, name) for name in (*graph.inputs, *graph.outputs)):
        value = graph.value(graph.inputs[0])
        assert value is not None
        if tuple(value.shape[1:]) == shape:
            return {name: _without_features(graph, name) for name in graph.outputs}
    x = torch.zeros(1, *shape, dtype=torch.float64)
    try:
        values = run_network(graph, random_weights(graph, 1, torch.Generator().manual_seed(0)), x, graph.outputs)
    except GraphError as error:
        raise UsageError(f"the network does not run on inputs {shape}: {error}") from error
    features = features_of(graph)
    return {name: tuple(v.shape[2:-1]) if name in features else () for name, v in values.items()}


def _stated(graph: NetworkGraph, name: str) -> bool:
    value = graph.value(name)
    return value is not None and all(isinstance(n, int) for n in value.shape[1:])


def _without_features(graph: NetworkGraph, name: str) -> tuple[int, ...]:
    features, value = features_of(graph).get(name), graph.value(name)
    if features is None or value is None:
        return ()
    return tuple(int(n) for k, n in enumerate(value.shape) if k not in (0, features.axis))


def _checked(part: OutputPart, which: str) -> OutputPart:
    """The part; what no space labels, such as what several layers write side by side, can only be left alone."""
    if not part.space and not all(is_identity(element) for element in part.elements):
        raise UsageError(
            f"the network's {which} to no one space: a group can only leave them alone (output: invariant)"
        )
    return part


def _part(element: SpaceElement, start: int, count: int) -> SpaceElement:
    """A diagonal block of a map."""
    rows = slice(start, start + count)
    refused = UsageError("the group mixes the network's outputs with one another: it must act on each by itself")
    if isinstance(element, LinearMap):
        block = element.weight[rows, rows]
        if float(element.weight[rows].abs().sum() - block.abs().sum()) > 1e-9:
            raise refused
        return LinearMap(block)
    perm = element.perm[rows] - start
    if bool(((perm < 0) | (perm >= count)).any()):
        raise refused
    return Monomial(perm, None if element.scale is None else element.scale[rows])
