"""Building a zoo: everything is written into ``NAME.partial``, which takes its final name when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from graphws.zoo.manifest import LONGEST_NAME, MAX_ARCHITECTURES, NAME, Entry, Manifest, Shelf
from graphws.zoo.shards import write_shard
from graphws.zoo.statistics import orbit_statistics
from graphws.zoo.store import ARCHITECTURE, MAX_ALL_GRAPHS, MAX_GRAPH_BYTES
from graphws.zoo.table import Table, check_splits, write_table

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

    Statistics are those of the training split; of all networks where that is empty.  What is written here can be
    opened: what cannot is refused before anything is written.

    Args:
        path: The zoo's final name.
        graphs: The graph of each architecture by its name.
        weights: Gives networks of an architecture, from one of its own numbers up to another; asked in order.
        table: Columns of one entry a network.  Where they are missing, ``sample`` counts up, ``view`` is 0, ``split``
            is ``train`` and ``architecture`` is the only one.
        provenance: For zoo.json.
        shard_bytes: About how large shards become.

    Raises:
        ZooError: Where the columns do not fit each other or the architectures, networks are not finite, a disk is full,
            or something already has the final name.
    """
    folder = partial_folder(path)
    if not (folder / NAME).is_file():
        whole = complete_table(table, list(graphs))
        texts = {name: graph.to_json().encode() for name, graph in graphs.items()}
        _check_graphs(texts)
        table_entry = _entry(folder, "table.parquet", lambda file: write_table(file, whole))
        train = np.asarray(whole["split"] == "train")
        train = train if train.any() else np.ones_like(train)
        shelves: list[Shelf] = []

        def written() -> Iterator[Weights]:
            for number, (name, graph) in enumerate(graphs.items()):
                many = len(graphs) > 1
                graph_name = f"graph-{number:05d}.json" if many else "graph.json"
                graph_entry = _entry(folder, graph_name, lambda file, text=texts[name]: write_whole(file, [text]))  # type: ignore[misc]
                chosen = torch.from_numpy(train[np.asarray(whole[ARCHITECTURE]) == name])
                shards: list[Entry] = []
                size = max(1, shard_bytes // (4 * graph.numel))
                for low in range(0, len(chosen), size):
                    part = weights(name, low, min(low + size, len(chosen)))
                    part.check_finite()
                    stem = f"weights-{number:05d}-{len(shards):05d}" if many else f"weights-{len(shards):05d}"
                    file_name = f"{stem}.safetensors"
                    entry = _entry(folder, file_name, lambda file, p=part: write_shard(file, p.tensors), part.batch)  # type: ignore[misc]
                    shards.append(entry)
                    here = chosen[low : low + size]
                    if bool(here.any()):
                        yield part.select(here)
                shelves.append(Shelf(name, graph_entry, tuple(shards)))

        moments = orbit_statistics(list(graphs.values()), written()).tensors()
        statistics_entry = _entry(folder, "statistics.safetensors", lambda file: write_shard(file, moments))
        count = len(whole["split"])
        Manifest(count, tuple(shelves), table_entry, statistics_entry, provenance).write(folder)
    kept = {NAME, *(entry.name for entry in Manifest.read(folder).files)}
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


def complete_table(table: Table, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The table with the columns that every zoo has.

    Args:
        table: Columns of one entry a network.
        names: The architectures; the only one is everybody's.

    Raises:
        ZooError: On no networks, on columns of different lengths, on sample or view numbers that are none, on unknown
            splits, and where the architectures are not those of the networks.
    """
    lengths = {name: len(column) for name, column in table.items()}
    if not lengths or min(lengths.values()) == 0:
        raise ZooError("a zoo needs networks; there are none")
    count = next(iter(lengths.values()))
    for name, length in lengths.items():
        if length != count:
            raise ZooError(f"the column {name!r} has {length} entries, others have {count}")
    usual = {
        ARCHITECTURE: np.full(count, names[0], dtype=object),
        "sample": np.arange(count),
        "view": np.zeros(count, dtype=np.int64),
        "split": np.full(count, "train", dtype=object),
    }
    whole = {name: np.asarray(table.get(name, column)) for name, column in usual.items()} | dict(table)
    for name in ("sample", "view"):
        if whole[name].dtype.kind not in "iu":
            raise ZooError(f"the column {name!r} must hold whole numbers")
    check_splits(whole["split"])
    if ARCHITECTURE not in table and len(names) > 1:
        raise ZooError(f"the table needs a column {ARCHITECTURE!r}: there are {len(names)} of them")
    met = dict.fromkeys(whole[ARCHITECTURE].tolist())
    if odd := next(iter(met.keys() ^ set(names)), None):
        raise ZooError(
            f"architecture {odd!r} is " + ("named in the table, but has no graph" if odd in met else "of no network")
        )
    return whole


def _check_graphs(texts: Mapping[str, bytes]) -> None:
    """What `Zoo.open` would refuse."""
    for name, text in texts.items():
        if len(text) > MAX_GRAPH_BYTES:
            raise ZooError(f"the graph of architecture {name!r} takes {len(text)} bytes, at most {MAX_GRAPH_BYTES} are")
        if not name.isprintable() or len(name) > LONGEST_NAME:
            raise ZooError(f"architecture {name[:80]!r}: a name is printable and has at most {LONGEST_NAME} characters")
    if len(texts) > MAX_ARCHITECTURES or sum(map(len, texts.values())) > MAX_ALL_GRAPHS:
        raise ZooError(f"{len(texts)} architectures are too many for a zoo, or their graphs too large")


def _entry(folder: Path, name: str, write: Callable[[Path], tuple[int, str]], count: int = 0) -> Entry:
    size, checksum = write(folder / name)
    return Entry(name, size, checksum, count)
