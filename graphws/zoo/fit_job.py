"""From what is to be fitted to a zoo: fit every network, survive every interruption, finish atomically.

The units of a fitting (`graphws.zoo.fitting`) are cut into parts of at most 256.  A part is the unit of work: threads
and ranks take parts, and a finished part is a file in ``NAME.partial/parts``, written atomically.  Whatever stops a
fit, running it again goes on with the parts that are missing; as every network depends on nothing but its own number
and the settings, the zoo comes out the same, bit for bit.

Several machines or processes (``torchrun``) share the folder: rank r of w takes the parts r, r + w, …; rank 0 waits for
the others' parts and finishes the zoo.  On one machine threads are as good and start at once: PyTorch lets go of
Python's lock inside its operations.
"""

from __future__ import annotations

import json
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphws.errors import ZooError
from graphws.files import check_place, write_error
from graphws.graph import Weights
from graphws.shown import Shown
from graphws.threads import torch_threads
from graphws.zoo.files import read_bounded, write_whole
from graphws.zoo.fitting import Fitting, Interrupted
from graphws.zoo.manifest import NAME
from graphws.zoo.requirements import check_graphs, check_provenance, complete_table
from graphws.zoo.shards import FLOATS, read_shard, write_shard
from graphws.zoo.store import Zoo
from graphws.zoo.table import summary
from graphws.zoo.writer import building, finish, partial_folder

PART = 256
"""Units of a part: small enough that little is lost when a fit is killed, large enough to fill a GPU's groups."""

_POLL = 0.2  # seconds
_COLUMN = "fit."  # before the names of columns, in files of parts


@dataclass(frozen=True, repr=False)
class Progress(Shown):
    """How far a fit is.

    Args:
        done: Networks finished, those of earlier runs included.
        total: Networks of the zoo (of this rank, where there are several).
        kept: Networks that earlier runs had finished.
        figures: Means over the networks fitted in this run so far, as their decibels; none before the first.
    """

    done: int
    total: int
    kept: int
    figures: Mapping[str, float] = field(default_factory=dict)


def fit_all(
    path: str | Path,
    fitting: Fitting,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    threads: int | None = None,
    rank: int = 0,
    world_size: int = 1,
    patience: float = 3600.0,
    progress: Callable[[Progress], None] | None = None,
) -> Zoo | None:
    """Fits all units and makes a zoo of their networks.

    A finished zoo of the same name and settings is opened as it is; an unfinished one is gone on with.

    Args:
        path: The zoo's folder.
        fitting: What to fit.
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
        ZooError: Where a fit diverges, the disk is full, another process fits the same zoo, or the name is taken by
            another zoo or by an unfinished fit with other settings.
        KeyboardInterrupt: On Ctrl-C; what is finished stays for the next run.
    """
    path = Path(path)
    if not 0 <= rank < world_size:
        raise ZooError(f"rank {rank} of {world_size} processes: ranks count from 0")
    job = _Job(path, fitting, torch.device(device), dtype)
    if path.exists():
        zoo = job.opened()
        return zoo if rank == 0 else None
    count = threads or (1 if job.device.type == "cuda" else torch.get_num_threads())
    tell = progress or (lambda state: None)
    if rank != 0:
        job.work(rank, world_size, count, tell)
        return None
    job.check()
    with building(path):
        if not path.exists():  # else another process has finished it just now
            job.work(rank, world_size, count, tell)
            job.wait_for_others(patience)
            job.finish()
    return job.opened()


def check_fit(
    path: str | Path, fitting: Fitting, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> None:
    """Whether `fit_all` could make this zoo, as far as it can be known before any network is fitted.

    Raises:
        ZooError: Where the name is taken by another zoo or an unfinished fit with other settings, the zoo could not be
            opened in the end, its place is closed to us, or the disk lacks the room.
    """
    job = _Job(Path(path), fitting, torch.device(device), dtype)
    if job.path.exists():
        job.opened()
    else:
        job.check()


class _Job:
    """One fit: its settings, and its parts on disk."""

    def __init__(self, path: Path, fitting: Fitting, device: torch.device, dtype: torch.dtype) -> None:
        self.path, self.folder = path, partial_folder(path)
        self.fitting, self.device, self.dtype = fitting, device, dtype
        self.size = max(1, min(PART, fitting.most))
        self.parts = math.ceil(fitting.units / self.size)
        settings = {
            **fitting.settings(),
            "dtype": str(dtype).removeprefix("torch."),
            "device": device.type,
        }
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))  # as it is read again: tuples are lists

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

    def check(self) -> None:
        """What can be known before a fit; `ZooError` as `check_fit` has it."""
        self.agree()
        graph, count = self.fitting.graph, self.fitting.units * self.fitting.rows
        measured = {name: np.zeros(count, dtype=kind) for name, kind in self.fitting.measured.items()}
        complete_table({**self.fitting.table(), **measured}, [self.fitting.name])
        check_graphs({self.fitting.name: graph})
        check_provenance({"fit": self.settings, **self.fitting.about()})
        networks = count * graph.numel * self.dtype.itemsize
        there = sum(self.file(part).stat().st_size for part in range(self.parts) if self.file(part).exists())
        check_place(self.path, max(0, 2 * networks - there), ZooError)  # parts stay until the shards are written

    def prepare(self) -> None:
        """Makes the partial folder, or checks that the one there belongs to the same fit."""
        try:
            (self.folder / "parts").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.folder, error, ZooError) from error
        self.agree()
        if not (note := self.folder / "fit.json").exists():
            write_whole(note, [self._note()])

    def _note(self) -> bytes:
        """What the partial folder says of the fit."""
        return json.dumps(self.settings, indent=1, sort_keys=True).encode()

    def agree(self) -> None:
        """Whether a partial folder that is there belongs to the same fit; `ZooError` where not."""
        note, again = self.folder / "fit.json", f"remove {self.folder} and run the same command again"
        parts = list((self.folder / "parts").glob("*"))  # looked at first: other ranks write the note before them
        if not note.exists():
            if parts:
                raise ZooError(f"{note}: missing, so that nobody knows what the parts beside it are; {again}")
        elif (found := read_bounded(note, 1 << 20)) != self._note():
            try:
                other = json.loads(found)
            except ValueError:
                raise ZooError(f"{note}: damaged: it is not JSON; {again}") from None
            raise ZooError(
                f"{self.folder}: an unfinished fit with other settings{_difference(other, self.settings)}; "
                "go on with those, or remove the folder"
            )

    def range(self, part: int) -> tuple[int, int]:
        """First unit of a part and the one after its last."""
        return part * self.size, min((part + 1) * self.size, self.fitting.units)

    def count(self, part: int) -> int:
        """Networks of a part."""
        low, high = self.range(part)
        return (high - low) * self.fitting.rows

    def file(self, part: int) -> Path:
        """Where a part is kept."""
        return self.folder / "parts" / f"part-{part:06d}.safetensors"

    def read(self, part: int) -> dict[str, torch.Tensor]:
        """A finished part; `ZooError` where it is damaged."""
        count, graph = self.count(part), self.fitting.graph
        shapes = {p.name: (count, *graph.shape(p.name)) for p in graph.parameters}
        columns = dict.fromkeys((f"{_COLUMN}{name}" for name in self.fitting.measured), (count,))
        return read_shard(self.file(part), {**shapes, **columns}, tuple(FLOATS))

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
        total = sum(map(self.count, parts))
        kept = total - sum(map(self.count, missing))
        fitted, sums = 0, dict[str, float]()
        news: queue.SimpleQueue[tuple[int, Mapping[str, float]]] = queue.SimpleQueue()
        halt = threading.Event()

        def tell() -> None:
            nonlocal fitted
            before = fitted
            while not news.empty():
                networks, figures = news.get()
                fitted += networks
                for name, figure in figures.items():
                    sums[name] = sums.get(name, 0.0) + figure
            if fitted > before:
                means = {name: figure / fitted for name, figure in sums.items()}
                progress(Progress(kept + fitted, total, kept, means))

        progress(Progress(kept, total, kept))
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

    def _fit_part(
        self, part: int, halt: threading.Event, news: queue.SimpleQueue[tuple[int, Mapping[str, float]]]
    ) -> None:
        if halt.is_set():
            return
        try:
            fitted = self.fitting.fit(
                *self.range(part), self.device, self.dtype, lambda *told: news.put(told), halt.is_set
            )
        except Interrupted:
            return
        columns = {name: fitted.columns[name].astype(np.float64) for name in self.fitting.measured}
        write_shard(
            self.file(part),
            {**fitted.weights.tensors, **{_COLUMN + name: torch.from_numpy(x) for name, x in columns.items()}},
        )

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
        provenance = {"kind": "fitted", "fit": self.settings, "summary": summary(table), **self.fitting.about()}
        finish(
            self.path,
            {self.fitting.name: self.fitting.graph},
            lambda _, low, high: self._weights(low, high),
            table,
            provenance,
        )

    def _parts(self, low: int, high: int) -> Iterator[tuple[dict[str, torch.Tensor], slice]]:
        """The parts that hold the networks from `low` up to `high`, and where in each they are."""
        size = self.size * self.fitting.rows
        for part in range(low // size, math.ceil(high / size)):
            first, last = part * size, part * size + self.count(part)
            yield self.read(part), slice(max(low, first) - first, min(high, last) - first)

    def _weights(self, low: int, high: int) -> Weights:
        graph = self.fitting.graph
        names = [p.name for p in graph.parameters]
        return Weights.cat([Weights(graph, {n: part[n][rows] for n in names}) for part, rows in self._parts(low, high)])

    def _table(self) -> dict[str, np.ndarray]:
        found: dict[str, list[np.ndarray]] = {name: [] for name in self.fitting.measured}
        for part, rows in self._parts(0, self.fitting.units * self.fitting.rows):
            for name, columns in found.items():
                columns.append(part[_COLUMN + name][rows].numpy())
        types = self.fitting.measured
        measured = {name: np.concatenate(columns).astype(types[name]) for name, columns in found.items()}
        return {**self.fitting.table(), **measured}


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
