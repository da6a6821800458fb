"""Locks between processes: one at a time works on a folder, and a process that dies lets go by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from graphws.errors import GraphwsError

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind; two processes in one folder are then not noticed
    fcntl = None  # type: ignore[assignment]


@contextmanager
def held(path: Path, busy: GraphwsError) -> Iterator[None]:
    """Holds the lock of a file, which is made where it is not there, and stays.

    Args:
        path: The file; its folder exists.
        busy: What to raise where another process holds it.

    Raises:
        OSError: Where the file cannot be made.
    """
    while True:
        with path.open("ab") as file:
            if not try_lock(file):
                raise busy
            if _is(file, path):
                yield
                return
        if not path.parent.is_dir():  # whoever held it has finished and taken the folder along
            raise busy


def try_lock(file: BinaryIO) -> bool:
    """Locks an open file until it is closed; whether nobody else had."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is(file: BinaryIO, path: Path) -> bool:
    """Whether an open file still has its name: its folder may have been renamed since."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
