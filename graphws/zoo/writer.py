"""Building a zoo: everything is written into ``NAME.partial``, which takes its final name when it is whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
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
from graphws.zoo.manifest import NAME, Entry, Manifest
from graphws.zoo.shards import write_shard
from graphws.zoo.statistics import orbit_statistics
from graphws.zoo.table import Table, write_table

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
    graph: NetworkGraph,
    weights: Callable[[int, int], Weights],
    table: Table,
    provenance: dict[str, Any],
    *,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes the final files into the partial folder of `path`, drops everything else in it and renames it.

    Statistics are those of the training split; of all networks where that is empty.

    Args:
        path: The zoo's final name.
        graph: Of all networks.
        weights: Gives the networks from one number up to another; asked in order, a shard at a time.
        table: Columns of one entry a network.
        provenance: For zoo.json.
        shard_bytes: About how large shards become.

    Raises:
        ZooError: Where a disk is full, or something already has the final name.
    """
    folder = partial_folder(path)
    count = len(table["split"])
    if not (folder / NAME).is_file():
        text = graph.to_json().encode()
        graph_entry = _entry(folder, "graph.json", lambda file: write_whole(file, [text]))
        table_entry = _entry(folder, "table.parquet", lambda file: write_table(file, table))
        train = torch.from_numpy(np.asarray(table["split"] == "train"))
        if not bool(train.any()):
            train = torch.ones_like(train)
        size = max(1, shard_bytes // (4 * graph.numel))
        shards: list[Entry] = []

        def written() -> Iterator[Weights]:
            for low in range(0, count, size):
                part = weights(low, min(low + size, count))
                part.check_finite()
                name = f"weights-{len(shards):05d}.safetensors"
                shards.append(_entry(folder, name, lambda file, p=part: write_shard(file, p.tensors), part.batch))  # type: ignore[misc]
                chosen = train[low : low + size]
                if bool(chosen.any()):
                    yield part.select(chosen)

        moments = orbit_statistics(graph, written()).tensors()
        statistics_entry = _entry(folder, "statistics.safetensors", lambda file: write_shard(file, moments))
        Manifest(count, graph_entry, table_entry, statistics_entry, tuple(shards), provenance).write(folder)
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


def _entry(folder: Path, name: str, write: Callable[[Path], tuple[int, str]], count: int = 0) -> Entry:
    size, checksum = write(folder / name)
    return Entry(name, size, checksum, count)
