"""What convolutional networks compute and carry, for alignment: `graphws.align` takes both from its caller.

>>> import torch
>>> from torch import nn
>>> from graphws.converting import convert
>>> pictures = torch.randn(5, 3, 8, 8)
>>> net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
>>> weights = convert(net, pictures).weights
>>> picture_outputs(pictures)(weights).shape
torch.Size([1, 5, 2])
>>> {space: tuple(value.shape) for space, value in picture_values(pictures)(weights).items()}
{'input': (1, 320, 3), '0': (1, 5, 6), 'output': (1, 5, 2)}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from graphws.actions.pictures.steps import missing, run_network
from graphws.actions.pictures.view import picture_graph, picture_view
from graphws.actions.wires import feature_spaces
from graphws.errors import DataError, UsageError
from graphws.graph import Weights


def picture_outputs(pictures: Tensor) -> Callable[[Weights], Tensor]:
    """A function that gives a network's outputs, (1, points, outputs), on pictures (points, channels, rows, columns).

    It raises `UsageError` for a network that cannot be run from its graph, `DataError` where inputs are no pictures.
    """

    def outputs(weights: Weights) -> Tensor:
        return _values(weights, pictures)[weights.graph.outputs[0]]

    return outputs


def picture_values(pictures: Tensor) -> Callable[[Weights], Mapping[str, Tensor]]:
    """A function that gives what every space of a network carries, (1, samples, elements); errors as above.

    Every pixel of every picture is a sample.  A space is carried by the last value whose features it labels.
    """

    def values(weights: Weights) -> Mapping[str, Tensor]:
        found, spaces = _values(weights, pictures), feature_spaces(picture_graph(weights.graph))
        last = {spaces[name]: value for name, value in found.items() if name in spaces}
        return {space: value.flatten(1, -2) for space, value in last.items()}

    return values


def _values(weights: Weights, pictures: Tensor) -> dict[str, Tensor]:
    view = picture_view(weights)
    unable = missing(view.graph)
    if unable is not None:
        raise UsageError(f"this network is not run: {unable}")
    if pictures.ndim != 4:
        raise DataError(
            f"pictures have the shape (points, channels, rows, columns); got inputs of shape {tuple(pictures.shape)}"
        )
    return run_network(view.graph, view, pictures.to(view.dtype))
