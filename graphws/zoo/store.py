"""The zoo on disk: many networks of one or several graphs, opened memory-mapped.

A zoo is a folder:

* ``graph.json``: the graph that all networks share; ``graph-00000.json`` … where there are several architectures;
* ``weights-00000.safetensors`` …: one stacked tensor (networks, *shape) for each parameter of the graph; with several
  architectures ``weights-ARCHITECTURE-SHARD.safetensors``;
* ``table.parquet``: one row a network: architecture, sample, view, split, labels, quality of the fit;
* ``statistics.safetensors``: mean and deviation of each orbit of each graph, and of each role, over the training split;
* ``zoo.json``: the list of all these with sizes and checksums, written last.

Networks are numbered by their rows in the table; those of one architecture stand in its shards in the same order.

A zoo is built in ``NAME.partial`` and renamed when it is whole.  Opening checks every file's size and header and reads
no weights; `Zoo.verify` reads everything and compares checksums.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphws.errors import GraphError, ZooError
from graphws.graph import NetworkGraph, Weights
from graphws.shown import Shown
from graphws.zoo.files import digest, read_bounded
from graphws.zoo.manifest import Entry, Manifest
from graphws.zoo.shards import read_shard
from graphws.zoo.statistics import Statistics
from graphws.zoo.table import SPLITS, read_table

MAX_GRAPH_BYTES = 16 << 20
MAX_ALL_GRAPHS = 256 << 20
"""Bytes of the graphs of all architectures together."""
STATISTICS_TYPES = ("F64",)
ARCHITECTURE = "architecture"
"""The column of the table that names each network's architecture."""

Index = Tensor | np.ndarray | Sequence[int]


@dataclass(frozen=True, eq=False, repr=False)
class Zoo(Shown):
    """A finished zoo; make one with `Zoo.open`.

    Args:
        path: Its folder.
        graphs: The graphs of its architectures.
        names: What the table calls them.
        table: Columns of one entry a network; see `graphws.zoo.table`.
        statistics: Moments of each orbit and of each role over the training split.
        manifest: What zoo.json says.
        shards: For each architecture, for each shard its memory-mapped tensors.  Never written to.
    """

    path: Path
    graphs: tuple[NetworkGraph, ...]
    names: tuple[str, ...]
    table: dict[str, np.ndarray]
    statistics: Statistics
    manifest: Manifest
    shards: tuple[tuple[dict[str, Tensor], ...], ...]

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
        if sum(shelf.graph.bytes for shelf in manifest.architectures) > MAX_ALL_GRAPHS:
            raise ZooError(f"{folder}: its graphs have more than {MAX_ALL_GRAPHS} bytes together")
        graphs = tuple(_read_graph(folder / shelf.graph.name) for shelf in manifest.architectures)
        shelves = zip(graphs, manifest.architectures, strict=True)
        shards = tuple(_read_shards(folder, graph, shelf.shards) for graph, shelf in shelves)
        zoo = Zoo(
            folder,
            graphs,
            tuple(shelf.name for shelf in manifest.architectures),
            read_table(folder / manifest.table.name, manifest.count),
            _read_statistics(folder / manifest.statistics.name, graphs, manifest.version),
            manifest,
            shards,
        )
        zoo._check_architectures()
        return zoo

    @property
    def graph(self) -> NetworkGraph:
        """The graph that all networks share.

        Raises:
            ZooError: Where there are several.
        """
        if len(self.graphs) > 1:
            some = ", ".join(self.names[:4]) + (", ..." if len(self.names) > 4 else "")
            raise ZooError(
                f"{self.path}: holds networks of {len(self.graphs)} architectures ({some}), where one is needed"
            )
        return self.graphs[0]

    @cached_property
    def architecture(self) -> np.ndarray:
        """The number of each network's graph, (networks), int64."""
        if len(self.names) == 1:
            return np.zeros(len(self), dtype=np.int64)
        places = {name: number for number, name in enumerate(self.names)}
        return np.array([places[name] for name in self.table[ARCHITECTURE]], dtype=np.int64)

    @cached_property
    def _ranks(self) -> np.ndarray:
        """The place of each network among those of its architecture, (networks)."""
        ranks = np.empty(len(self), dtype=np.int64)
        for mine in rows_of(self.architecture, len(self.names)):
            ranks[mine] = np.arange(len(mine))
        return ranks

    def _check_architectures(self) -> None:
        """The table names each architecture as often as it has networks."""
        if len(self.names) == 1:
            return
        file = self.path / self.manifest.table.name
        if ARCHITECTURE not in self.table:
            raise ZooError(f"{file}: no column {ARCHITECTURE!r}, and there are {len(self.names)} architectures")
        found = Counter(self.table[ARCHITECTURE].tolist())
        for shelf in self.manifest.architectures:
            if found.pop(shelf.name, 0) != shelf.count:
                raise ZooError(f"{file}: does not name {shelf.count} networks of architecture {shelf.name!r}")
        if found:
            raise ZooError(f"{file}: unknown architecture {str(next(iter(found)))[:80]!r}")

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
            ZooError: On an index outside of the zoo; on networks of several architectures, which `parts` gives; where a
                shard was cut off while the zoo was open.
        """
        chosen = self._chosen(index)
        met = np.unique(self.architecture[chosen.numpy()]) if len(self.graphs) > 1 else [0]
        if len(met) > 1:
            some = ", ".join(self.names[k] for k in met[:4])
            raise ZooError(f"{self.path}: these are networks of {len(met)} architectures ({some}); take Zoo.parts")
        return self._of_one(int(met[0]) if len(met) else 0, chosen)

    def parts(self, index: Index | slice = slice(None)) -> list[tuple[Tensor, Weights]]:
        """The networks at `index`, architecture by architecture.

        Returns:
            list[tuple[Tensor, Weights]]: For each architecture that is met, in the order of `graphs`, the positions in
            `index` (ascending) and the networks there.
        """
        chosen = self._chosen(index)
        if len(self.graphs) == 1:
            return [(torch.arange(len(chosen)), self._of_one(0, chosen))]
        numbers = torch.from_numpy(self.architecture)[chosen]
        found = []
        for number in numbers.unique().tolist():
            positions = (numbers == number).nonzero()[:, 0]
            found.append((positions, self._of_one(number, chosen[positions])))
        return found

    def _chosen(self, index: Index | slice) -> Tensor:
        if isinstance(index, slice):
            return torch.arange(*index.indices(len(self)))
        chosen = torch.as_tensor(index, dtype=torch.long).reshape(-1)
        low, high = (int(chosen.min()), int(chosen.max())) if len(chosen) else (0, -1)
        if low < 0 or high >= len(self):
            bad = low if low < 0 else high
            raise ZooError(f"{self.path}: no network {bad}; there are {len(self)}, counted from 0")
        return chosen

    def _of_one(self, architecture: int, index: Tensor) -> Weights:
        """Networks of one architecture, by their numbers in the zoo."""
        graph, shards = self.graphs[architecture], self.shards[architecture]
        entries = self.manifest.architectures[architecture].shards
        chosen = index if len(self.graphs) == 1 else torch.from_numpy(self._ranks)[index]
        if len(shards) == 1:
            self._check_length(entries[0])
            return Weights(graph, {name: tensor.index_select(0, chosen) for name, tensor in shards[0].items()})
        parts = []
        first = 0
        for entry, shard in zip(entries, shards, strict=True):
            here = ((chosen >= first) & (chosen < first + entry.count)).nonzero()[:, 0]
            if len(here):
                self._check_length(entry)
                parts.append((here, chosen[here] - first, shard))
            first += entry.count
        tensors = {}
        for name, tensor in shards[0].items():
            whole = tensor.new_empty(len(chosen), *tensor.shape[1:])
            for here, inside, shard in parts:
                whole.index_copy_(0, here, shard[name].index_select(0, inside))
            tensors[name] = whole
        return Weights(graph, tensors)

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
        """One network, as a batch of one, and its row; `ZooError` on anything but the number of one."""
        if not isinstance(index, int | np.integer):
            raise ZooError(
                f"{self.path}: one network is taken by its number, got a {type(index).__name__}; Zoo.weights and "
                "Zoo.rows take several"
            )
        number = index + len(self) if index < 0 else index
        return self.weights([number]), {name: column[number] for name, column in self.table.items()}

    def __iter__(self) -> Iterator[tuple[Weights, dict[str, Any]]]:
        """Every network, as a batch of one, and its row; `batches` reads many at a time."""
        return map(self.__getitem__, range(len(self)))

    __contains__ = None  # a search through all networks is never meant

    def batches(self, size: int = 4096, index: Tensor | None = None) -> Iterator[Weights]:
        """All networks, or those at `index`, in order, at most `size` at a time; of one architecture each."""
        chosen = torch.arange(len(self)) if index is None else index
        for part in chosen.split(size):
            for _, weights in self.parts(part):
                yield weights

    def __str__(self) -> str:
        counts = ", ".join(f"{int((self.table['split'] == name).sum())} {name}" for name in SPLITS)
        sizes = sorted({graph.numel for graph in self.graphs})
        numbers = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        several = f", {len(self.graphs)} architectures" if len(self.graphs) > 1 else ""
        return f"Zoo({str(self.path)!r}: {len(self)} networks of {numbers} numbers{several}; {counts})"


def rows_of(architecture: np.ndarray, count: int) -> list[np.ndarray]:
    """For each of `count` architectures the rows of its networks, ascending.

    Args:
        architecture: The number of each row's architecture, (networks), int64.
        count: How many architectures there are.
    """
    order = np.argsort(architecture, kind="stable")
    ends = np.bincount(architecture, minlength=count).cumsum()
    return np.split(order, ends[:-1])


def _read_graph(file: Path) -> NetworkGraph:
    try:
        graph = NetworkGraph.from_json(read_bounded(file, MAX_GRAPH_BYTES).decode())
    except (GraphError, UnicodeDecodeError) as error:
        raise ZooError(f"{file}: damaged: {error}") from error
    if not graph.parameters:
        raise ZooError(f"{file}: a graph without parameters is of no network")
    return graph


def _read_shards(folder: Path, graph: NetworkGraph, entries: Sequence[Entry]) -> tuple[dict[str, Tensor], ...]:
    """The shards of one architecture, whose tensors go on in one another."""
    shapes = {p.name: graph.shape(p.name) for p in graph.parameters}
    shards: list[dict[str, Tensor]] = []
    for entry in entries:
        shard = read_shard(folder / entry.name, {name: (entry.count, *shape) for name, shape in shapes.items()})
        shards.append(shard)
        for name, tensor in shard.items():
            if tensor.dtype != (first := shards[0][name].dtype):
                types = [str(dtype).removeprefix("torch.") for dtype in (tensor.dtype, first)]
                raise ZooError(
                    f"{folder / entry.name}: tensor {name!r} is of {types[0]}, that of {entries[0].name} of {types[1]}"
                )
    return tuple(shards)


def _read_statistics(file: Path, graphs: tuple[NetworkGraph, ...], version: int) -> Statistics:
    try:
        shapes = Statistics.shapes_of_version_1(graphs[0]) if version == 1 else Statistics.shapes(graphs)
    except GraphError as error:
        raise ZooError(f"{file.parent}: damaged: {error}") from error
    found = read_shard(file, shapes, STATISTICS_TYPES)
    tensors = {name: tensor.clone() for name, tensor in found.items()}  # nothing small stays a map
    if version == 1:
        return Statistics.from_version_1(graphs[0], tensors)
    return Statistics.from_tensors(graphs, tensors)


def _compare(folder: Path, manifest: Manifest) -> None:
    for entry in manifest.files:
        if digest(folder / entry.name) != entry.sha256:
            raise ZooError(f"{folder / entry.name}: its checksum is not that of zoo.json: the file was altered")
