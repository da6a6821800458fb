"""How weights are scaled for a model: the one owner of what `graphws.spec.models.ModelSection.scaling` asks for.

========== =============================================== ==========================================================
scaling    what the model sees                             what for
========== =============================================== ==========================================================
normalised each orbit with mean 0 and deviation 1          models that read weights
unit       each parameter divided by one figure, its root  models of symmetries that a shift breaks, as signs, scales,
           mean square                                     matrices
raw        the weights as they are                         models that run the networks, which are functions
========== =============================================== ==========================================================

Means, deviations and root mean squares are those of the orbit over the training networks, by role for several
architectures.  A spec with ``preprocess.normalize: false`` leaves weights as they are for every model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.graph import NetworkGraph, Weights
from graphws.spec import ModelSection, Preprocess, Scaling
from graphws.zoo import Statistics
from graphws.zoo.statistics import floats

Change = Callable[[Weights], Weights]
Moments = tuple[Tensor | None, Tensor]


@dataclass(frozen=True, eq=False)
class Scale:
    """From weights to what a model sees, and back: ``(weight - shift) / factor``, the same for all of an orbit.

    Attributes:
        statistics: Of the training networks.
        how: See above.
    """

    statistics: Statistics
    how: Scaling

    @staticmethod
    def of(section: ModelSection, preprocess: Preprocess, statistics: Statistics) -> Scale:
        """What a model asks for, where the spec scales at all."""
        return Scale(statistics, section.scaling if preprocess.normalize else "raw")

    @property
    def change(self) -> Change | None:
        """What is done to every batch last; None for nothing."""
        return None if self.how == "raw" else self.apply

    def moments(self, graph: NetworkGraph, name: str, like: Tensor) -> Moments | None:
        """Shift (None: 0) and factor of each entry of a parameter, of the graph's shape; None where nothing is done.

        Raises:
            ZooError: Where the parameter has a role that no network of the zoo has.
        """
        if self.how == "raw":
            return None
        if self.how == "unit":
            return None, self.statistics.root_mean_square(graph, name, like)
        return self.statistics.spread(graph, name, like)

    def unit(self, graph: NetworkGraph, name: str) -> float:
        """What a parameter is divided by; 1 where it is not, or not by one figure."""
        return float(self.statistics.root_mean_square(graph, name, torch.zeros(()))) if self.how == "unit" else 1.0

    def apply(self, weights: Weights) -> Weights:
        """Networks as the model sees them; whole numbers become floats where they are scaled."""
        return self._each(weights, lambda x, shift, factor: (x if shift is None else x - shift) / factor)

    def restore(self, weights: Weights) -> Weights:
        """The inverse of `apply`, but for the type of whole numbers."""
        return self._each(weights, lambda x, shift, factor: x * factor if shift is None else x * factor + shift)

    def _each(self, weights: Weights, change: Callable[[Tensor, Tensor | None, Tensor], Tensor]) -> Weights:
        if self.how == "raw":
            return weights
        found = {}
        for name, tensor in floats(weights):
            moments = self.moments(weights.graph, name, tensor)
            assert moments is not None
            found[name] = change(tensor, *moments)
        return Weights(weights.graph, found)

    def spread(self, graph: NetworkGraph, name: str, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each entry of a parameter as the model sees it, as `Statistics.spread` gives them."""
        mean, deviation = self.statistics.spread(graph, name, like)
        moments = self.moments(graph, name, like)
        if moments is None:
            return mean, deviation
        shift, factor = moments
        return (mean if shift is None else mean - shift) / factor, deviation / factor

    def deviation(self, graph: NetworkGraph) -> Tensor:
        """Of every flat weight of networks of a graph, (weights), as the model sees them."""
        like = torch.zeros(())
        return torch.cat([self.spread(graph, one.name, like)[1].flatten() for one in graph.parameters])
