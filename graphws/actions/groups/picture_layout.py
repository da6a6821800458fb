"""How pictures, or sequences, lie in the flattened inputs and outputs of a network that convolves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.computation.features import features_of
from graphws.actions.groups.factors import factor, reordered
from graphws.actions.pictures.joined_axes import on_lines
from graphws.errors import UsageError
from graphws.graph import NetworkGraph
from graphws.graph.element import SpaceElement


@dataclass(frozen=True, eq=False)
class PictureLayout:
    """How pictures (or sequences, of one row) lie in a network's flattened inputs.

    Attributes:
        channels: How many channels they have.
        grid: Rows and columns.
        order: For the pictures' numbers by channel, row and column their places in inputs.
    """

    channels: int
    grid: tuple[int, int]
    order: Tensor

    def by_channel(self, element: SpaceElement) -> SpaceElement:
        """A map of inputs as one of pictures (channels, rows, columns)."""
        return reordered(element, self.order)

    def as_given(self, element: SpaceElement) -> SpaceElement:
        """The inverse of `by_channel`."""
        return reordered(element, self.order.argsort())


def picture_layout(graph: NetworkGraph, shape: tuple[int, ...], end: str) -> PictureLayout:
    """The layout of an input or output of a network that convolves.

    Args:
        graph: The picture graph; it runs, and a space labels the channels of the value.
        shape: Shape of one of its values.
        end: The value's name.

    Raises:
        UsageError: On a shape that is none of pictures of so many channels.
    """
    features = features_of(graph)[end]
    channels, axis = graph.extent(features.space), features.axis - 1
    sides = 1 if on_lines(graph) else 2
    if len(shape) != 1 + sides or axis >= len(shape) or shape[axis] != channels:
        what = "sequences" if sides == 1 else "pictures"
        raise UsageError(f"this network reads {what} of {channels} channels; inputs {shape} are no such {what}")
    rest = tuple(n for k, n in enumerate(shape) if k != axis)
    order = torch.arange(math.prod(shape)).reshape(shape).movedim(axis, 0).flatten()
    return PictureLayout(channels, (1, *rest)[-2:], order)  # type: ignore[arg-type]


def outputs_by_channel(
    graph: NetworkGraph, output: SpaceElement, grid: tuple[int, int], value: str | None = None
) -> SpaceElement:
    """A map of output pictures, which may have their channels last, as one of (channels, rows, columns)."""
    end = value or graph.outputs[0]
    features = features_of(graph)[end]
    sides = list(grid[1:] if on_lines(graph) else grid)
    sides.insert(features.axis - 1, graph.extent(features.space))
    return picture_layout(graph, tuple(sides), end).by_channel(output)


def picture_map(element: SpaceElement, channels: int) -> tuple[Tensor, SpaceElement]:
    """The permutation of pixels and the map of channels that a map of flattened pictures consists of."""
    pixels = element.size // channels
    order = torch.arange(element.size).reshape(channels, pixels).mT.flatten()
    return factor(reordered(element, order), pixels, channels, "pixels")
