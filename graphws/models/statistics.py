"""Weight statistics: what a network's numbers are like, parameter by parameter, whatever their order.

The features of Unterthiner et al. ("Predicting neural network accuracy from weights", 2020): moments and quantiles of
each layer's numbers.  A relabelling of neurons leaves them alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from graphws.errors import UsageError, WeightsError, nearest
from graphws.graph import NetworkGraph, Weights
from graphws.graph.parameter import Parameter

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
STATISTICS = ("mean", "deviation", "minimum", "quartile 1", "median", "quartile 3", "maximum", "count", "there")
"""Of each parameter or role; ``there`` is 1, and all are 0 where a network has none of the role."""
LARGEST = 1e30
"""Bound of a feature; networks that diverged have larger ones, infinite ones, or NaN, which becomes 0."""


class WeightStatistics:
    """Statistics of the numbers of networks, as a row a network.

    Networks of one graph are described parameter by parameter; those of several role by role, where the numbers of all
    parameters of a role are taken together.

    Args:
        graphs: Of the networks: one, or several.

    Raises:
        UsageError: Where there is no graph.
    """

    def __init__(self, graphs: NetworkGraph | Sequence[NetworkGraph]) -> None:
        every = [graphs] if isinstance(graphs, NetworkGraph) else list(graphs)
        if not every:
            raise UsageError("weight statistics need the graph of the networks, got none")
        self._by_role = len(every) > 1
        self.names = tuple(dict.fromkeys(self._name(p) for graph in every for p in graph.parameters))
        self.width = len(self.names) * len(STATISTICS)

    def _name(self, parameter: Parameter) -> str:
        return parameter.role or parameter.name if self._by_role else parameter.name

    @property
    def features(self) -> tuple[str, ...]:
        """What each number of a row is."""
        return tuple(f"{name}: {statistic}" for name in self.names for statistic in STATISTICS)

    def __call__(self, weights: Weights | Sequence[Weights]) -> Float[Tensor, "batch width"]:
        """A row a network, in the order of the list where there are several graphs.

        Raises:
            WeightsError: Where a network has a parameter or a role that none of the graphs has.
        """
        parts = [weights] if isinstance(weights, Weights) else list(weights)
        if not parts:
            return torch.zeros(0, self.width)
        return torch.cat([self._of(part) for part in parts])

    def _of(self, weights: Weights) -> Tensor:
        numbers: dict[str, list[Tensor]] = {name: [] for name in self.names}
        for parameter in weights.graph.parameters:
            name = self._name(parameter)
            if name not in numbers:
                what = "role" if self._by_role else "parameter"
                raise WeightsError(
                    f"no network that these statistics know has a {what} {name!r}{nearest(name, numbers)}"
                )
            numbers[name].append(weights[parameter.name].detach().float().flatten(1))
        none = torch.zeros(weights.batch, len(STATISTICS), device=weights.device)
        rows = [statistics(torch.cat(found, dim=1)) if found else none for found in numbers.values()]
        return torch.nan_to_num(torch.cat(rows, dim=1), 0.0).clamp(-LARGEST, LARGEST)


def statistics(numbers: Float[Tensor, "batch n"]) -> Float[Tensor, "batch 9"]:
    """`STATISTICS` of each row; quantiles are interpolated linearly."""
    count = numbers.shape[1]
    there = torch.ones(len(numbers), device=numbers.device)
    if not count:
        return torch.stack([torch.zeros_like(there)] * (len(STATISTICS) - 1) + [there], dim=1)
    ordered = numbers.sort(dim=1).values  # `torch.quantile` takes no more than 16 million numbers
    quantiles = []
    for share in QUANTILES:
        low = int(share * (count - 1))
        rest = share * (count - 1) - low
        quantiles.append(torch.lerp(ordered[:, low], ordered[:, min(low + 1, count - 1)], rest))
    moments = (numbers.mean(dim=1), numbers.std(dim=1, correction=0))
    return torch.stack([*moments, *quantiles, count * there, there], dim=1)
