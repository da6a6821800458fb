"""Mean and standard deviation of every orbit and of every role, and normalisation with them.

Entries of one orbit are interchangeable under G, so normalising each orbit with one mean and one deviation is the
finest normalisation that commutes with the group.  They are taken over networks and over the orbit's entries together,
in one pass, in float64, and merged by the formula of Chan, Golub and LeVeque (1979), so that the order of batches does
not matter beyond rounding.

Networks of several graphs are normalised by *role*: the same numbers for all parameters of a role, so that what differs
between architectures stays to be seen, and a network of a graph that was never met is normalised like the others.
Where parameters of a role have as many orbits each (one for each tap of a kernel), each of these has its own moments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from graphws.errors import ZooError, nearest
from graphws.graph import NetworkGraph, Weights, orbits


@dataclass(frozen=True, eq=False)
class Moments:
    """Of the orbits of a parameter, or of a role.

    Args:
        mean: (orbits), float64.
        std: (orbits), the population's, that is, divided by the number of entries.
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True, eq=False)
class Statistics:
    """Moments of the networks of a zoo.

    Args:
        graphs: Their graphs.
        orbits: For each graph the moments of each parameter's orbits.
        roles: The moments of each role, over all graphs.
    """

    graphs: tuple[NetworkGraph, ...]
    orbits: tuple[Mapping[str, Moments], ...]
    roles: Mapping[str, Moments]
    _entries: dict[NetworkGraph, dict[str, tuple[Tensor, Tensor]]] = field(default_factory=dict)

    def spread(self, graph: NetworkGraph, name: str, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each entry of a parameter, of the graph's shape; a constant orbit has deviation 1.

        Type and device are those of `like`; float32 where that is of whole numbers.

        Raises:
            ZooError: Where the parameter has a role that no network of the zoo has.
        """
        mean, std = self._of(graph, name)
        dtype = like.dtype if like.is_floating_point() else torch.float32
        return mean.to(like.device, dtype), std.to(like.device, dtype)

    def _of(self, graph: NetworkGraph, name: str) -> tuple[Tensor, Tensor]:
        known = self._entries.setdefault(graph.structure, {})
        if name not in known:
            moments = self._moments(graph, name)
            labels = orbits(graph, name)
            if len(moments.mean) == 1:
                labels = torch.zeros_like(labels)
            std = torch.where(moments.std > 1e-12 * (1 + moments.mean.abs()), moments.std, 1.0)
            known[name] = moments.mean[labels], std[labels]
        return known[name]

    def _moments(self, graph: NetworkGraph, name: str) -> Moments:
        if len(self.graphs) == 1 and self.graphs[0].structure == graph.structure:
            return self.orbits[0][name]
        role = role_of(graph, name)
        if role not in self.roles:
            raise ZooError(
                f"parameter {name!r} has the role {role!r}, of which the zoo has no statistics; it knows "
                f"{', '.join(sorted(self.roles))}" + nearest(role, self.roles)
            )
        moments, number = self.roles[role], int(orbits(graph, name).max()) + 1
        if len(moments.mean) not in (1, number):
            raise ZooError(
                f"parameter {name!r} of role {role!r} has {number} orbits, those of the zoo have {len(moments.mean)}"
            )
        return moments

    def normalise(self, weights: Weights) -> Weights:
        """Every orbit, or role, with mean 0 and deviation 1; whole numbers become floats."""
        moved = {}
        for name, tensor in weights.items():
            mean, std = self.spread(weights.graph, name, tensor)
            moved[name] = (tensor - mean) / std
        return Weights(weights.graph, moved)

    def restore(self, weights: Weights) -> Weights:
        """The inverse of `normalise`."""
        moved = {}
        for name, tensor in weights.items():
            mean, std = self.spread(weights.graph, name, tensor)
            moved[name] = tensor * std + mean
        return Weights(weights.graph, moved)

    def tensors(self) -> dict[str, Tensor]:
        """As one flat mapping, for a shard: the moments of all parameters of a graph, and of all roles, in a row."""
        found = {}
        for kind in ("mean", "std"):
            for number, moments in enumerate(self.orbits):
                found[f"{kind}.{number}"] = torch.cat([getattr(each, kind) for each in moments.values()])
            found[f"{kind}.roles"] = torch.cat([getattr(each, kind) for each in self.roles.values()])
        return found

    @staticmethod
    def shapes(graphs: Sequence[NetworkGraph]) -> dict[str, tuple[int, ...]]:
        """Names and shapes of `tensors` for the graphs of a zoo."""
        found: dict[str, tuple[int, ...]] = {}
        for kind in ("mean", "std"):
            for number, graph in enumerate(graphs):
                found[f"{kind}.{number}"] = (sum(_numbers(graph).values()),)
            found[f"{kind}.roles"] = (sum(_role_numbers(graphs).values()),)
        return found

    @staticmethod
    def from_tensors(graphs: Sequence[NetworkGraph], tensors: Mapping[str, Tensor]) -> Statistics:
        """The inverse of `tensors`."""

        def parts(key: str, sizes: Mapping[str, int]) -> dict[str, Moments]:
            means, stds = (tensors[f"{kind}.{key}"].split(list(sizes.values())) for kind in ("mean", "std"))
            return {name: Moments(mean, std) for name, mean, std in zip(sizes, means, stds, strict=True)}

        found = tuple(parts(str(number), _numbers(graph)) for number, graph in enumerate(graphs))
        return Statistics(tuple(graphs), found, parts("roles", _role_numbers(graphs)))

    @staticmethod
    def shapes_of_version_1(graph: NetworkGraph) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the tensors that zoos of version 1 keep."""
        return {f"{kind}.{name}": (size,) for kind in ("mean", "std") for name, size in _numbers(graph).items()}

    @staticmethod
    def from_version_1(graph: NetworkGraph, tensors: Mapping[str, Tensor]) -> Statistics:
        """What a zoo of version 1 knows: orbits, and roles as far as one parameter has each."""
        found = {p.name: Moments(tensors[f"mean.{p.name}"], tensors[f"std.{p.name}"]) for p in graph.parameters}
        roles = [role_of(graph, p.name) for p in graph.parameters]
        alone = {role_of(graph, name): moments for name, moments in found.items()}
        return Statistics((graph,), (found,), {role: m for role, m in alone.items() if roles.count(role) == 1})


def role_of(graph: NetworkGraph, parameter: str) -> str:
    """What statistics of a parameter go by across graphs: its role, or its name."""
    return graph.parameter(parameter).role or parameter


def _numbers(graph: NetworkGraph) -> dict[str, int]:
    """How many orbits each parameter has."""
    return {p.name: int(orbits(graph, p.name).max()) + 1 for p in graph.parameters}


def _role_numbers(graphs: Sequence[NetworkGraph]) -> dict[str, int]:
    """How many moments each role has: one an orbit where all its parameters have as many, else one."""
    found: dict[str, set[int]] = {}
    for graph in graphs:
        for name, number in _numbers(graph).items():
            found.setdefault(role_of(graph, name), set()).add(number)
    return {role: max(numbers) if len(numbers) == 1 else 1 for role, numbers in sorted(found.items())}


class Accumulator:
    """Moments of each entry of the networks of one graph, batch by batch."""

    def __init__(self, graph: NetworkGraph) -> None:
        self.graph, self.count = graph, 0
        self.mean = {p.name: torch.zeros(graph.shape(p.name), dtype=torch.float64) for p in graph.parameters}
        self.squares = {name: torch.zeros_like(tensor) for name, tensor in self.mean.items()}

    def add(self, batch: Weights) -> None:
        """Takes a batch in."""
        for name, tensor in batch.items():
            values = tensor.detach().cpu().double()
            here = values.mean(dim=0)
            difference = here - self.mean[name]
            total = self.count + len(values)
            self.squares[name] += ((values - here) ** 2).sum(dim=0) + difference**2 * (self.count * len(values) / total)
            self.mean[name] += difference * (len(values) / total)
        self.count += batch.batch

    def sums(self, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """For each orbit of a parameter its number of entries in all networks, their mean and their variance."""
        labels = orbits(self.graph, name).flatten()
        entries = torch.bincount(labels).double()
        flat = self.mean[name].flatten()
        middle = torch.zeros_like(entries).index_add_(0, labels, flat) / entries
        spread = self.squares[name].flatten() / self.count + (flat - middle[labels]) ** 2
        variance = torch.zeros_like(entries).index_add_(0, labels, spread) / entries
        return entries * self.count, middle, variance


def orbit_statistics(graph: NetworkGraph | Sequence[NetworkGraph], batches: Iterable[Weights]) -> Statistics:
    """Statistics of all networks in `batches`, which are read once.

    Args:
        graph: Their graph, or several.  A graph of which no network comes has the moments of its roles.
        batches: Batches of networks, each of one of the graphs.  A role that none of them has gets mean 0 and
            deviation 1.

    Raises:
        ZooError: Where there is no network at all.
    """
    graphs = (graph,) if isinstance(graph, NetworkGraph) else tuple(graph)
    places = {one.structure: k for k, one in enumerate(graphs)}
    found = [Accumulator(one) for one in graphs]
    for batch in batches:
        found[places[batch.graph.structure] if batch.graph not in graphs else graphs.index(batch.graph)].add(batch)
    if not any(one.count for one in found):
        raise ZooError("statistics of no networks: the training split is empty")
    roles = _role_moments(graphs, found)
    orbit_moments = []
    for one in found:
        moments = {}
        for parameter in one.graph.parameters:
            if one.count:
                _, mean, variance = one.sums(parameter.name)
                moments[parameter.name] = Moments(mean, variance.sqrt())
            else:
                role, number = role_of(one.graph, parameter.name), int(orbits(one.graph, parameter.name).max()) + 1
                moments[parameter.name] = Moments(roles[role].mean.expand(number), roles[role].std.expand(number))
        orbit_moments.append(moments)
    return Statistics(graphs, tuple(orbit_moments), roles)


def _role_moments(graphs: Sequence[NetworkGraph], found: Sequence[Accumulator]) -> dict[str, Moments]:
    """The moments of all parameters of each role together."""
    numbers = _role_numbers(graphs)
    parts: dict[str, list[tuple[Tensor, Tensor, Tensor]]] = {role: [] for role in numbers}
    for one in found:
        for parameter in one.graph.parameters if one.count else ():
            role = role_of(one.graph, parameter.name)
            parts[role].append(_merged([one.sums(parameter.name)], together=numbers[role] == 1))
    moments = {}
    for role, sums in parts.items():
        if not sums:  # no training network has it
            moments[role] = Moments(torch.zeros(numbers[role]).double(), torch.ones(numbers[role]).double())
            continue
        _, mean, variance = _merged(sums, together=False)
        moments[role] = Moments(mean, variance.sqrt())
    return moments


def _merged(parts: Sequence[tuple[Tensor, Tensor, Tensor]], together: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Counts, means and variances of several as one; with ``together`` all orbits as one, too."""
    counts, means, variances = (torch.stack(each) for each in zip(*parts, strict=True))
    if together:
        counts, means, variances = (each.reshape(-1, 1) for each in (counts, means, variances))
    total = counts.sum(0)
    mean = (counts * means).sum(0) / total
    variance = (counts * (variances + (means - mean) ** 2)).sum(0) / total
    return total, mean, variance
