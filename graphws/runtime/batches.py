"""Batches of networks, drawn whole.

A zoo is a few large tensors, so a batch is one gather a tensor: there is no per-network item and no collation.  The
sampler deals out indices in *global* batches that depend on the seed and the epoch alone; with several processes each
takes its part of every global batch.  Hence the law that the tests check: one process and two see the same batches and
follow the same loss curve.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from graphws.graph import NetworkGraph, Weights
from graphws.runtime.environment import Processes


@dataclass(frozen=True, eq=False)
class Batch:
    """Networks and what should be read from them.

    Attributes:
        weights: The networks.
        targets: What the task wants, one row a network.
        index: Which networks of the data they are.
        share: What to multiply a *sum* of per-network losses by, so that its mean over processes is the mean over the
            global batch: (processes) / (networks in the global batch).
    """

    weights: Weights
    targets: Tensor
    index: Int64[Tensor, " batch"]
    share: float

    def __len__(self) -> int:
        return len(self.index)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.weights.map(lambda tensor: tensor.to(device, non_blocking=non_blocking)),
            self.targets.to(device, non_blocking=non_blocking),
            self.index.to(device, non_blocking=non_blocking),
            self.share,
        )


@runtime_checkable
class NetworkCollection(Protocol):
    """Where networks are drawn from: a zoo on disk, memory-mapped, or `Held` in memory."""

    @property
    def graph(self) -> NetworkGraph:
        """The graph that all networks share."""

    def weights(self, index: Tensor) -> Weights:
        """The networks at `index`, in that order."""


@dataclass(frozen=True, eq=False)
class Held:
    """Networks in memory, of the processor or of the GPU."""

    networks: Weights

    @property
    def graph(self) -> NetworkGraph:
        """The graph that all networks share."""
        return self.networks.graph

    def weights(self, index: Tensor) -> Weights:
        """The networks at `index`, where they are held."""
        return self.networks.select(index.to(self.networks.device))


@dataclass(frozen=True, eq=False)
class Changed:
    """Networks of another collection, changed as they are drawn; for what does not fit in memory."""

    collection: NetworkCollection
    change: Callable[[Weights], Weights]

    @property
    def graph(self) -> NetworkGraph:
        """The graph that all networks share."""
        return self.collection.graph

    def weights(self, index: Tensor) -> Weights:
        """The networks at `index`, changed."""
        return self.change(self.collection.weights(index))


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
        return Batch(self.networks.collection.weights(index), self.networks.targets[index], index, share)


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
        pin_memory=torch.cuda.is_available() and not isinstance(networks.collection, Held),
    )
