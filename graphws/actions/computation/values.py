"""What networks compute and carry on given inputs, for alignment: `graphws.align` takes both from its caller.

>>> import torch
>>> from torch import nn
>>> from graphws.converting import convert
>>> pictures = torch.randn(5, 3, 8, 8)
>>> net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
>>> weights = convert(net, pictures).weights
>>> outputs_on(pictures)(weights).shape
torch.Size([1, 5, 2])
>>> {space: tuple(value.shape) for space, value in values_on(pictures)(weights).items()}
{'input': (1, 320, 3), '0': (1, 5, 6), 'output': (1, 5, 2)}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from graphws.actions.computation.features import features_of, is_reached, run_network, why_not_analysed
from graphws.errors import DataError, UsageError
from graphws.graph import Weights
from graphws.operations import run_values


def outputs_on(inputs: Tensor) -> Callable[[Weights], Tensor]:
    """A function that gives a network's outputs, (1, points, …), on the inputs.

    It raises `UsageError` for a network that cannot be run from its graph, `DataError` for inputs of another shape.
    """

    def outputs(weights: Weights) -> Tensor:
        points = _checked(weights, inputs)
        return run_values(weights.graph, weights, points, weights.graph.outputs)[weights.graph.outputs[0]]

    return outputs


def values_on(inputs: Tensor) -> Callable[[Weights], Mapping[str, Tensor]]:
    """A function that gives what every space of a network carries, (1, samples, elements); errors as above.

    Every position of every point is a sample.  A space is carried by the last value whose features it labels.
    """

    def values(weights: Weights) -> Mapping[str, Tensor]:
        features = features_of(weights.graph)
        names = tuple(name for name in features if is_reached(weights.graph, name))
        found = run_network(weights.graph, weights, _checked(weights, inputs), names)
        last = {features[name].space: found[name] for name in names}
        return {space: value.flatten(1, -2) for space, value in last.items()}

    return values


def _checked(weights: Weights, inputs: Tensor) -> Tensor:
    unable = why_not_analysed(weights.graph)
    if unable is not None:
        raise UsageError(f"this network is not run: {unable}")
    value = weights.graph.value(weights.graph.inputs[0])
    if value is not None and inputs.ndim != len(value.shape):
        shape = ", ".join("points" if size == "n" else str(size) for size in value.shape)
        raise DataError(f"this network reads inputs of shape ({shape}); got {tuple(inputs.shape)}")
    return inputs.to(weights.device, weights.floating) if inputs.is_floating_point() else inputs.to(weights.device)
