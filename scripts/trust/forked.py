"""Commands of graphws in forks of this process, which has everything imported, killed at a chosen file operation.

A file operation is what Python's audit hooks tell of below the folder where the command runs: a file opened to be
written, made, renamed, removed or locked, and a folder made or removed.  The kill comes before it.  Where a file is
flushed to the disk there are two points more: before, and with half of the file.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import Any

import torch

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.symlink")
"""Audit events of which the first argument is what is changed."""
IMPORTED = (
    "lightning.pytorch",
    "matplotlib.pyplot",
    "pyarrow.compute",
    "PIL.PngImagePlugin",
    "graphws.checkpoints.network_file",
    "graphws.cli",
    "graphws.layers",
    "graphws.models",
    "graphws.runtime.job",
    "graphws.trainings",
    "graphws.zoo.pack",
    "graphws_converters.sources",
)
"""What commands import."""
LIMIT = 300.0
"""Seconds after which a command hangs."""

Command = Sequence[str] | Callable[[], int]
"""Arguments of graphws, or anything else that ends with a code."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Its exit code; minus the signal that ended it.
        points: The file operations before its end: what it was, and its file's name.
        seconds: How long it took.
        output: What it printed, on both channels.
    """

    code: int
    points: tuple[str, ...]
    seconds: float
    output: str


def warm_up() -> None:
    """Imports all that commands need, so that forks start at once."""
    for name in IMPORTED:
        importlib.import_module(name)
    torch.set_num_threads(1)


def run(command: Command, place: Path, kill: int | None = None, after: float | None = None) -> Ended:
    """Runs a command in a fork.

    Args:
        command: What to run.
        place: The folder where it runs; only what is below it counts.
        kill: The number of the file operation, from 0, before which it is killed.
        after: Seconds after which it is killed.
    """
    reader, writer = os.pipe()
    since = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _be_the_child(command, place, kill, writer)
    os.close(writer)
    text = _read(reader, child, since, after)
    _, status = os.waitpid(child, 0)
    points, output = [], []
    for line in text.decode(errors="replace").splitlines():
        (points if line.startswith("\x02") else output).append(line.removeprefix("\x02"))
    return Ended(os.waitstatus_to_exitcode(status), tuple(points), time.monotonic() - since, "\n".join(output))


def _read(reader: int, child: int, since: float, after: float | None) -> bytes:
    """All that a child writes until it ends, killed when its time is over."""
    text, killed = b"", False
    while True:
        left = None if killed else since + (LIMIT if after is None else after) - time.monotonic()
        if left is not None and (left <= 0 or not select.select([reader], [], [], left)[0]):
            os.kill(child, signal.SIGKILL)
            killed = True
            continue
        part = os.read(reader, 1 << 16)
        if not part:
            os.close(reader)
            return text
        text += part


def _be_the_child(command: Command, place: Path, kill: int | None, writer: int) -> None:
    code = 70
    try:
        os.chdir(place)
        for channel in (1, 2):
            os.dup2(writer, channel)
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        _count(str(place.resolve()), kill, writer)
        code = command() if callable(command) else _graphws(command)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _graphws(arguments: Sequence[str]) -> int:
    from graphws.cli import app

    try:
        app(list(arguments), standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _count(place: str, kill: int | None, writer: int) -> None:
    """Tells of each file operation from now on, and ends the process before one of them."""
    number = 0

    def point(what: str, path: str, before: Callable[[], object] = lambda: None) -> None:
        nonlocal number
        os.write(writer, f"\x02{what} {os.path.basename(path)}\n".encode())
        number += 1
        if number - 1 == kill:
            before()
            os.kill(os.getpid(), signal.SIGKILL)

    def inside(path: object) -> str | None:
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        text = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]
        return text if text.startswith(place) else None

    def hear(event: str, given: tuple[Any, ...]) -> None:
        if event in CHANGES or event == "fcntl.flock":
            path = inside(given[0])
        elif event == "open" and isinstance(given[2], int) and given[2] & WRITES:
            path = inside(given[0]) if not isinstance(given[0], int) else None
        else:
            return
        if path is not None:
            point(event.removeprefix("os."), path)

    sync = os.fsync

    def fsync(descriptor: int) -> None:
        about = os.fstat(descriptor)
        if S_ISREG(about.st_mode) and (path := inside(descriptor)) is not None:
            point("half", path, lambda: os.ftruncate(descriptor, about.st_size // 2))
            point("fsync", path)
        sync(descriptor)

    os.fsync = fsync
    sys.addaudithook(hear)
