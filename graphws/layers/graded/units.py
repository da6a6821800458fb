"""Units: how large the weights of each parameter, or role, are over the training networks.

Models in which weights act read them in these units: divided by one figure a parameter, and never shifted, since a
shift breaks signs, and a figure for each entry would break matrices.  Whoever runs the networks needs the weights as
they were, so the figures are kept with the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from graphws.graph import NetworkGraph, Weights
from graphws.layers.graded.owners import Owners
from graphws.layers.keys import state_key

Measure = Callable[[NetworkGraph, str], float]
"""The root mean square of a parameter of a graph over the training networks."""


class Units(nn.Module):
    """Weights in units, as they were.

    Args:
        owners: One for each graph that may come.

    Shapes:
        Weights -> Weights.
    """

    def __init__(self, owners: Sequence[Owners]) -> None:
        super().__init__()
        self._owners = tuple(owners)
        for each in owners:
            for parameter in each.graph.parameters:
                self.register_buffer(self._key(each, parameter.name), torch.ones(()))

    def _key(self, owners: Owners, parameter: str) -> str:
        return "unit:" + state_key(owners.parameter(parameter))

    def calibrate(self, measure: Measure) -> None:
        """Takes the figures of the training networks."""
        for owners in self._owners:
            for parameter in owners.graph.parameters:
                unit: Tensor = getattr(self, self._key(owners, parameter.name))
                unit.fill_(measure(owners.graph, parameter.name))

    def forward(self, weights: Weights, owners: Owners) -> Weights:
        """The weights as they were."""
        tensors = {}
        for name, x in weights.items():
            unit = getattr(self, self._key(owners, name))
            tensors[name] = x * unit.to(x.dtype) if x.is_floating_point() else x
        return Weights(weights.graph, tensors)
