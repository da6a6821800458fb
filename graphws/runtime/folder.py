"""The run folder: everything that a run read, did and found, and how far it came.

===================  =============================================================================
``run.json``         status (running, interrupted, failed, complete), the zoo; says what this is
``spec.yaml``        the resolved spec
``versions.json``    what the run ran with
``trials/``          a folder for each training
``models/``          the chosen model of each name: ``dwsnet.safetensors``
``metrics.csv``      every epoch of every training
``results.json``     the final table
``figures/``         the pictures of the report
``report.html``      all of it on one page that needs no network
===================  =============================================================================

The status becomes ``complete`` last, so a half-written run is never taken for a whole one.  A lock, which the
operating system drops when a process dies, keeps two processes out of one run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphws.errors import GraphwsError, RunError
from graphws.locks import held
from graphws.runtime.files import make_folder, read_json, write_json, write_text

FORMAT = "graphws-run-1"


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds a run.

    Args:
        path: The folder.
    """

    path: Path

    @property
    def spec(self) -> Path:
        """The resolved spec."""
        return self.path / "spec.yaml"

    @property
    def report(self) -> Path:
        """The page."""
        return self.path / "report.html"

    def trial(self, name: str) -> Path:
        """The folder of a training."""
        return self.path / "trials" / name

    def model(self, name: str) -> Path:
        """The chosen model of a name."""
        return self.path / "models" / f"{name}.safetensors"

    def figure(self, name: str) -> Path:
        """A picture."""
        return self.path / "figures" / f"{name}.png"

    def state(self) -> dict[str, Any]:
        """What ``run.json`` says.

        Raises:
            RunError: When this is not a run.
        """
        state = read_json(self.path / "run.json", "a run")
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise RunError(f"{self.path} is not a run of this version of graphws: run.json is not {FORMAT!r}")
        return state

    def status(self) -> str:
        """``running``, ``interrupted``, ``failed`` or ``complete``."""
        return str(self.state()["status"])

    def mark(self, status: str, **facts: Any) -> None:
        """Change the status and what else ``run.json`` says."""
        write_json(self.path / "run.json", {**self.state(), "status": status, **facts})

    def create(self, spec: str, versions: dict[str, str]) -> None:
        """Start a run here.

        Raises:
            RunError: When the folder cannot be made or holds something else.
        """
        make_folder(self.path)
        strangers = sorted(
            p.name for p in self.path.iterdir() if p.name not in {"run.lock", "spec.yaml", "versions.json"}
        )
        if strangers:
            raise RunError(
                f"{self.path} is not a run: it holds {strangers[0]!r} but no run.json; choose another folder"
            )
        for name in ("trials", "models", "figures"):
            make_folder(self.path / name)
        write_text(self.spec, spec)
        write_json(self.path / "versions.json", versions)
        write_json(self.path / "run.json", {"format": FORMAT, "status": "running"})

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process.

        Raises:
            RunError: When another process holds it.
        """
        make_folder(self.path)
        busy = RunError(f"another process is at work in {self.path}; wait for it or choose another folder")
        with held(self.path / "run.lock", busy):
            yield

    @contextlib.contextmanager
    def work(self, spec: str, versions: dict[str, str]) -> Iterator[None]:
        """Hold the run while it is worked on: start it or go on, and say in ``run.json`` how the work ended.

        Raises:
            RunError: When another process holds it, or the folder cannot be made or holds something else.
        """
        with self.lock():
            if (self.path / "run.json").exists():
                self.mark("running")
            else:
                self.create(spec, versions)
            try:
                yield
            except (Exception, KeyboardInterrupt) as error:
                status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                with contextlib.suppress(GraphwsError):  # a disk too full even for that must not hide the reason
                    self.mark(status, error=str(error) or type(error).__name__)
                raise

    def complete(self) -> bool:
        """Whether a finished run is here."""
        return (self.path / "run.json").exists() and self.status() == "complete"

    def busy(self) -> bool:
        """Whether another process holds the run."""
        try:
            with self.lock():
                return False
        except RunError:
            return True


def next_folder(root: Path, name: str, spec: str) -> RunFolder:
    """Where a spec runs when no folder is named: ``root/name``, or ``root/name-2`` and so on.

    The first folder that does not exist yet, or that holds an unfinished run of exactly this spec, which then goes on.
    """
    number = 1
    while True:
        folder = RunFolder(root / (name if number == 1 else f"{name}-{number}"))
        if not folder.path.exists():
            return folder
        if folder.spec.exists() and folder.spec.read_text(encoding="utf-8") == spec:
            unfinished = (folder.path / "run.json").exists() and folder.status() != "complete"
            if unfinished and not folder.busy():
                return folder
        number += 1
