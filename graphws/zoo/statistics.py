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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from graphws.errors import ZooError, nearest
from graphws.graph import NetworkGraph, Weights, orbits
from graphws.graph.summary import orbit_count
from graphws.shown import Shown

MOST_LABELS = 1 << 26
"""Numbers of networks whose orbits are remembered; then all are forgotten."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Of the orbits of a parameter, or of a role.

    Args:
        mean: (orbits), float64.
        std: (orbits), the population's, that is, divided by the number of entries.
    """

    mean: Tensor
    std: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Statistics(Shown):
    """Moments of the networks of a zoo.

    Args:
        graphs: Their graphs.
        orbits: For each graph the moments of each parameter's orbits.
        roles: The moments of each role, over all graphs.
    """

    graphs: tuple[NetworkGraph, ...]
    orbits: tuple[Mapping[str, Moments], ...]
    roles: Mapping[str, Moments]
    _labels: dict[tuple[NetworkGraph, str], Tensor] = field(default_factory=dict)

    def spread(self, graph: NetworkGraph, name: str, like: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of each entry of a parameter, of the graph's shape; a constant orbit has deviation 1.

        Type and device are those of `like`; float32 where that is of whole numbers.

        Raises:
            ZooError: Where the parameter has a role that no network of the zoo has.
        """
        moments = self._moments(graph, name)
        std = torch.where(moments.std > 1e-12 * (1 + moments.mean.abs()), moments.std, 1.0)
        return self._entries(graph, name, moments.mean, like), self._entries(graph, name, std, like)

    def root_mean_square(self, graph: NetworkGraph, name: str, like: Tensor) -> Tensor:
        """The root mean square of all entries of a parameter, or role, one number; 1 where all are zeros.

        One figure for all its orbits: a matrix whose diagonal is measured in other units is another matrix.

        Type and device as in `spread`, and the same error.
        """
        moments = self._moments(graph, name)
        squares = moments.mean.square() + moments.std.square()
        dtype = like.dtype if like.is_floating_point() else torch.float32
        if len(squares) > 1:
            counts = torch.bincount(self._of(graph.structure, name).flatten().cpu()).double()
            squares = (squares * counts).sum() / counts.sum()
        found = squares.reshape(()).sqrt()
        return torch.where(found > 1e-12, found, 1.0).to(
            like.device, dtype if dtype.is_floating_point else torch.float32
        )

    def _entries(self, graph: NetworkGraph, name: str, numbers: Tensor, like: Tensor) -> Tensor:
        """A number of each orbit, given to the orbit's entries."""
        numbers = numbers.to(like.device, like.dtype if like.is_floating_point() else torch.float32)
        if len(numbers) == 1:
            shape = graph.shape(name)
            return numbers.reshape([1] * len(shape)).expand(shape)
        return numbers[self._of(graph.structure, name).to(like.device)]

    def _of(self, graph: NetworkGraph, name: str) -> Tensor:
        """The orbit of each entry, which takes a while to find."""
        if (graph, name) not in self._labels:
            labels = orbits(graph, name)
            if sum(known.numel() for known in self._labels.values()) + labels.numel() > MOST_LABELS:
                self._labels.clear()
            self._labels[graph, name] = labels
        return self._labels[graph, name]

    def _moments(self, graph: NetworkGraph, name: str) -> Moments:
        if len(self.graphs) == 1 and self.graphs[0].structure == graph.structure:
            return self.orbits[0][name]
        role = graph.role_of(name)
        if role not in self.roles:
            raise ZooError(
                f"parameter {name!r} has the role {role!r}, of which the zoo has no statistics; it knows "
                f"{', '.join(sorted(self.roles))}" + nearest(role, self.roles)
            )
        moments, number = self.roles[role], orbit_count(graph, name)
        if len(moments.mean) not in (1, number):
            raise ZooError(
                f"parameter {name!r} of role {role!r} has {number} orbits, those of the zoo have {len(moments.mean)}"
            )
        return moments

    def normalise(self, weights: Weights) -> Weights:
        """Every orbit, or role, with mean 0 and deviation 1; whole numbers become floats."""
        moved = {}
        for name, tensor in floats(weights):
            mean, std = self.spread(weights.graph, name, tensor)
            moved[name] = (tensor - mean) / std
        return Weights(weights.graph, moved)

    def restore(self, weights: Weights) -> Weights:
        """The inverse of `normalise`, but for the type of whole numbers."""
        moved = {}
        for name, tensor in floats(weights):
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
        roles = [graph.role_of(p.name) for p in graph.parameters]
        alone = {graph.role_of(name): moments for name, moments in found.items()}
        return Statistics((graph,), (found,), {role: m for role, m in alone.items() if roles.count(role) == 1})


def _numbers(graph: NetworkGraph) -> dict[str, int]:
    """How many orbits each parameter has."""
    return {p.name: orbit_count(graph, p.name) for p in graph.parameters}


def floats(weights: Weights) -> Iterator[tuple[str, Tensor]]:
    """The tensors, counters and masks as floats of the type that the others have."""
    kind = weights.floating if weights.floating.is_floating_point else torch.float32
    for name, tensor in weights.items():
        yield name, tensor if tensor.is_floating_point() else tensor.to(kind)


def _role_numbers(graphs: Sequence[NetworkGraph]) -> dict[str, int]:
    """How many moments each role has: one an orbit where all its parameters have as many, else one."""
    found: dict[str, set[int]] = {}
    for graph in graphs:
        for name, number in _numbers(graph).items():
            found.setdefault(graph.role_of(name), set()).add(number)
    return {role: max(numbers) if len(numbers) == 1 else 1 for role, numbers in sorted(found.items())}


class Accumulator:
    """Moments of each orbit of the networks of one graph, batch by batch."""

    def __init__(self, graph: NetworkGraph) -> None:
        self.graph, self.networks = graph, 0
        self.sums: dict[str, Sums] = {}
        self._labels: dict[str, Tensor] = {}

    def add(self, batch: Weights) -> None:
        """Takes a batch in."""
        for name, tensor in batch.items() if batch.batch else ():
            if name not in self._labels:
                self._labels[name] = orbits(self.graph, name).flatten()
            here = _sums(tensor.detach().cpu().double().reshape(batch.batch, -1), self._labels[name])
            self.sums[name] = _merged([self.sums[name], here]) if name in self.sums else here
        self.networks += batch.batch

    def rest(self) -> None:
        """Forgets what is quickly found again: the next networks are of another graph."""
        self._labels.clear()


Sums = tuple[Tensor, Tensor, Tensor]
"""For each orbit how many numbers there are, their mean and their variance, (orbits) each."""


def _sums(values: Tensor, labels: Tensor) -> Sums:
    """Of values (networks, entries) and the orbit of each entry."""
    entries = torch.bincount(labels).double()
    counts = entries * len(values)
    mean = torch.zeros_like(entries).index_add_(0, labels, values.sum(0)) / counts
    squares = (values - mean[labels]).square().sum(0)
    return counts, mean, torch.zeros_like(entries).index_add_(0, labels, squares) / counts


def orbit_statistics(graph: NetworkGraph | Sequence[NetworkGraph], batches: Iterable[Weights]) -> Statistics:
    """Statistics of all networks in `batches`, which are read once.

    Args:
        graph: Their graph, or several.  A graph of which no network comes has the moments of its roles.
        batches: Batches of networks, each of one of the graphs.  A role that none of them has gets mean 0 and
            deviation 1.

    Raises:
        ZooError: Where there is no network at all, or one of another graph.
    """
    graphs = (graph,) if isinstance(graph, NetworkGraph) else tuple(graph)
    found = [Accumulator(one) for one in graphs]
    places = {one.graph.structure: one for one in reversed(found)} | {one.graph: one for one in reversed(found)}
    last = found[0]
    for batch in batches:
        one = places.get(batch.graph) or places.get(batch.graph.structure)
        if one is None:
            raise ZooError("statistics: these networks are of a graph that is none of those given")
        if one is not last:
            last.rest()
        last = one
        one.add(batch)
    if not any(one.networks for one in found):
        raise ZooError("statistics of no networks: the training split is empty")
    roles = _role_moments(graphs, found)
    orbit_moments = []
    for one in (places[each] for each in graphs):
        moments = {}
        for name, number in _numbers(one.graph).items():
            if one.networks:
                _, mean, variance = one.sums[name]
                moments[name] = Moments(mean, variance.sqrt())
            else:
                role = roles[one.graph.role_of(name)]
                moments[name] = Moments(role.mean.expand(number), role.std.expand(number))
        orbit_moments.append(moments)
    return Statistics(graphs, tuple(orbit_moments), roles)


def _role_moments(graphs: Sequence[NetworkGraph], found: Sequence[Accumulator]) -> dict[str, Moments]:
    """The moments of all parameters of each role together."""
    numbers = _role_numbers(graphs)
    parts: dict[str, list[Sums]] = {role: [] for role in numbers}
    for one in found:
        for name, sums in one.sums.items():
            role = one.graph.role_of(name)
            parts[role].append(_together(sums) if numbers[role] == 1 else sums)
    moments = {}
    for role, sums_of_role in parts.items():
        if not sums_of_role:  # no training network has it
            moments[role] = Moments(torch.zeros(numbers[role]).double(), torch.ones(numbers[role]).double())
            continue
        _, mean, variance = _merged(sums_of_role)
        moments[role] = Moments(mean, variance.sqrt())
    return moments


def _together(sums: Sums) -> Sums:
    """All orbits as one."""
    counts, means, variances = (each.reshape(-1, 1) for each in sums)
    return _merged(list(zip(counts, means, variances, strict=True)))


def _merged(parts: Sequence[Sums]) -> Sums:
    """The sums of several sets of numbers together (Chan, Golub and LeVeque 1979, for any number of sets)."""
    counts, means, variances = (torch.stack(each) for each in zip(*parts, strict=True))
    total = counts.sum(0)
    mean = (counts * means).sum(0) / total
    return total, mean, (counts * (variances + (means - mean) ** 2)).sum(0) / total
