"""Files that are whole or absent: written under a name of their own, flushed to the disk, renamed.

A reader therefore never meets half a file under its final name, whatever happened in between: a kill, a full disk, or
two writers of one file, in one process or on two machines that share a folder (the last one wins, whole).  What a
killed writer leaves, under a name that nobody reads, `sweep` removes.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from graphws.errors import DataError, GraphwsError
from graphws.locks import has_name, try_lock

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "larger than the limit on files allows (see ulimit -f); raise it and run the same command again",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission denied; choose another folder",
    errno.EPERM: "permission denied; choose another folder",
    errno.EISDIR: "a folder is in its place; remove it and run the same command again",
}

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.tmp")


@contextmanager
def whole_file(path: Path, kind: type[GraphwsError] = DataError) -> Iterator[BinaryIO]:
    """A file to write, which gets the name `path` when the block ends well and vanishes when it does not.

    Args:
        path: The final name; what was there before stays until then.
        kind: What to raise.

    Raises:
        GraphwsError: Of that kind, where the disk is full, read-only or closed to us.
    """
    temporary = None
    try:
        temporary, begun = _begin(path)
        with begun as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException as error:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink()
        if isinstance(error, OSError):
            raise write_error(path, error, kind) from error
        raise


def _begin(path: Path) -> tuple[Path, BinaryIO]:
    """A new file beside `path`, locked, so that `sweep` knows that its writer lives; another where it came first."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
        file = temporary.open("xb")
        if try_lock(file) is not False and has_name(file, temporary):
            return temporary, file
        file.close()


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that a writer has not finished."""
    return _TEMPORARY.fullmatch(name) is not None


def sync_folder(folder: Path) -> None:
    """Flushes a folder's names to the disk, so that a rename outlives a power cut; where the system can."""
    with suppress(OSError):
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)


def sweep(folder: Path, name: str | None = None) -> int:
    """Removes what killed writers left in a folder; how many files that were.

    A file whose writer lives is locked by it, and stays, wherever that writer is; all stay where there are no locks.

    Args:
        folder: Looked at itself, not what is below it.
        name: Only what was to become this file; everything where None.
    """
    removed = 0
    with suppress(OSError):
        for path in list(folder.iterdir()):
            match = _TEMPORARY.fullmatch(path.name)
            if match is None or name not in (None, match["name"]):
                continue
            with suppress(OSError), path.open("r+b") as file:  # locks of a network want a file that can be written
                if try_lock(file):
                    path.unlink()
                    removed += 1
    return removed


def check_place(path: Path, needed: int = 0, kind: type[GraphwsError] = DataError) -> None:
    """Whether something can be written at a path that may not be there yet, as far as a look tells before the work.

    Args:
        path: A file or a folder.
        needed: Bytes that it will take.
        kind: What to raise.

    Raises:
        GraphwsError: Of that kind, where a file is in the way, the place is closed to us, or the disk lacks the room.
    """
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if place != path.absolute() and not place.is_dir():
        raise kind(f"cannot write {path}: {place} is a file, where a folder is needed")
    if not os.access(place, os.W_OK):
        raise write_error(path, PermissionError(errno.EACCES, ""), kind)
    if needed and (free := shutil.disk_usage(place).free) < needed:
        raise kind(
            f"cannot write {path}: it will take {in_bytes(needed)}, and the disk has {in_bytes(free)} free; "
            "free some space or choose another folder"
        )


def in_bytes(count: int) -> str:
    """A size in words, as 812 bytes, 1.5 MB or 3.2 GB."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:,} bytes"


def write_error(path: Path, error: OSError, kind: type[GraphwsError] = DataError) -> GraphwsError:
    """What a failed write means for the user and what to do about it."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return kind(f"cannot write {path}: {reason}")
