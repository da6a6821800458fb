"""Locks between processes: one at a time works on a folder, and a process that dies lets go by itself.

Some file systems have no locks (a few network ones, and all on Windows): two processes in one folder are then not
noticed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from graphws.errors import GraphwsError

try:
    import fcntl
except ImportError:  # Windows has no advisory locks of this kind
    fcntl = None  # type: ignore[assignment]

_TAKEN = (errno.EAGAIN, errno.EACCES)  # the second where locks of a network are emulated


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
            if try_lock(file) is False:
                raise busy
            if has_name(file, path):
                yield
                return
        if not path.parent.is_dir():  # whoever held it has finished and taken the folder along
            raise busy


def try_lock(file: BinaryIO) -> bool | None:
    """Locks an open file until it is closed.

    Returns:
        bool | None: True where it is ours, False where another process has it, None where there are no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _TAKEN else None
    return True


def has_name(file: BinaryIO, path: Path) -> bool:
    """Whether an open file still has its name: it, or its folder, may have been renamed or removed since."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
