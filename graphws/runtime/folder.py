"""The run folder: everything that a run read, did and found, and how far it came.

===================  =============================================================================
``run.json``         status (running, interrupted, failed, complete), the zoo; says what this is
``spec.yaml``        the resolved spec
``versions.json``    what the run ran with
``trials/``          a folder for each training
``preparation.*``    what the models need to answer without the zoo (`graphws.runtime.prepared_file`)
``alignments/``      how the networks were aligned, where the spec asks for it (`graphws.runtime.alignment`)
``points/``          of a sweep: a run folder for each value
``models/``          the chosen model of each name, ``dwsnet.safetensors``, with all that its answers need
``metrics.csv``      every epoch of every training
``results.json``     the final table
``figures/``         the pictures of the report
``report.html``      all of it on one page that needs no network
===================  =============================================================================

The status becomes ``complete`` last, so a half-written run is never taken for a whole one.  A lock, which the
operating system drops when a process dies, keeps two processes out of one run.

A run that failed before anything in it had cost work, as one of wrong data, gives its folder to the next of the name
(`RunFolder.reusable`).

A kill may come at any point.  A folder that holds nothing but what a run makes, and no readable ``run.json``, is begun
again; trainings in it that are finished stay so.  ``run.json`` of a complete run has the checksum of every file but
those of the trainings: what is missing or was altered later is made again when the run is gone on with.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphws.errors import GraphwsError, RunError
from graphws.files import is_temporary, sweep
from graphws.locks import held
from graphws.runtime.files import checksum, make_folder, read_json, write_json, write_text
from graphws.shown import Shown
from graphws.spec import dump_spec, load_spec

FORMAT = "graphws-run-1"
RUNS = Path("runs")
"""Where runs go whose folder is not named."""
OURS = frozenset((
    "run.lock", "run.json", "spec.yaml", "versions.json", "trials", "models", "figures", "metrics.csv", "results.json",
    "probes.safetensors", "report.html", "preparation.json", "preparation.safetensors", "points", "alignments",
))  # fmt: skip
"""What a run makes in its folder."""
FOLDERS = ("trials", "models", "figures")
WORK = ("trials", "models", "alignments")
"""What of a run costs work; the rest is made again from it."""
STATUSES = ("running", "interrupted", "failed", "complete")
_FACTS: dict[str, type] = {
    "spec_sha256": str, "zoo": str, "zoo_sha256": str, "pictures_sha256": str, "outcome": str, "error": str,
    "files": dict, "request": dict, "seconds": dict, "machine": dict, "versions": dict,
    "kept": bool,
}  # fmt: skip
_FILE = re.compile(r"((models|figures)/)?(?!\.)[^/\\]+")
_OF_THE_END = ("outcome", "error", "files")  # forgotten when the work goes on


@dataclass(frozen=True, repr=False)
class RunFolder(Shown):
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

    @property
    def alignments(self) -> Path:
        """What was found when the networks were aligned."""
        return self.path / "alignments"

    def figure(self, name: str) -> Path:
        """A picture."""
        return self.path / "figures" / f"{name}.png"

    def state(self) -> dict[str, Any]:
        """What ``run.json`` says.

        Raises:
            RunError: When this is not a run, or ``run.json`` is damaged.
        """
        try:
            state = self._read()
        except RunError as error:
            if self.startable():
                raise RunError(f"{error}; go on with: graphws train {self.path}") from None
            raise
        if state["format"] != FORMAT:
            raise RunError(f"{self.path} is not a run of this version of graphws: run.json is not {FORMAT!r}")
        return state

    def _read(self) -> dict[str, Any]:
        """What ``run.json`` of any version says; `RunError` where it is missing or damaged."""
        path = self.path / "run.json"
        state = read_json(path, "a run")
        if not isinstance(state, dict) or not isinstance(state.get("format"), str):
            raise RunError(f"{path} is damaged: it does not name its format")
        if state["format"] == FORMAT:
            wrong = [name for name, kind in _FACTS.items() if name in state and not isinstance(state[name], kind)]
            wrong += [] if state.get("status") in STATUSES else ["status"]
            wrong += [] if wrong or all(map(_is_entry, state.get("files", {}).items())) else ["files"]
            if wrong:
                raise RunError(f"{path} is damaged: its {wrong[0]!r} is {state.get(wrong[0])!r}")
            if ("zoo" in state) != ("zoo_sha256" in state):
                raise RunError(f"{path} is damaged: it knows a zoo without its checksum, or the reverse")
        return state

    def startable(self) -> bool:
        """Whether a run was begun here whose ``run.json`` is missing or damaged, so that it can be begun again."""
        return self.spec.is_file() and not self._strangers() and not self._is_known()

    def _is_known(self) -> bool:
        """Whether ``run.json`` can be read."""
        try:
            self._read()
        except RunError:
            return False
        return True

    def _strangers(self) -> list[str]:
        """What is no part of a run."""
        return sorted(
            path.name for path in self.path.iterdir() if path.name not in OURS and not is_temporary(path.name)
        )

    def _is_begun(self, spec: str) -> bool:
        """Whether a run of this spec, or of nobody knows which, was stopped here before it was known."""
        if self._is_known() or self._strangers() or not (self.path / "run.lock").exists():
            return False
        return self.spec.read_text(encoding="utf-8") == spec if self.spec.is_file() else not self._trainings()

    def _trainings(self) -> list[Path]:
        return list((self.path / "trials").glob("*"))

    def reusable(self) -> bool:
        """Whether a run failed here before anything in it had cost work, so that another may take its place."""
        return self._is_known() and not self._strangers() and self._read().get("status") == "failed" and self.blank()

    def blank(self) -> bool:
        """Whether nothing here has cost work, in the points of a sweep neither."""
        if any(path.is_file() for name in WORK for path in (self.path / name).rglob("*")):
            return False
        return all(RunFolder(point).blank() for point in (self.path / "points").glob("*"))

    def _clear(self) -> None:
        """Makes room for another run in a folder that is `blank`."""
        for name in (*WORK, "points"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def versions(self) -> dict[str, str]:
        """What the run ran with; `RunError` where the file is damaged."""
        found = read_json(self.path / "versions.json", "a run")
        if not isinstance(found, dict):
            raise RunError(f"{self.path / 'versions.json'} is damaged: it is no mapping")
        return {name: str(value) for name, value in found.items()}

    def edited(self, spec: str) -> bool:
        """Whether a spec is another than the one that the run was started with."""
        known = self.state().get("spec_sha256")
        return known is not None and known != checksum(spec.encode())

    def status(self) -> str:
        """``running``, ``interrupted``, ``failed`` or ``complete``."""
        return str(self.state()["status"])

    def mark(self, status: str, **facts: Any) -> None:
        """Change the status and what else ``run.json`` says; how the work ended before is forgotten."""
        state = {name: value for name, value in self.state().items() if name not in _OF_THE_END}
        write_json(self.path / "run.json", {**state, "status": status, **facts})

    def finish(self, outcome: str) -> None:
        """Say that the run is complete, and what its files are."""
        places = [self.path, self.path / "models", self.path / "figures"]
        found = [path for place in places for path in place.iterdir() if path.is_file() and not is_temporary(path.name)]
        names = {path.relative_to(self.path).as_posix() for path in found} - {"run.json", "run.lock", "spec.yaml"}
        files = {name: _sum_of(self.path / name) for name in sorted(names)}
        self.mark("complete", outcome=outcome, files=files)

    def altered(self) -> dict[str, str]:
        """Files that are not what they were when the run was complete, or cannot be read, and what they are now."""
        found = {}
        for name, known in self.state().get("files", {}).items():
            if _sum_of(self.path / name) != known:
                what = "was altered" if (self.path / name).exists() else "is missing"
                found[name] = f"{self.path / name} {what}"
        if not _is_spec(self.spec):
            found["spec.yaml"] = f"{self.spec} is missing or damaged"
        if "versions.json" not in found and not _is_table(self.path / "versions.json"):
            found["versions.json"] = f"{self.path / 'versions.json'} is missing or damaged"
        return found

    def known_as(self, spec: str) -> bool:
        """Whether the run was started with exactly this spec, whatever ``spec.yaml`` says now."""
        return bool(self.state().get("spec_sha256") == checksum(spec.encode()))

    def _is_of(self, spec: str) -> bool:
        """Whether the run is one of this spec; older texts of it lack newer keys."""
        if self.known_as(spec):
            return True
        try:
            return dump_spec(load_spec(self.spec)) == spec
        except GraphwsError:
            return False

    def create(self, spec: str, versions: dict[str, str]) -> None:
        """Start a run here.

        Raises:
            RunError: When the folder cannot be made or holds something else.
        """
        make_folder(self.path)
        strangers = self._strangers()
        if strangers:
            raise RunError(
                f"{self.path} is not a run: it holds {strangers[0]!r} but no run.json; choose another folder"
            )
        if self._trainings() and not (self.spec.is_file() and self.spec.read_text(encoding="utf-8") == spec):
            raise RunError(f"{self.path} holds trainings of another spec but no run.json; choose another folder")
        self._make_folders()
        write_text(self.spec, spec)
        write_json(self.path / "versions.json", versions)
        write_json(
            self.path / "run.json", {"format": FORMAT, "status": "running", "spec_sha256": checksum(spec.encode())}
        )

    def _make_folders(self) -> None:
        for name in FOLDERS:
            make_folder(self.path / name)

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
    def work(
        self,
        spec: str,
        versions: dict[str, str],
        tell: Callable[[str], None] = lambda text: None,
        facts: Mapping[str, Any] | None = None,
    ) -> Iterator[None]:
        """Hold the run while it is worked on: start it or go on, and say in ``run.json`` how the work ended.

        Args:
            spec: The resolved spec.
            versions: What the run runs with.
            tell: Hears of what was damaged and is made again.
            facts: What ``run.json`` says from the start, as how the run was asked for.

        Raises:
            RunError: When another process holds it, or the folder cannot be made or holds something else.
        """
        with self.lock():
            for place in (self.path, *(self.path / name for name in ("models", "figures")), *self._trainings()):
                sweep(place)
            if self._is_known() and self.reusable() and not self._is_of(spec):
                self._clear()
                self.create(spec, versions)
                self.mark("running", **(facts or {}))
            elif self._is_known():
                self._heal(spec, versions, tell)
                self.mark("running")
            else:
                if (self.path / "run.json").exists():
                    tell(f"{self.path / 'run.json'} is damaged and is made again")
                self.create(spec, versions)
                self.mark("running", **(facts or {}))
            try:
                yield
            except (Exception, KeyboardInterrupt) as error:
                status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                with contextlib.suppress(GraphwsError):  # a disk too full even for that must not hide the reason
                    self.mark(status, error=str(error) or type(error).__name__)
                raise

    def _heal(self, spec: str, versions: dict[str, str], tell: Callable[[str], None]) -> None:
        """Removes what was altered, so that it is made again, and puts back what every run has."""
        self._make_folders()
        for name, text in self.altered().items():
            tell(f"{text} and is made again")
            with contextlib.suppress(OSError):
                (self.path / name).unlink()
        if not self.spec.exists():
            write_text(self.spec, spec)
        if not (self.path / "versions.json").exists():
            write_json(self.path / "versions.json", versions)

    def complete(self) -> bool:
        """Whether a finished run is here."""
        try:
            return self.status() == "complete"
        except RunError:
            return False

    def busy(self) -> bool:
        """Whether another process holds the run."""
        try:
            with self.lock():
                return False
        except RunError:
            return True


def next_folder(root: Path, name: str, spec: str) -> RunFolder:
    """Where a spec runs when no folder is named: ``root/name``, or ``root/name-2`` and so on.

    The first folder that does not exist yet, or that holds an unfinished run of exactly this spec, which then goes on,
    or one of any spec that failed before it had done any work, whose place this one takes.
    """
    number = 1
    while True:
        folder = RunFolder(root / (name if number == 1 else f"{name}-{number}"))
        if not folder.path.exists():
            return folder
        if folder.path.is_dir() and (_goes_on(folder, spec) or folder.reusable()) and not folder.busy():
            return folder
        number += 1


def _goes_on(folder: RunFolder, spec: str) -> bool:
    try:
        status = folder.status()
    except RunError:
        return folder._is_begun(spec)
    same = folder.spec.exists() and folder.spec.read_text(encoding="utf-8") == spec and not folder.edited(spec)
    return same and status != "complete"


def _is_entry(item: tuple[str, object]) -> bool:
    """Whether a file's name stays in the folder, and its checksum is text."""
    return _FILE.fullmatch(item[0]) is not None and isinstance(item[1], str)


def _is_spec(path: Path) -> bool:
    """Whether a file can be read as a spec."""
    try:
        load_spec(path)
    except GraphwsError:
        return False
    return True


def _is_table(path: Path) -> bool:
    """Whether a file is a JSON object."""
    try:
        return isinstance(read_json(path, "a run"), dict)
    except RunError:
        return False


def _sum_of(path: Path) -> str:
    """The checksum of a file; empty where there is none."""
    try:
        return checksum(path.read_bytes())
    except OSError:
        return ""
