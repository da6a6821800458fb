"""The data of a run: networks, targets and splits, checked before a training begins."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from graphws.errors import WeightsError
from graphws.graph import GroupElement, NetworkGraph, parts_of
from graphws.runtime.batches import Held, HeldMixed, Mapped, NetworkCollection, Networks
from graphws.runtime.targets import SPLITS as SPLITS
from graphws.runtime.targets import check_finite, check_parts, class_names, label_names, learnt_part, targets_of
from graphws.zoo import Zoo

HELD_BYTES = 4 << 30
"""A zoo up to this size is held in memory; a larger one is read through its memory map, batch by batch."""


@dataclass(frozen=True, eq=False)
class Data:
    """A zoo as a training sees it.

    Attributes:
        collection: All networks.
        targets: One row a network, in the units of the table; class indices, or real numbers with a column a target.
        members: For each of `SPLITS`, which networks are in it.
        origin: Where the data come from, for errors and reports.
        classes: Names of the classes, where the target is one and they are known.
        needed: Splits that must have networks.

    Raises:
        DataError: On an empty split or a target that is NaN or infinite.
    """

    collection: NetworkCollection
    targets: Tensor
    members: dict[str, Tensor]
    origin: str
    classes: tuple[str, ...] | None = None
    needed: tuple[str, ...] = SPLITS

    def __post_init__(self) -> None:
        check_parts(self.members, self.needed, self.origin)
        check_finite(self.targets, self.origin)

    @property
    def graphs(self) -> tuple[NetworkGraph, ...]:
        """The graphs that networks have: one, or several."""
        return self.collection.graphs

    @property
    def graph(self) -> NetworkGraph:
        """The graph that all networks share; `DataError` where they have several."""
        return self.collection.graph

    def learning_from(self, limit: int | None, chosen: Tensor | None = None) -> Data:
        """The same with no more than the first `limit` networks of the training part.

        Args:
            limit: None for all.
            chosen: Which of all networks count, true or false for each; None for all.
        """
        return replace(self, members={**self.members, "train": learnt_part(self.members["train"], limit, chosen)})

    def moved(self, elements: GroupElement) -> Data:
        """The same networks, each moved by an element of its own."""
        return replace(self, collection=self.collection.moved(elements))

    def split(self, name: str) -> Networks:
        """The networks of a split."""
        return Networks(self.collection, self.targets, self.members[name])


def load_data(
    zoo: Zoo,
    columns: tuple[str, ...],
    whole_numbers: bool,
    device: torch.device | str = "cpu",
    limit: int = HELD_BYTES,
    classes: tuple[str, ...] | None = None,
    *,
    splits: tuple[str, ...] = SPLITS,
) -> Data:
    """A zoo with some columns of its table as targets.

    Args:
        zoo: The zoo.
        columns: The targets; none where the networks themselves are.
        whole_numbers: Whether the target is a class: its index, or its name.
        device: Where to hold networks that fit in memory.
        limit: Bytes up to which the networks are held in memory.
        classes: Names of the classes, where they are known already; else a column of names counts its own, sorted.
        splits: Those that must have networks; all for a training.

    Raises:
        DataError: On a column that is missing or does not hold (whole) numbers, an empty split, a bad target.
        WeightsError: On a network that holds NaN or infinity.
    """
    origin = f"the zoo {zoo.path}"
    collection = _collection(zoo, device, limit)
    for start in range(0, len(zoo), 8192):
        index = torch.arange(start, min(start + 8192, len(zoo)))
        networks, order = collection.draw(index)
        parts = parts_of(networks)
        for part, numbers in zip(parts, order.split([part.batch for part in parts]), strict=True):
            try:
                part.check_finite(numbers)
            except WeightsError as error:
                raise WeightsError(f"{origin}: {error}; fit or pack it again") from None
    members = {name: zoo.split(name) for name in SPLITS}
    labels = label_names(zoo.provenance)
    names = (classes or class_names(zoo.table, columns[0], labels)) if whole_numbers and columns else None
    targets = targets_of(zoo.table, columns, whole_numbers, names, origin)
    return Data(collection, targets, members, origin, names, splits)


def _collection(zoo: Zoo, device: torch.device | str, limit: int) -> NetworkCollection:
    """The networks in memory where they fit, else through the memory map."""
    counts = np.bincount(zoo.architecture, minlength=len(zoo.graphs)).tolist()
    if sum(count * graph.numel * 4 for count, graph in zip(counts, zoo.graphs, strict=True)) > limit:
        return Mapped(zoo)
    if len(zoo.graphs) == 1:
        return Held(zoo.weights().to(device))
    parts = [zoo.weights(np.flatnonzero(zoo.architecture == k)).to(device) for k in range(len(zoo.graphs))]
    return HeldMixed.of(parts, torch.from_numpy(zoo.architecture))
