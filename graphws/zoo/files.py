"""The bytes of a zoo: written whole or not at all, with the checksum that its manifest keeps; read within bounds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from graphws.errors import ZooError
from graphws.files import whole_file


def write_whole(path: Path, chunks: Iterable[bytes | memoryview]) -> tuple[int, str]:
    """Writes `chunks` one after another, atomically.

    Returns:
        tuple[int, str]: Number of bytes, and their SHA-256.

    Raises:
        ZooError: Where the disk is full or the folder cannot be written to; then there is no such file.
    """
    size, total = 0, hashlib.sha256()
    with whole_file(path, ZooError) as file:
        for chunk in chunks:
            file.write(chunk)
            total.update(chunk)
            size += len(chunk)
    return size, total.hexdigest()


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
