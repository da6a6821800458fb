"""Files that are whole or absent: write next to the target, flush to disk, rename.

A reader therefore never meets half a file under its final name, whatever happened in between.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from graphws.errors import ZooError


def write_whole(path: Path, chunks: Iterable[bytes | memoryview]) -> tuple[int, str]:
    """Writes `chunks` one after another, atomically.

    Returns:
        tuple[int, str]: Number of bytes, and their SHA-256.

    Raises:
        ZooError: Where the disk is full or the folder cannot be written to; then there is no such file.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    size, total = 0, hashlib.sha256()
    try:
        with partial.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
                total.update(chunk)
                size += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise disk_error(path, error) from error
    return size, total.hexdigest()


def disk_error(path: Path, error: OSError) -> ZooError:
    """What to tell the user when writing `path` failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ZooError(
            f"{path}: the disk is full; nothing half-written is kept, so free some space and run the same command again"
        )
    return ZooError(f"{path}: cannot be written: {error.strerror}")


def digest(path: Path) -> str:
    """SHA-256 of a file; `ZooError` where it cannot be read."""
    total = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                total.update(chunk)
    except OSError as error:
        raise ZooError(f"{path}: cannot be read: {error.strerror}") from error
    return total.hexdigest()


def read_bounded(path: Path, limit: int) -> bytes:
    """A small file; `ZooError` where it is missing or larger than `limit` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise ZooError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise ZooError(f"{path}: more than {limit} bytes, which no such file has")
    return data
