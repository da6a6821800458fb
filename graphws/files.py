"""Files that are whole or absent: written under a name of their own, flushed to the disk, renamed.

A reader therefore never meets half a file under its final name, whatever happened in between: a kill, a full disk, or
two writers of one file, in one process or on two machines that share a folder (the last one wins, whole).
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from graphws.errors import DataError, GraphwsError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "larger than the limit on files allows (see ulimit -f); raise it and run the same command again",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission denied; choose another folder",
    errno.EPERM: "permission denied; choose another folder",
}


@contextmanager
def whole_file(path: Path, kind: type[GraphwsError] = DataError) -> Iterator[BinaryIO]:
    """A file to write, which gets the name `path` when the block ends well and vanishes when it does not.

    Args:
        path: The final name; what was there before stays until then.
        kind: What to raise.

    Raises:
        GraphwsError: Of that kind, where the disk is full, read-only or closed to us.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise write_error(path, error, kind) from error
        raise


def write_error(path: Path, error: OSError, kind: type[GraphwsError] = DataError) -> GraphwsError:
    """What a failed write means for the user and what to do about it."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return kind(f"cannot write {path}: {reason}")
