"""The data of a run: networks, targets and splits, checked before a training begins."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from graphws.errors import DataError, WeightsError, nearest
from graphws.graph import GroupElement, NetworkGraph, parts_of
from graphws.runtime.batches import Held, HeldMixed, Mapped, NetworkCollection, Networks
from graphws.zoo import Zoo

SPLITS = ("train", "validation", "test")
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
        for name in self.needed:
            if not len(self.members.get(name, ())):
                raise DataError(f"{self.origin} has no networks in the {name} split; change zoo.split")
        if not torch.isfinite(self.targets).all():
            row = int((~torch.isfinite(self.targets)).nonzero()[0, 0])
            raise DataError(f"{self.origin}: the target of network {row} is NaN or infinite")

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
        train = self.members["train"]
        train = train if chosen is None else train[chosen[train]]
        return replace(self, members={**self.members, "train": train[:limit]})

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
    names = (classes or _classes(zoo, columns[0])) if whole_numbers and columns else None
    return Data(collection, _targets(zoo, columns, whole_numbers, names, origin), members, origin, names, splits)


def _collection(zoo: Zoo, device: torch.device | str, limit: int) -> NetworkCollection:
    """The networks in memory where they fit, else through the memory map."""
    counts = np.bincount(zoo.architecture, minlength=len(zoo.graphs)).tolist()
    if sum(count * graph.numel * 4 for count, graph in zip(counts, zoo.graphs, strict=True)) > limit:
        return Mapped(zoo)
    if len(zoo.graphs) == 1:
        return Held(zoo.weights().to(device))
    parts = [zoo.weights(np.flatnonzero(zoo.architecture == k)).to(device) for k in range(len(zoo.graphs))]
    return HeldMixed.of(parts, torch.from_numpy(zoo.architecture))


def _classes(zoo: Zoo, column: str) -> tuple[str, ...] | None:
    """Names of the classes in a column: its own texts, or what the source of the signals calls its labels."""
    found = np.asarray(zoo.table.get(column, ()))
    if found.dtype.kind in "OU":
        return tuple(sorted({str(name) for name in found}))
    return tuple(zoo.provenance.get("signal", {}).get("classes", ())) or None if column == "label" else None


def _targets(
    zoo: Zoo, columns: tuple[str, ...], whole_numbers: bool, classes: tuple[str, ...] | None, origin: str
) -> Tensor:
    if not columns:
        return torch.zeros(len(zoo), 0)
    found = []
    for name in columns:
        if name not in zoo.table:
            raise DataError(f"{origin} has no column {name!r}" + nearest(name, zoo.table))
        column = np.asarray(zoo.table[name])
        if whole_numbers and classes and column.dtype.kind in "OU":
            column = _numbered(column, classes, f"{origin}: the column {name!r}")
        if column.dtype.kind not in ("iub" if whole_numbers else "iufb"):
            wanted = "whole numbers or names, one for each class" if whole_numbers else "numbers"
            raise DataError(f"{origin}: the column {name!r} holds {column.dtype.name}; the task needs {wanted}")
        found.append(torch.from_numpy(column.astype(np.int64 if whole_numbers else np.float32)))
    return found[0] if whole_numbers else torch.stack(found, dim=1)


def _numbered(column: np.ndarray, classes: tuple[str, ...], what: str) -> np.ndarray:
    """The number of each class, by its name."""
    places = {name: number for number, name in enumerate(classes)}
    strange = sorted({str(name) for name in column} - places.keys())
    if strange:
        raise DataError(f"{what} holds {strange[0]!r}, which is none of the classes" + nearest(strange[0], places))
    return np.array([places[str(name)] for name in column], dtype=np.int64)
