"""From samples to a zoo: fit every network, survive every interruption, finish atomically.

The networks, view after view of all samples, are cut into parts of 256.  A part is the unit of work: threads and ranks
take parts, and a finished part is a file in ``NAME.partial/parts``, written atomically.  Whatever stops a fit, running
it again goes on with the parts that are missing; as every network depends on nothing but its own (seed, sample, view),
the zoo comes out the same, bit for bit.

Several machines or processes (``torchrun``) share the folder: rank r of w takes the parts r, r + w, …; rank 0 waits for
the others' parts and finishes the zoo.  On one machine threads are as good and start at once: PyTorch lets go of
Python's lock inside its operations.
"""

from __future__ import annotations

import hashlib
import json
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphws.errors import ZooError
from graphws.files import write_error
from graphws.graph import Weights
from graphws.threads import torch_threads
from graphws.zoo.architecture import Architecture
from graphws.zoo.files import read_bounded, write_whole
from graphws.zoo.fit import FitOptions, Fitted, Interrupted, fit_networks
from graphws.zoo.manifest import NAME
from graphws.zoo.shards import FLOATS, read_shard, write_shard
from graphws.zoo.sources import Samples
from graphws.zoo.split import Split, SplitOptions
from graphws.zoo.store import Zoo
from graphws.zoo.table import summary
from graphws.zoo.writer import building, finish, partial_folder

PART = 256
"""Networks of a part: small enough that little is lost when a fit is killed, large enough to fill a GPU's groups."""

_POLL = 0.2  # seconds


@dataclass(frozen=True)
class Progress:
    """How far a fit is.

    Args:
        done: Networks finished, those of earlier runs included.
        total: Networks of the zoo (of this rank, where there are several).
        kept: Networks that earlier runs had finished.
        psnr: Mean decibels of the networks fitted in this run so far; NaN before the first.
    """

    done: int
    total: int
    kept: int
    psnr: float


def fit_zoo(
    path: str | Path,
    samples: Samples,
    architecture: Architecture,
    options: FitOptions | None = None,
    split: Split | None = None,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    threads: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    patience: float = 3600.0,
    progress: Callable[[Progress], None] | None = None,
) -> Zoo | None:
    """Fits one network (or several, `options.views`) a sample and makes a zoo of them.

    A finished zoo of the same name and settings is opened as it is; an unfinished one is gone on with.

    Args:
        path: The zoo's folder.
        samples: What to fit.
        architecture: Its input and output widths must be those of the samples.
        options: How to fit.
        split: How to split the samples, by shares or by a table; by sample, so that all views share a split.
        device: Where to compute.
        dtype: Of computation and weights.
        threads: Parts fitted at the same time, each on one core; None for as many as PyTorch uses.
        rank: Which of several processes this is.
        world_size: How many processes share the work.
        patience: Seconds that rank 0 waits for another part from the others before it gives up.
        progress: Called now and then, from the calling thread.

    Returns:
        Zoo: The finished zoo; None on ranks other than 0.

    Raises:
        ZooError: Where samples and architecture do not fit, a fit diverges, the disk is full, another process fits the
            same zoo, or the name is taken by another zoo or by an unfinished fit with other settings.
        KeyboardInterrupt: On Ctrl-C; what is finished stays for the next run.
    """
    options, split, path = options or FitOptions(), split or SplitOptions(), Path(path)
    channels = samples.values.shape[2]
    if (architecture.widths[0], architecture.widths[-1]) != (samples.coordinates.shape[1], channels):
        raise ZooError(
            f"source {samples.source!r} has {samples.coordinates.shape[1]} coordinates and {channels} channels, "
            f"the architecture {architecture.widths[0]} inputs and {architecture.widths[-1]} outputs"
        )
    if not 0 <= rank < world_size:
        raise ZooError(f"rank {rank} of {world_size} processes: ranks count from 0")
    job = _Job(path, samples, architecture, options, split, torch.device(device), dtype)
    if path.exists():
        zoo = job.opened()
        return zoo if rank == 0 else None
    count = threads or (1 if job.device.type == "cuda" else torch.get_num_threads())
    tell = progress or (lambda state: None)
    if rank != 0:
        job.work(rank, world_size, count, tell)
        return None
    with building(path):
        if not path.exists():  # else another process has finished it just now
            job.work(rank, world_size, count, tell)
            job.wait_for_others(patience)
            job.finish()
    return job.opened()


class _Job:
    """One fit: its settings, and its parts on disk."""

    def __init__(
        self,
        path: Path,
        samples: Samples,
        architecture: Architecture,
        options: FitOptions,
        split: Split,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.path, self.folder = path, partial_folder(path)
        self.samples, self.architecture, self.options = samples, architecture, options
        self.device, self.dtype = device, dtype
        self.count = len(samples) * options.views
        self.parts = math.ceil(self.count / PART)
        self.coordinates = samples.coordinates.to(device=device, dtype=dtype)
        self.split = split.of(samples)
        self.settings: dict[str, Any] = {
            "source": {"kind": samples.source, "samples": len(samples), "sha256": samples.digest()},
            "architecture": architecture.settings(),
            "options": options.settings(),
            "split": split.settings(self.split),
            "dtype": str(dtype).removeprefix("torch."),
            "device": device.type,
        }

    def opened(self) -> Zoo:
        """The finished zoo; `ZooError` where it was made otherwise, or is damaged."""
        try:
            zoo = Zoo.open(self.path)
        except ZooError as error:
            raise ZooError(f"{error}; remove {self.path} and run the same command again") from None
        if zoo.provenance.get("fit") != self.settings:
            difference = _difference(zoo.provenance.get("fit"), self.settings)
            raise ZooError(f"{self.path}: exists already, made otherwise{difference}; remove it, or give another name")
        return zoo

    def work(self, rank: int, world_size: int, threads: int, progress: Callable[[Progress], None]) -> None:
        """Fits what is missing of the parts of a rank."""
        self.prepare()
        if not (self.folder / NAME).is_file():
            mine = [part for part in range(self.parts) if part % world_size == rank]
            self.fit(mine, max(1, threads), progress)

    def prepare(self) -> None:
        """Makes the partial folder, or checks that the one there belongs to the same fit."""
        note, again = self.folder / "fit.json", f"remove {self.folder} and run the same command again"
        text = json.dumps(self.settings, indent=1, sort_keys=True).encode()
        try:
            (self.folder / "parts").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.folder, error, ZooError) from error
        parts = list((self.folder / "parts").iterdir())  # looked at first: other ranks write the note before them
        if not note.exists():
            if parts:
                raise ZooError(f"{note}: missing, so that nobody knows what the parts beside it are; {again}")
            write_whole(note, [text])
        elif (found := read_bounded(note, 1 << 20)) != text:
            try:
                other = json.loads(found)
            except ValueError:
                raise ZooError(f"{note}: damaged: it is not JSON; {again}") from None
            raise ZooError(
                f"{self.folder}: an unfinished fit with other settings{_difference(other, self.settings)}; "
                "go on with those, or remove the folder"
            )

    def range(self, part: int) -> tuple[int, int]:
        """First network of a part and the one after its last."""
        return part * PART, min((part + 1) * PART, self.count)

    def file(self, part: int) -> Path:
        """Where a part is kept."""
        return self.folder / "parts" / f"part-{part:06d}.safetensors"

    def read(self, part: int) -> dict[str, torch.Tensor]:
        """A finished part; `ZooError` where it is damaged."""
        low, high = self.range(part)
        graph = self.architecture.graph()
        shapes = {p.name: (high - low, *graph.shape(p.name)) for p in graph.parameters}
        quality = dict.fromkeys(("fit.loss", "fit.psnr", "fit.steps"), (high - low,))
        return read_shard(self.file(part), {**shapes, **quality}, tuple(FLOATS))

    def _missing(self, parts: list[int]) -> list[int]:
        """Those that are not there; a damaged one is removed, and so counts as missing."""
        missing = []
        for part in parts:
            try:
                if self.file(part).exists():
                    self.read(part)
                    continue
            except ZooError:
                self.file(part).unlink()
            missing.append(part)
        return missing

    def fit(self, parts: list[int], threads: int, progress: Callable[[Progress], None]) -> None:
        """Fits the missing ones of `parts`, several at a time."""
        missing = self._missing(parts)
        size = {part: self.range(part)[1] - self.range(part)[0] for part in parts}
        kept = sum(size.values()) - sum(size[part] for part in missing)
        state = [kept, sum(size.values()), 0, 0.0]  # done, total, fitted here, their summed decibels
        news: queue.SimpleQueue[tuple[int, float]] = queue.SimpleQueue()
        halt = threading.Event()

        def tell() -> None:
            changed = False
            while not news.empty():
                networks, decibels = news.get()
                state[0] += networks
                state[2] += networks
                state[3] += decibels
                changed = True
            if changed:
                progress(Progress(int(state[0]), int(state[1]), kept, state[3] / max(1, state[2])))

        progress(Progress(kept, int(state[1]), kept, math.nan))
        one_each = 1 if threads > 1 else torch.get_num_threads()
        with torch_threads(one_each), ThreadPoolExecutor(threads) as pool:
            tasks: set[Future[None]] = {pool.submit(self._fit_part, part, halt, news) for part in missing}
            try:
                while tasks:
                    finished, tasks = wait(tasks, timeout=_POLL, return_when=FIRST_COMPLETED)
                    tell()
                    for task in finished:
                        task.result()
            except BaseException:
                halt.set()
                for task in tasks:
                    task.cancel()
                raise
        tell()

    def _fit_part(self, part: int, halt: threading.Event, news: queue.SimpleQueue[tuple[int, float]]) -> None:
        if halt.is_set():
            return
        low, high = self.range(part)
        numbers = np.arange(low, high)
        sample, view = numbers % len(self.samples), numbers // len(self.samples)
        targets = self.samples.targets(sample, self.dtype).to(self.device)
        try:
            fitted = fit_networks(
                self.architecture,
                self.coordinates,
                targets,
                sample,
                view,
                self.options,
                peak=self.samples.peak,
                progress=lambda group: news.put((len(group.psnr), float(np.minimum(group.psnr, 200).sum()))),
                stop=halt.is_set,
            )
        except Interrupted:
            return
        write_shard(self.file(part), {**fitted.weights.tensors, **_quality(fitted)})

    def wait_for_others(self, patience: float) -> None:
        """Waits until every part is there; `ZooError` where none has come for `patience` seconds."""
        left, since = self.parts + 1, time.monotonic()
        while missing := [part for part in range(self.parts) if not self.file(part).exists()]:
            if (self.folder / NAME).is_file():
                return
            if len(missing) < left:
                left, since = len(missing), time.monotonic()
            if time.monotonic() - since > patience:
                raise ZooError(
                    f"{self.folder}: {len(missing)} parts of other ranks are missing and none has come for "
                    f"{patience:g} s; run the same command again to fit what is missing"
                )
            time.sleep(_POLL)

    def finish(self) -> None:
        """Joins the parts into a zoo."""
        table = self._table() if not (self.folder / NAME).is_file() else {"split": np.empty(0, dtype=object)}
        provenance = {"kind": "fitted", "fit": self.settings, "summary": summary(table), **self._about()}
        name = "-".join(map(str, self.architecture.widths))
        finish(
            self.path,
            {name: self.architecture.graph()},
            lambda _, low, high: self._weights(low, high),
            table,
            provenance,
        )

    def _about(self) -> dict[str, Any]:
        samples = self.samples
        return {
            "signal": {
                "shape": list(samples.shape),
                "peak": samples.peak,
                "classes": list(samples.classes),
                "coordinates": hashlib.sha256(samples.coordinates.numpy().tobytes()).hexdigest(),
            }
        }

    def _parts(self, low: int, high: int) -> Iterator[tuple[dict[str, torch.Tensor], slice]]:
        for part in range(low // PART, math.ceil(high / PART)):
            first, last = self.range(part)
            yield self.read(part), slice(max(low, first) - first, min(high, last) - first)

    def _weights(self, low: int, high: int) -> Weights:
        graph = self.architecture.graph()
        names = [p.name for p in graph.parameters]
        return Weights.cat([Weights(graph, {n: part[n][rows] for n in names}) for part, rows in self._parts(low, high)])

    def _table(self) -> dict[str, np.ndarray]:
        numbers = np.arange(self.count)
        sample, view = numbers % len(self.samples), numbers // len(self.samples)
        table: dict[str, np.ndarray] = {"sample": sample, "view": view, "split": self.split[sample]}
        table |= {name: column[sample] for name, column in self.samples.table.items() if name not in table}
        quality: dict[str, list[np.ndarray]] = {"loss": [], "psnr": [], "steps": []}
        for part, rows in self._parts(0, self.count):
            for name, columns in quality.items():
                columns.append(part[f"fit.{name}"][rows].numpy())
        table |= {name: np.concatenate(columns) for name, columns in quality.items()}
        table["steps"] = table["steps"].astype(np.int64)
        return table


def _quality(fitted: Fitted) -> dict[str, torch.Tensor]:
    columns = {"loss": fitted.loss, "psnr": fitted.psnr, "steps": fitted.steps.astype(np.float64)}
    return {f"fit.{name}": torch.from_numpy(column) for name, column in columns.items()}


def _difference(there: object, here: dict[str, Any]) -> str:
    """The first setting that differs, in words."""
    if not isinstance(there, dict):
        return ""
    for section, wanted in here.items():
        found = there.get(section)
        if found == wanted:
            continue
        if isinstance(found, dict) and isinstance(wanted, dict):
            for name in {**wanted, **found}:
                if found.get(name) != wanted.get(name):
                    there_is, asked = (repr(each[name]) if name in each else "not set" for each in (found, wanted))
                    return f" ({section}.{name}: {there_is} there, {asked} asked for)"
        return f" ({section}: {found!r} there, {wanted!r} asked for)"
    return ""
