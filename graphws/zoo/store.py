"""The zoo on disk: many networks of one graph, opened memory-mapped.

A zoo is a folder:

* ``graph.json``: the graph that all networks share;
* ``weights-00000.safetensors`` …: one stacked tensor (networks, *shape) for each parameter of the graph;
* ``table.parquet``: one row a network: sample, view, split, labels, quality of the fit;
* ``statistics.safetensors``: mean and deviation of each orbit over the training split;
* ``zoo.json``: the list of all these with sizes and checksums, written last.

A zoo is built in ``NAME.partial`` and renamed when it is whole.  Opening checks every file's size and header and reads
no weights; `Zoo.verify` reads everything and compares checksums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphws.errors import GraphError, ZooError
from graphws.graph import NetworkGraph, Weights
from graphws.zoo.files import digest, read_bounded
from graphws.zoo.manifest import Entry, Manifest
from graphws.zoo.shards import read_shard
from graphws.zoo.statistics import Statistics
from graphws.zoo.table import SPLITS, read_table

MAX_GRAPH_BYTES = 16 << 20

Index = Tensor | np.ndarray | Sequence[int]


@dataclass(frozen=True, eq=False)
class Zoo:
    """A finished zoo; make one with `Zoo.open`.

    Args:
        path: Its folder.
        graph: The networks' graph.
        table: Columns of one entry a network; see `graphws.zoo.table`.
        statistics: Moments of each orbit over the training split.
        manifest: What zoo.json says.
        shards: For each shard its memory-mapped tensors.  Never written to.
    """

    path: Path
    graph: NetworkGraph
    table: dict[str, np.ndarray]
    statistics: Statistics
    manifest: Manifest
    shards: tuple[dict[str, Tensor], ...]

    @staticmethod
    def open(path: str | Path, *, verify: bool = False) -> Zoo:
        """Opens a zoo.

        Args:
            path: The folder.
            verify: Whether to read every file and compare checksums too.

        Raises:
            ZooError: Where it is missing, unfinished, cut off or damaged.
        """
        folder = Path(path)
        manifest = Manifest.read(folder)
        for entry in manifest.files:
            file = folder / entry.name
            if file.is_symlink() or not file.is_file():
                raise ZooError(f"{file}: missing; the zoo is not whole")
            if (size := file.stat().st_size) != entry.bytes:
                raise ZooError(f"{file}: {size} bytes where zoo.json says {entry.bytes}: it was cut off or altered")
        if verify:
            _compare(folder, manifest)
        try:
            text = read_bounded(folder / manifest.graph.name, MAX_GRAPH_BYTES).decode()
            graph = NetworkGraph.from_json(text)
        except (GraphError, UnicodeDecodeError) as error:
            raise ZooError(f"{folder / manifest.graph.name}: damaged: {error}") from error
        shapes = {p.name: graph.shape(p.name) for p in graph.parameters}
        shards = tuple(
            read_shard(folder / entry.name, {name: (entry.count, *shape) for name, shape in shapes.items()})
            for entry in manifest.shards
        )
        moments = read_shard(folder / manifest.statistics.name, Statistics.shapes(graph))
        statistics = {name: tensor.clone() for name, tensor in moments.items()}  # nothing small stays a map
        return Zoo(
            folder,
            graph,
            read_table(folder / manifest.table.name, manifest.count),
            Statistics.from_tensors(graph, statistics),
            manifest,
            shards,
        )

    def verify(self) -> None:
        """Reads every file and compares its checksum; `ZooError` naming the first that differs."""
        _compare(self.path, self.manifest)

    def __len__(self) -> int:
        return self.manifest.count

    @property
    def provenance(self) -> dict[str, Any]:
        """How the zoo was made."""
        return self.manifest.provenance

    def split(self, name: str) -> Tensor:
        """Indices of the networks of a split, ascending; `ZooError` on a name that is none of `SPLITS`."""
        if name not in SPLITS:
            raise ZooError(f"unknown split {name!r}; there are {', '.join(SPLITS)}")
        return torch.from_numpy(np.flatnonzero(self.table["split"] == name))

    def weights(self, index: Index | slice = slice(None)) -> Weights:
        """The networks at `index`, copied out of the map, in that order.

        Raises:
            ZooError: On an index outside of the zoo; where a shard was cut off while the zoo was open.
        """
        if isinstance(index, slice):
            chosen = torch.arange(*index.indices(len(self)))
        else:
            chosen = torch.as_tensor(index, dtype=torch.long).reshape(-1)
        low, high = (int(chosen.min()), int(chosen.max())) if len(chosen) else (0, -1)
        if low < 0 or high >= len(self):
            bad = low if low < 0 else high
            raise ZooError(f"{self.path}: no network {bad}; there are {len(self)}, counted from 0")
        if len(self.shards) == 1:
            self._check_length(self.manifest.shards[0])
            shard = self.shards[0]
            return Weights(self.graph, {name: tensor.index_select(0, chosen) for name, tensor in shard.items()})
        parts = []
        first = 0
        for entry, shard in zip(self.manifest.shards, self.shards, strict=True):
            here = ((chosen >= first) & (chosen < first + entry.count)).nonzero()[:, 0]
            if len(here):
                self._check_length(entry)
                parts.append((here, chosen[here] - first, shard))
            first += entry.count
        tensors = {}
        for name, tensor in self.shards[0].items():
            whole = tensor.new_empty(len(chosen), *tensor.shape[1:])
            for here, inside, shard in parts:
                whole.index_copy_(0, here, shard[name].index_select(0, inside))
            tensors[name] = whole
        return Weights(self.graph, tensors)

    def _check_length(self, entry: Entry) -> None:
        """Asked before each read of a map: behind the end of a file that was cut there is a signal, and no error."""
        file = self.path / entry.name
        try:
            size = file.stat().st_size
        except OSError:
            raise ZooError(f"{file}: missing; it was removed while the zoo was open") from None
        if size < entry.bytes:
            raise ZooError(f"{file}: {size} bytes where zoo.json says {entry.bytes}: it was cut off while it was open")

    def rows(self, index: Index | slice = slice(None)) -> dict[str, np.ndarray]:
        """The table's rows at `index`, column by column, as copies."""
        chosen = index if isinstance(index, slice) else np.asarray(index, dtype=np.int64).reshape(-1)
        return {name: column[chosen].copy() for name, column in self.table.items()}

    def batch(self, index: Index) -> tuple[Weights, dict[str, np.ndarray]]:
        """Weights and table rows of the networks at `index`."""
        return self.weights(index), self.rows(index)

    def __getitem__(self, index: int) -> tuple[Weights, dict[str, Any]]:
        """One network, as a batch of one, and its row."""
        number = index + len(self) if index < 0 else index
        return self.weights([number]), {name: column[number] for name, column in self.table.items()}

    def batches(self, size: int = 4096, index: Tensor | None = None) -> Iterator[Weights]:
        """All networks, or those at `index`, in order, at most `size` at a time."""
        chosen = torch.arange(len(self)) if index is None else index
        for part in chosen.split(size):
            yield self.weights(part)

    def __repr__(self) -> str:
        counts = ", ".join(f"{int((self.table['split'] == name).sum())} {name}" for name in SPLITS)
        return f"Zoo({str(self.path)!r}: {len(self)} networks of {self.graph.numel} numbers; {counts})"


def _compare(folder: Path, manifest: Manifest) -> None:
    for entry in manifest.files:
        if digest(folder / entry.name) != entry.sha256:
            raise ZooError(f"{folder / entry.name}: its checksum is not that of zoo.json: the file was altered")
