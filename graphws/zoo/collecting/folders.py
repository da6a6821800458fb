"""Looking into folders that are not trusted: bounded listings, links that lead out, tables and documents."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from graphws.errors import ZooError
from graphws.printable import printable
from graphws.zoo.files import read_bounded

MOST_FILES = 4_000_000
"""Files below a folder that are looked at."""
DEEPEST = 8
"""How deep folders are looked into."""
LARGEST_DOCUMENT = 256 << 20
"""Bytes of a JSON document or a table, unpacked."""
FOLDER_ERRORS = (OSError, UnicodeError)


def files_below(folder: Path, deepest: int = DEEPEST) -> Iterator[Path]:
    """The files in a folder and below it, in order of name; links to folders are not followed.

    Raises:
        ZooError: Where there are too many, or a name is no text.
    """
    seen = 0
    stack = [(folder, 0)]
    while stack:
        place, depth = stack.pop()
        inner = []
        for item in sorted(_listed(place), key=lambda item: item.name):
            seen += 1
            if seen > MOST_FILES:
                raise ZooError(f"{folder}: more than {MOST_FILES} files in it")
            path = place / item.name
            if item.is_dir(follow_symlinks=False):
                inner.append((path, depth + 1))
            elif item.is_file() and not item.name.startswith("."):
                yield path
        stack += reversed([entry for entry in inner if entry[1] <= deepest and not entry[0].name.startswith(".")])


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, in order of name, without links."""
    return sorted(folder / item.name for item in _listed(folder) if item.is_dir(follow_symlinks=False))


def files_in(folder: Path) -> list[Path]:
    """The files in a folder, in order of name, without hidden ones."""
    found = (item for item in _listed(folder) if item.is_file() and not item.name.startswith("."))
    return sorted(folder / item.name for item in found)


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as items:
            return list(items)
    except OSError as error:
        raise ZooError(f"{folder}: cannot be read: {error.strerror}") from error


def name_of(path: Path, folder: Path) -> str:
    """What a file is called in the table: its path below the folder.

    Raises:
        ZooError: Where that is no printable text.
    """
    name = path.relative_to(folder).as_posix()
    if printable(name) != name:
        raise ZooError(f"{path}: the name holds characters that are no text; rename the file")
    return name


def json_document(path: Path, limit: int = LARGEST_DOCUMENT) -> Any:
    """A JSON file; `ZooError` where it is too large or none."""
    try:
        return json.loads(read_bounded(path, limit))
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{path}: not a JSON file: {str(error)[:200]}") from None


def unpacked(path: Path, limit: int = LARGEST_DOCUMENT) -> bytes:
    """The content of a ``.gz`` file, or of a plain one; `ZooError` where it unpacks to more than `limit` bytes."""
    if path.suffix != ".gz":
        return read_bounded(path, limit)
    try:
        with gzip.open(path) as stream:
            data = stream.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ZooError(f"{path}: not a gzip file, or cut off: {str(error)[:200]}") from None
    if len(data) > limit:
        raise ZooError(f"{path}: unpacks to more than {limit} bytes")
    return data


def csv_rows(path: Path, limit: int = LARGEST_DOCUMENT) -> list[list[str]]:
    """The rows of a CSV file, plain or ``.gz``, without empty ones.

    Raises:
        ZooError: Where it is too large, no table in UTF-8, or its rows are of different lengths.
    """
    try:
        text = unpacked(path, limit).decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ZooError(f"{path}: not a CSV file in UTF-8: {error}") from None
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise ZooError(f"{path}: row {number} has {len(row)} fields, the first line {len(rows[0])}")
    return rows


def csv_columns(path: Path, limit: int = LARGEST_DOCUMENT) -> dict[str, list[str]]:
    """The columns of a CSV file whose first line names them; a first column without a name (an index) is left out.

    Raises:
        ZooError: As `csv_rows`, and where two columns have one name.
    """
    rows = csv_rows(path, limit)
    header = rows[0] if rows else []
    if not header or len(set(header)) < len(header) or "" in header[1:]:
        raise ZooError(f"{path}: its first line must name the columns, each once")
    columns = dict(zip(header, map(list, zip(*rows[1:], strict=True)), strict=False)) if len(rows) > 1 else {}
    return {name: columns.get(name, []) for name in header if name}


def values_of(texts: Any) -> np.ndarray:
    """A column: whole numbers where all are, else numbers, else text; of texts, or of what a JSON document holds."""
    texts = [text if isinstance(text, str) else repr(text) for text in texts]  # int(0.5) would be 0
    for kind in (np.int64, np.float64):
        try:
            return np.array([kind(text) for text in texts])
        except (ValueError, OverflowError, TypeError):
            continue
    return np.array(texts, dtype=object)
