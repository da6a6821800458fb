"""Mean and standard deviation of every orbit, and normalisation with them.

Entries of one orbit are interchangeable under G, so normalising each orbit with one mean and one deviation is the
finest normalisation that commutes with the group.  They are taken over networks and over the orbit's entries together,
in one pass, in float64, and merged by the formula of Chan, Golub and LeVeque (1979), so that the order of batches does
not matter beyond rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from graphws.errors import ZooError
from graphws.graph import NetworkGraph, Weights, orbits


@dataclass(frozen=True, eq=False)
class Statistics:
    """Moments of each orbit of each parameter.

    Args:
        graph: Whose orbits.
        mean: For each parameter (orbits,), float64.
        std: Likewise; the population's, that is, divided by the number of entries.
    """

    graph: NetworkGraph
    mean: dict[str, Tensor]
    std: dict[str, Tensor]

    @cached_property
    def _entries(self) -> dict[str, tuple[Tensor, Tensor]]:
        entries = {}
        for name, mean in self.mean.items():
            labels, std = orbits(self.graph, name), self.std[name]
            std = torch.where(std > 1e-12 * (1 + mean.abs()), std, torch.ones_like(std))
            entries[name] = (mean[labels], std[labels])
        return entries

    def spread(self, name: str, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each entry of a parameter, of the graph's shape; a constant orbit has deviation 1.

        Type and device are those of `like`.
        """
        mean, std = self._entries[name]
        return mean.to(like), std.to(like)

    def normalise(self, weights: Weights) -> Weights:
        """Every orbit with mean 0 and deviation 1."""
        moved = {}
        for name, tensor in weights.items():
            mean, std = self.spread(name, tensor)
            moved[name] = (tensor - mean) / std
        return Weights(weights.graph, moved)

    def restore(self, weights: Weights) -> Weights:
        """The inverse of `normalise`."""
        moved = {}
        for name, tensor in weights.items():
            mean, std = self.spread(name, tensor)
            moved[name] = tensor * std + mean
        return Weights(weights.graph, moved)

    def tensors(self) -> dict[str, Tensor]:
        """As one flat mapping, ``mean.NAME`` and ``std.NAME``, for a shard."""
        moments = {"mean": self.mean, "std": self.std}
        return {f"{kind}.{name}": tensor for kind, moment in moments.items() for name, tensor in moment.items()}

    @staticmethod
    def shapes(graph: NetworkGraph) -> dict[str, tuple[int, ...]]:
        """Names and shapes of `tensors` for a graph."""
        sizes = {p.name: int(orbits(graph, p.name).max()) + 1 for p in graph.parameters}
        return {f"{kind}.{name}": (size,) for kind in ("mean", "std") for name, size in sizes.items()}

    @staticmethod
    def from_tensors(graph: NetworkGraph, tensors: dict[str, Tensor]) -> Statistics:
        """The inverse of `tensors`."""
        names = [p.name for p in graph.parameters]
        return Statistics(graph, {n: tensors[f"mean.{n}"] for n in names}, {n: tensors[f"std.{n}"] for n in names})


def orbit_statistics(graph: NetworkGraph, batches: Iterable[Weights]) -> Statistics:
    """Statistics of all networks in `batches`, which are read once.

    Raises:
        ZooError: Where there is no network at all.
    """
    count = 0
    mean = {p.name: torch.zeros(graph.shape(p.name), dtype=torch.float64) for p in graph.parameters}
    squares = {name: torch.zeros_like(tensor) for name, tensor in mean.items()}
    for batch in batches:
        for name, tensor in batch.items():
            values = tensor.detach().cpu().double()
            here = values.mean(dim=0)
            difference = here - mean[name]
            total = count + len(values)
            squares[name] += ((values - here) ** 2).sum(dim=0) + difference**2 * (count * len(values) / total)
            mean[name] += difference * (len(values) / total)
        count += batch.batch
    if not count:
        raise ZooError("statistics of no networks: the training split is empty")
    means, stds = {}, {}
    for name in mean:
        labels = orbits(graph, name).flatten()
        entries = torch.bincount(labels).double()
        flat = mean[name].flatten()
        middle = torch.zeros_like(entries).index_add_(0, labels, flat) / entries
        spread = squares[name].flatten() / count + (flat - middle[labels]) ** 2
        means[name] = middle
        stds[name] = (torch.zeros_like(entries).index_add_(0, labels, spread) / entries).sqrt()
    return Statistics(graph, means, stds)
