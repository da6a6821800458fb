"""``labels.csv``: what the networks of a folder are, one line a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from graphws.errors import ZooError, nearest
from graphws.zoo.files import read_bounded

LABELS = "labels.csv"
LARGEST = 256 << 20
"""Bytes of a table that is read."""


def read_labels(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns but ``file``: whole numbers where all are, else numbers, else text.

    Args:
        path: The table.
        names: The files; rows come in their order.

    Raises:
        ZooError: Where it is no table in UTF-8, its columns have no names of their own, or it does not name each file
            once and no other.
    """
    try:
        text = read_bounded(path, LARGEST).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ZooError(f"{path}: not a CSV file in UTF-8: {error}") from error
    rows = [row for row in rows if row]
    header = rows[0] if rows else []
    if "file" not in header or len(set(header)) < len(header) or "view" in header:
        raise ZooError(f"{path}: its first line must name the columns: 'file' and others, each once, none 'view'")
    found: dict[str, list[str]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise ZooError(f"{path}: row {number} has {len(row)} fields, the first line {len(header)}")
        name = row[header.index("file")]
        if name in found:
            raise ZooError(f"{path}: row {number} names {name!r} again")
        found[name] = row
    for name in names:
        if name not in found:
            raise ZooError(f"{path}: no row for {name!r}" + nearest(name, found))
    known = set(names)
    for name in found:
        if name not in known:
            raise ZooError(f"{path}: no file {name!r} in the folder" + nearest(name, names))
    columns = {}
    for k, column in enumerate(header):
        if column != "file":
            columns[column] = _numbers([found[name][k] for name in names])
    return columns


def _numbers(texts: Sequence[str]) -> np.ndarray:
    for kind in (np.int64, np.float64):
        try:
            return np.array([kind(text) for text in texts])
        except (ValueError, OverflowError):
            continue
    return np.array(texts, dtype=object)
