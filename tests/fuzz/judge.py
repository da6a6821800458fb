"""What a reader may do with a file: give a result, or refuse in one printable line; everything else is a crash.

Watched besides: warnings that show raw text, files written outside of the folder, programs started, the canary
(`tests.fuzz.canary`) called, memory that grows by more than a small file is worth.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from graphws.errors import GraphwsError, SpecError
from graphws.printable import printable
from tests.fuzz import canary

LONGEST = 2500
"""Characters that a message may have: a file must not fill a screen with what it says."""
MOST_LINES = 400
"""Lines of the message about a spec, which shows every mistake with its line."""
MOST_MEMORY = 1 << 29
"""Bytes by which an input of a few kilobytes may make the process grow."""

Outcome = Literal["taken", "refused", "crashed"]


@dataclass(frozen=True)
class Judged:
    """What became of an input.

    Attributes:
        outcome: See above.
        reason: Of a crash; the message of a refusal.
    """

    outcome: Outcome
    reason: str = ""


class _Watch:
    """Hears of everything that the interpreter opens to write, starts or removes; it cannot be taken off again."""

    STARTS = frozenset(("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "socket.connect"))
    CHANGES = frozenset(("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.truncate"))

    CACHES = (os.path.join(tempfile.gettempdir(), "torchinductor_"),)
    """What PyTorch makes when parts of it are imported, whatever is read."""

    def __init__(self) -> None:
        self.inside: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.inside is None:
            return
        if event in self.STARTS:
            self.seen.append(f"starts something: {event}")
        elif event == "open":
            path, mode, flags = arguments
            writes = (isinstance(mode, str) and set(mode) & set("wxa+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            if writes:
                self._changed(event, path)
        elif event in self.CHANGES:
            self._changed(event, arguments[0])

    def _changed(self, event: str, path: Any) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            place = os.path.realpath(os.fsdecode(path))
            if not place.startswith(((self.inside or "") + os.sep, *self.CACHES)) and place != os.devnull:
                self.seen.append(f"{event} outside of the folder: {place}")


_watch: _Watch | None = None


@contextmanager
def watched(folder: Path) -> Iterator[list[str]]:
    """What was changed outside of a folder or started while it is open, and texts that warnings would show raw."""
    global _watch
    _watch = _watch or _Watch()
    _watch.seen, _watch.inside = [], os.path.realpath(folder)
    seen = _watch.seen

    def show(message: Warning | str, *where: Any, **named: Any) -> None:
        text = str(message)
        if printable(text, lines=True) != text or len(text) > LONGEST:
            seen.append(f"a warning that shows raw text: {text[:200]!r}")

    before = len(canary.heard)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = show
            yield seen
    finally:
        _watch.inside = None
        if len(canary.heard) > before:
            seen.append("ran what the file names")


def _refusal(error: GraphwsError) -> str:
    """What is wrong with a message; empty where nothing is."""
    text = str(error)
    lines = text.split("\n")
    if not text.strip():
        return "a refusal without a word"
    several = isinstance(error, SpecError)
    if len(lines) > (MOST_LINES if several else 1):
        return f"a refusal of {len(lines)} lines"
    if max(map(len, lines)) > LONGEST:
        return f"a refusal of {max(map(len, lines))} characters"
    if printable(text, lines=several) != text:
        return f"a refusal that shows raw text: {text[:200]!r}"
    return ""


def judged(call: Callable[[], object], folder: Path) -> Judged:
    """The outcome of a call that reads a file in a folder."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with watched(folder) as seen:
        try:
            call()
            found = Judged("taken")
        except GraphwsError as error:
            reason = _refusal(error)
            found = Judged("crashed", reason) if reason else Judged("refused", str(error))
        except (Exception, RecursionError, MemoryError) as error:
            found = Judged("crashed", f"{type(error).__name__}: {str(error)[:300]}")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    if seen:
        return Judged("crashed", seen[0])
    return Judged("crashed", f"memory grew by {grown >> 20} MiB") if grown > MOST_MEMORY else found


class Place:
    """A folder that holds the files of one input; what two inputs share is written once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.held: dict[str, bytes] = {}

    def put(self, files: Mapping[str, bytes]) -> None:
        """Holds these files and no others of `put`."""
        for name in self.held.keys() - files.keys():
            (self.folder / name).unlink()
        for name, content in files.items():
            if self.held.get(name) != content:
                place = self.folder / name
                if name not in self.held:
                    place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        self.held = dict(files)
