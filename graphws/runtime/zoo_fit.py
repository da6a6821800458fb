"""The fit of the zoo that a spec describes, and how long it took."""

from __future__ import annotations

import contextlib
import math
import time
from pathlib import Path

import torch

from graphws.errors import RunError
from graphws.reporter import Reporter
from graphws.runtime.environment import Processes
from graphws.runtime.files import read_json, write_json
from graphws.spec import ZooSection
from graphws.zoo import Fitting, Zoo, fit_all
from graphws.zoo.fit_job import Progress
from graphws.zoo.fit_job import check_fit as check_job
from graphws.zoo.writer import partial_folder

TIME = ".seconds.json"
"""Ending of the file beside the folder of a zoo, in which nothing depends on how long its fit took."""
_EVERY = 1.0  # seconds between two notes of the time


def check_fit(section: ZooSection, fitting: Fitting) -> None:
    """Whether `fit_section` could make the zoo of a section; `ZooError` where it can be known that not."""
    check_job(section.folder(), fitting, device=_device())


def fit_section(section: ZooSection, group: Processes, reporter: Reporter, fitting: Fitting | None = None) -> Zoo:
    """Fit the zoo of a section, go on with an unfinished one, or open the finished one.

    Args:
        section: The section.
        group: The processes that share the fit.
        reporter: Hears of the progress.
        fitting: What the section builds, where it was built already.

    Raises:
        GraphwsError: When the source is missing, damaged or too small.
        ZooError: When the fit is impossible or cannot be written.
        KeyboardInterrupt: On Ctrl-C; calling again goes on.
    """
    path = section.folder()
    fitting = section.build() if fitting is None else fitting
    finished = path.exists()
    watch = _Watch(partial_folder(path))

    def tell(state: Progress) -> None:
        if group.first:
            watch.note()
        reporter.step(state.done, dict(state.figures))

    if not finished:
        reporter.start(f"fitting {path.name}", fitting.units * fitting.rows, "networks")
    try:
        fit_all(
            path,
            fitting,
            device=_device(),
            rank=group.rank,
            world_size=group.world,
            progress=tell,
        )
    finally:
        if not finished:
            reporter.end()
    if not finished and group.first:
        watch.keep(path)
    group.barrier()
    return Zoo.open(path)


def fit_seconds(zoo: Path) -> float | None:
    """How long the fit of a zoo took, over all continuations; None where nobody knows, or it was not fitted here."""
    return _read(_beside(zoo))


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _beside(folder: Path) -> Path:
    return folder.with_name(folder.name + TIME)


def _read(path: Path) -> float | None:
    try:
        found = read_json(path, "a fitted zoo")
    except RunError:
        return None
    seconds = found.get("seconds") if isinstance(found, dict) else None
    return float(seconds) if isinstance(seconds, int | float) and 0 <= seconds < math.inf else None


class _Watch:
    """The time of a fit, kept in its partial folder so that a continued fit counts what came before."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.noting = folder, folder / f"fit{TIME}"
        self.earlier = _read(self.noting) or 0.0
        self.since = self.noted = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.earlier + time.perf_counter() - self.since

    def note(self) -> None:
        """Keeps the time for a fit that goes on, now and then."""
        if time.perf_counter() - self.noted >= _EVERY and self.folder.is_dir():
            self.noted = time.perf_counter()
            with contextlib.suppress(RunError):
                write_json(self.noting, {"seconds": round(self.seconds, 2)})

    def keep(self, zoo: Path) -> None:
        """Keeps the time beside the finished zoo; a zoo in a folder that is closed to us has none."""
        with contextlib.suppress(RunError):
            write_json(_beside(zoo), {"seconds": round(self.seconds, 2)})
