"""The files of a run: bytes, text, JSON and tables, each whole or absent (`graphws.files`)."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from graphws.errors import RunError
from graphws.files import whole_file, write_error

LARGEST_JSON = 64 << 20
"""Bytes of a JSON file that is read."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, all of it or nothing.

    Raises:
        RunError: When the disk is full, read-only or closed to us; what was at `path` before is still there.
    """
    with whole_file(path, RunError) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Write text as UTF-8, all of it or nothing."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented, all of it or nothing."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table; a value that a row lacks is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_json(path: Path, what: str) -> Any:
    """Read JSON.

    Args:
        path: The file.
        what: What it should be, for the error: "a run", "a checkpoint".

    Raises:
        RunError: When the file is missing, too large or not JSON.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise RunError(f"{path} cannot be read: larger than {LARGEST_JSON} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"{path.parent} is not {what}: it has no {path.name}") from None
    except (ValueError, OSError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def read_rows(path: Path) -> list[dict[str, float]]:
    """Read a table of numbers, as `write_csv` writes it.

    Raises:
        RunError: When the file is missing or no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def checksum(content: bytes) -> str:
    """SHA-256."""
    return hashlib.sha256(content).hexdigest()


def brief(error: Exception) -> str:
    """What is wrong with a file, on one line: of several mistakes in its values the first, with its place."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'its values'}: {first['msg']}"
    return str(error)


def make_folder(path: Path) -> Path:
    """Create a folder with its parents.

    Raises:
        RunError: When it cannot be created, or a file is in its place.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise RunError(f"cannot create the folder {path}: a file of that name is in its place") from None
    except OSError as error:
        raise write_error(path, error, RunError) from error
    return path
