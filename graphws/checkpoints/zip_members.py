"""What a zip archive says that it holds; every way in which it may be crooked is one error."""

from __future__ import annotations

import zipfile
from pathlib import Path

from graphws.errors import DataError

CROOKED = (
    zipfile.BadZipFile, zipfile.LargeZipFile, OSError, ValueError, NotImplementedError, RuntimeError, OverflowError,
    EOFError, LookupError, MemoryError,
)  # fmt: skip
"""What `zipfile` raises on archives of several disks, of later versions, with encryption, with names that are no text,
and on those that were cut off."""


def zip_members(file: Path) -> list[zipfile.ZipInfo]:
    """The members in the directory of an archive.

    Raises:
        DataError: Where it is no archive that can be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except CROOKED as error:
        text = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DataError(f"{file}: not a zip archive that can be read, or cut off: {text[:200]}") from None


def is_zip_of(file: Path, *parts: str) -> bool:
    """Whether a file is an archive in which the path of some member has one of these parts; of a crooked one, no."""
    try:
        return any(part in "/" + member.filename for member in zip_members(file) for part in parts)
    except DataError:
        return False
