"""Batches of networks, drawn whole.

A zoo is a few large tensors, so a batch is one gather a tensor: there is no per-network item and no collation.
Networks of several graphs come graph by graph, and targets and index of the batch in the same order.  The
sampler deals out indices in *global* batches that depend on the seed and the epoch alone; with several processes each
takes its part of every global batch.  Hence the law that the tests check: one process and two see the same batches and
follow the same loss curve.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from graphws.errors import DataError
from graphws.graph import GroupElement, Mixed, NetworkGraph, Weights, change_each
from graphws.runtime.environment import Processes
from graphws.zoo import Zoo

PART = 8192
"""Networks in memory that are changed at a time."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Networks and what should be read from them.

    Attributes:
        weights: The networks; of several graphs, a list of those of each.
        targets: What the task wants, one row a network, in the order of the networks.
        index: Which networks of the data they are, in that order.
        share: What to multiply a *sum* of per-network losses by, so that its mean over processes is the mean over the
            global batch: (processes) / (networks in the global batch).
    """

    weights: Mixed
    targets: Tensor
    index: Int64[Tensor, " batch"]
    share: float

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""
        return Batch(
            change_each(self.weights, lambda part: part.map(lambda x: x.to(device, non_blocking=non_blocking))),
            self.targets.to(device, non_blocking=non_blocking),
            self.index.to(device, non_blocking=non_blocking),
            self.share,
        )


class NetworkCollection(ABC):
    """Where networks are drawn from: a zoo on disk (`Mapped`), or memory (`Held`, `HeldMixed`)."""

    @property
    @abstractmethod
    def graphs(self) -> tuple[NetworkGraph, ...]:
        """The graphs that networks have: one, or several."""

    @abstractmethod
    def draw(self, index: Int64[Tensor, " batch"]) -> tuple[Mixed, Int64[Tensor, " batch"]]:
        """The networks at `index`, and `index` in the order in which they come.

        Law: row k of the networks is network number k of the index that is given back.  Networks of one graph come in
        the order of `index`; those of several graph by graph, in the order of `graphs`.
        """

    @abstractmethod
    def changed(self, change: Callable[[Weights], Weights]) -> NetworkCollection:
        """The same networks, each changed without its graph: at once where they are held, as they are drawn otherwise.

        The change must treat every network by itself.
        """

    def moved(self, elements: GroupElement) -> NetworkCollection:
        """The same networks, each moved by an element of its own: at once where they are held.

        Args:
            elements: One for each network of the collection, which has one graph; on the CPU.
        """
        return Moved(self, elements)

    @property
    def graph(self) -> NetworkGraph:
        """The graph that all networks share; `DataError` where they have several."""
        if len(self.graphs) > 1:
            raise DataError(f"the networks are of {len(self.graphs)} architectures, and one is needed")
        return self.graphs[0]

    def weights(self, index: Tensor) -> Weights:
        """The networks at `index`, in that order; `DataError` where they are of several graphs."""
        networks, _ = self.draw(index)
        if isinstance(networks, list):
            raise DataError(f"the networks are of {len(networks)} architectures, and one is needed")
        return networks


@dataclass(frozen=True, eq=False)
class Held(NetworkCollection):
    """Networks of one graph in memory, of the processor or of the GPU."""

    networks: Weights

    @property
    def graphs(self) -> tuple[NetworkGraph, ...]:
        """The one graph."""
        return (self.networks.graph,)

    def draw(self, index: Tensor) -> tuple[Mixed, Tensor]:
        """The networks at `index`, where they are held."""
        return self.networks.select(index.to(self.networks.device)), index

    def changed(self, change: Callable[[Weights], Weights]) -> Held:
        """All of them changed now, a part at a time."""
        return Held(_by_parts(self.networks, change))

    def moved(self, elements: GroupElement) -> Held:
        """All of them moved now, a part at a time."""
        parts = torch.arange(self.networks.batch).split(PART)
        return Held(Weights.cat([Moved(self, elements).weights(part) for part in parts]))


@dataclass(frozen=True, eq=False)
class HeldMixed(NetworkCollection):
    """Networks of several graphs in memory, of the processor or of the GPU.

    Attributes:
        parts: For each graph all its networks, by ascending number.
        architecture: (networks), which of `parts` each network is in; on the CPU.
        ranks: (networks), its place there; on the CPU.
    """

    parts: tuple[Weights, ...]
    architecture: Int64[Tensor, " networks"]
    ranks: Int64[Tensor, " networks"]

    @staticmethod
    def of(parts: Sequence[Weights], architecture: Int64[Tensor, " networks"]) -> HeldMixed:
        """From the networks of each graph, by ascending number, and each network's graph."""
        ranks = torch.zeros_like(architecture)
        for number, part in enumerate(parts):
            here = architecture == number
            ranks[here] = torch.arange(part.batch)
        return HeldMixed(tuple(parts), architecture, ranks)

    @property
    def graphs(self) -> tuple[NetworkGraph, ...]:
        """Those of the parts."""
        return tuple(part.graph for part in self.parts)

    def draw(self, index: Tensor) -> tuple[Mixed, Tensor]:
        """The networks at `index`, graph by graph, where they are held."""
        index = index.cpu()
        numbers = self.architecture[index]
        found, order = [], []
        for number in numbers.unique().tolist():
            chosen = index[numbers == number]
            part = self.parts[number]
            found.append(part.select(self.ranks[chosen].to(part.device)))
            order.append(chosen)
        return found, torch.cat([index[:0], *order])

    def changed(self, change: Callable[[Weights], Weights]) -> HeldMixed:
        """All of them changed now, a part at a time."""
        return replace(self, parts=tuple(_by_parts(part, change) if part.batch else part for part in self.parts))


@dataclass(frozen=True, eq=False)
class Mapped(NetworkCollection):
    """Networks of a zoo on disk, read through its memory map as they are drawn."""

    zoo: Zoo

    @property
    def graphs(self) -> tuple[NetworkGraph, ...]:
        """Those of the zoo."""
        return self.zoo.graphs

    def draw(self, index: Tensor) -> tuple[Mixed, Tensor]:
        """The networks at `index`, copied out of the map."""
        if len(self.graphs) == 1:
            return self.zoo.weights(index), index
        parts = self.zoo.parts(index)
        return [weights for _, weights in parts], index[torch.cat([index[:0], *(where for where, _ in parts)])]

    def changed(self, change: Callable[[Weights], Weights]) -> Changed:
        """Changed as they are drawn."""
        return Changed(self, change)


@dataclass(frozen=True, eq=False)
class Changed(NetworkCollection):
    """Networks of another collection, changed as they are drawn; for what does not fit in memory."""

    collection: NetworkCollection
    change: Callable[[Weights], Weights]

    @property
    def graphs(self) -> tuple[NetworkGraph, ...]:
        """Those of the other collection."""
        return self.collection.graphs

    def draw(self, index: Tensor) -> tuple[Mixed, Tensor]:
        """The networks at `index`, changed."""
        networks, order = self.collection.draw(index)
        return change_each(networks, self.change), order

    def changed(self, change: Callable[[Weights], Weights]) -> Changed:
        """Changed once more."""
        return Changed(self, change)


@dataclass(frozen=True, eq=False)
class Moved(NetworkCollection):
    """Networks of another collection, of one graph, each moved by an element of its own as it is drawn."""

    collection: NetworkCollection
    elements: GroupElement

    @property
    def graphs(self) -> tuple[NetworkGraph, ...]:
        """That of the other collection."""
        return self.collection.graphs

    def draw(self, index: Tensor) -> tuple[Mixed, Tensor]:
        """The networks at `index`, moved."""
        networks = self.collection.weights(index)
        return self.elements.select(index.cpu()).to(networks.device).act(networks), index

    def changed(self, change: Callable[[Weights], Weights]) -> Changed:
        """Changed as they are drawn."""
        return Changed(self, change)


def _by_parts(networks: Weights, change: Callable[[Weights], Weights]) -> Weights:
    parts = torch.arange(networks.batch, device=networks.device).split(PART)
    return Weights.cat([change(networks.select(part)) for part in parts])


@dataclass(frozen=True, eq=False)
class Networks:
    """The networks of one split with their targets, ready to be drawn.

    Attributes:
        collection: All networks of the data, not only this split's.
        targets: One row a network of `collection`.
        members: Which of them belong to the split.
    """

    collection: NetworkCollection
    targets: Float[Tensor, "networks outputs"] | Int64[Tensor, " networks"]
    members: Int64[Tensor, " split"]

    def __len__(self) -> int:
        return len(self.members)


class _WholeBatches(Dataset[Batch]):
    """Answers a list of positions with a batch."""

    def __init__(self, networks: Networks, world: int) -> None:
        self.networks, self.world = networks, world

    def __getitem__(self, positions: tuple[list[int], int]) -> Batch:
        rows, global_size = positions
        index = self.networks.members[torch.tensor(rows, dtype=torch.long)]
        share = self.world / global_size
        weights, index = self.networks.collection.draw(index)
        return Batch(weights, self.networks.targets[index], index, share)


class GlobalBatches(Sampler[tuple[list[int], int]]):
    """Positions of each batch of this process, and the size of the global batch it is part of.

    An epoch has ceil(count / batch_size) global batches whose sizes differ by one at most: no network is dropped and
    no batch is so small that its statistics mean nothing.

    Args:
        count: How many networks there are.
        batch_size: The most networks in a global batch.
        group: The processes that share each batch.
        seed: With the epoch, fixes the order; None keeps the order of the data.
    """

    def __init__(self, count: int, batch_size: int, group: Processes, seed: int | None) -> None:
        self.count, self.batch_size, self.group, self.seed = count, batch_size, group, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the coming epoch; the trainer calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[tuple[list[int], int]]:
        order = torch.arange(self.count)
        if self.seed is not None:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(self.count, generator=generator)
        for part in order.tensor_split(len(self)):
            mine = part[self.group.rank :: self.group.world]
            yield mine.tolist(), len(part)


def batches(
    networks: Networks, batch_size: int, group: Processes, seed: int | None, workers: int = 0
) -> DataLoader[Batch]:
    """A loader of whole batches.

    Args:
        networks: The split to draw from.
        batch_size: Networks in a global batch, over all processes.
        group: The processes that share each batch.
        seed: Shuffles differently each epoch; None does not shuffle.
        workers: Processes that gather ahead; worth it only when the zoo is memory-mapped and does not fit in memory.
    """
    sampler = GlobalBatches(len(networks), batch_size, group, seed)
    return DataLoader(
        _WholeBatches(networks, group.world),
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available() and not isinstance(networks.collection, Held | HeldMixed),
    )
