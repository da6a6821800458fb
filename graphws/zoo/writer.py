"""Building a zoo: everything is written into ``NAME.partial``, which takes its final name when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphws.errors import ZooError
from graphws.files import sweep, sync_folder, write_error
from graphws.graph import NetworkGraph, Weights
from graphws.locks import held
from graphws.zoo.files import write_whole
from graphws.zoo.manifest import NAME, Entry, Manifest, Shelf
from graphws.zoo.requirements import check_graphs, check_provenance, complete_table
from graphws.zoo.shards import DTYPES, write_shard
from graphws.zoo.statistics import orbit_statistics
from graphws.zoo.store import ARCHITECTURE, Zoo, rows_of
from graphws.zoo.table import Table, read_table, write_table

HELD = tuple(DTYPES.values())
"""Types of tensors."""
LOCK = "zoo.lock"
SHARD_BYTES = 512 << 20
"""About how large the shards of a finished zoo are."""


def partial_folder(path: Path) -> Path:
    """Where a zoo is built."""
    return path.with_name(path.name + ".partial")


@contextmanager
def building(path: Path) -> Iterator[Path]:
    """The partial folder of `path`, held for this process; what killed writers left in it is gone.

    Raises:
        ZooError: Where another process builds the same zoo, or the folder cannot be made.
    """
    folder = partial_folder(path)
    busy = ZooError(f"another process is at work in {folder}; wait for it, or give another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with held(folder / LOCK, busy):
            for place in (folder, folder / "parts"):
                sweep(place)
            yield folder
            if folder.is_dir() and [child.name for child in folder.iterdir()] == [
                LOCK
            ]:  # nothing was built: someone else was first
                shutil.rmtree(folder)
    except OSError as error:
        raise write_error(folder, error, ZooError) from error


def finish(
    path: Path,
    graphs: Mapping[str, NetworkGraph],
    weights: Callable[[str, int, int], Weights],
    table: Table,
    provenance: dict[str, Any],
    *,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes the final files into the partial folder of `path`, drops everything else in it and renames it.

    Statistics are those of the training split; of all networks where that is empty.

    Law: what is written can be opened.  What could not be is refused, and where the arguments tell, before anything is
    written.

    Args:
        path: The zoo's final name.
        graphs: The graph of each architecture by its name.
        weights: Gives networks of an architecture, from one of its own numbers up to another; asked in order.
        table: Columns of one entry a network.  Where they are missing, ``sample`` counts up, ``view`` is 0, ``split``
            is ``train`` and ``architecture`` is the only one.
        provenance: For zoo.json.
        shard_bytes: About how large shards become.

    Raises:
        ZooError: Where the columns do not fit each other or the architectures, networks are of another graph, a disk is
            full, or something already has the final name.
        WeightsError: On networks that are not finite.
    """
    folder = partial_folder(path)
    if not (folder / NAME).is_file():
        whole = complete_table(table, list(graphs))
        texts = check_graphs(graphs)
        check_provenance(provenance)
        count = len(whole["split"])
        try:
            table_entry = _entry(folder, "table.parquet", lambda file: write_table(file, whole))
            read_table(folder / "table.parquet", count)
        except ZooError:
            (folder / "table.parquet").unlink(missing_ok=True)
            raise
        train = np.asarray(whole["split"] == "train")
        train = train if train.any() else np.ones_like(train)
        places = {name: number for number, name in enumerate(graphs)}
        rows = rows_of(np.array([places[name] for name in whole[ARCHITECTURE]], dtype=np.int64), len(places))
        shelves: list[Shelf] = []

        def written() -> Iterator[Weights]:
            """Writes architecture after architecture; gives the networks that count."""
            for number, (name, graph) in enumerate(graphs.items()):
                tail = f"-{number:05d}" if len(graphs) > 1 else ""
                text, chosen = texts[name], torch.from_numpy(train[rows[number]])
                graph_entry = _entry(folder, f"graph{tail}.json", lambda file, text=text: write_whole(file, [text]))  # type: ignore[misc]
                shards: list[Entry] = []
                for low, part in _portions(name, graph, weights, len(chosen), shard_bytes):
                    file_name = f"weights{tail}-{len(shards):05d}.safetensors"
                    tensors = part.tensors
                    entry = _entry(folder, file_name, lambda file, t=tensors: write_shard(file, t), len(part))  # type: ignore[misc]
                    shards.append(entry)
                    here = chosen[low : low + len(part)]
                    if bool(here.any()):
                        yield part.select(here)
                shelves.append(Shelf(name, graph_entry, tuple(shards)))

        moments = orbit_statistics(list(graphs.values()), written()).tensors()
        statistics_entry = _entry(folder, "statistics.safetensors", lambda file: write_shard(file, moments))
        Manifest(count, tuple(shelves), table_entry, statistics_entry, provenance).write(folder)
    kept = {NAME, *(entry.name for entry in Zoo.open(folder).manifest.files)}
    try:
        for child in folder.iterdir():
            if child.name not in kept:
                shutil.rmtree(child) if child.is_dir() else child.unlink()
        if path.exists():
            raise ZooError(f"{path}: exists already; remove it, or give another name")
        sync_folder(folder)
        os.rename(folder, path)
        sync_folder(path.parent)
    except OSError as error:
        raise write_error(path, error, ZooError) from error


def _portions(
    name: str, graph: NetworkGraph, weights: Callable[[str, int, int], Weights], count: int, shard_bytes: int
) -> Iterator[tuple[int, Weights]]:
    """The networks of an architecture, a shard at a time, with the number of the first; each is what it should be."""
    size, types = max(1, shard_bytes // (4 * graph.numel)), None
    for low in range(0, count, size):
        high = min(low + size, count)
        part = weights(name, low, high)
        if part.graph != graph:
            raise ZooError(f"architecture {name!r}: its networks from {low} to {high} are of another graph")
        if part.batch != high - low:
            raise ZooError(f"architecture {name!r}: got {part.batch} networks where {high - low} were asked for")
        part.check_finite()
        here = {key: tensor.dtype for key, tensor in part.items()}
        types = here if types is None else types
        for key, dtype in here.items():
            if dtype not in HELD or dtype != types[key]:
                raise ZooError(
                    f"architecture {name!r}: {key!r} is of {dtype} in its networks from {low} to {high}; a zoo holds "
                    + (", ".join(map(str, HELD)) if dtype not in HELD else f"one type, here {types[key]}")
                )
        yield low, part


def _entry(folder: Path, name: str, write: Callable[[Path], tuple[int, str]], count: int = 0) -> Entry:
    size, checksum = write(folder / name)
    return Entry(name, size, checksum, count)
