"""Labels: what the networks of a folder are, one row a network, in a CSV or a Parquet file; read and written."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from graphws.errors import ZooError, nearest
from graphws.zoo.files import read_bounded
from graphws.zoo.table import Table, read_columns

LABELS = "labels.csv"
NAMES = (LABELS, "labels.parquet")
"""What a folder's own labels are called."""
LARGEST = 256 << 20
"""Bytes of a table that is read."""


def read_labels(path: Path, names: Sequence[str], column: str = "file") -> dict[str, np.ndarray]:
    """The columns but the one that names the networks: whole numbers where all are, else numbers, else text.

    Args:
        path: A ``.parquet`` file, or a CSV file in UTF-8.
        names: The networks; rows come in their order.  A row may name a network by the last part of its name, with or
            without its suffix, where only one has it.
        column: Names the networks.

    Raises:
        ZooError: Where it is no table, its columns have no names of their own, or it does not name each network once
            and no other.
    """
    parquet = path.suffix == ".parquet"
    table = read_rows(path, column)
    if column not in table:
        raise ZooError(f"{path}: it needs a column {column!r}; has {', '.join(table)[:200]}")
    known, short = set(names), _short_names(names)
    found: dict[str, int] = {}
    for row, text in enumerate(map(str, table[column])):
        name = text if text in known else short.get(text, text)
        if name in found:
            raise ZooError(f"{path}: row {row + 2 - parquet} names {text!r} again")
        found[name] = row
    for name in names:
        if name not in found:
            raise ZooError(f"{path}: no row for {name!r}" + nearest(name, found))
    for name in found:
        if name not in known:
            raise ZooError(f"{path}: no file {name!r} in the folder" + nearest(name, names))
    rows = np.array([found[name] for name in names], dtype=np.int64)
    return {key: values[rows] for key, values in table.items() if key != column}


def read_rows(path: Path, column: str) -> dict[str, np.ndarray]:
    """The columns of a table that may come from anywhere, in the order of its rows.

    Args:
        path: A ``.parquet`` file, or a CSV file in UTF-8 whose first line names the columns.
        column: Stays text, whatever it looks like, where the table has it.

    Raises:
        ZooError: Where it is no such table, or too large.
    """
    return read_columns(path) if path.suffix == ".parquet" else _read_csv(path, column)


def labels_csv(files: Sequence[str], table: Table) -> bytes:
    """Labels as `read_labels` reads them: the files, and all columns but ``architecture`` and ``file``.

    Numbers come back bit for bit, whole numbers and others apart; so does text that does not look like numbers.

    Args:
        files: A name for each network.
        table: Columns of as many rows.
    """
    columns = {name: column for name, column in table.items() if name not in ("architecture", "file")}
    return csv_bytes(["file", *columns], [files, *map(plain_values, columns.values())])


def csv_bytes(header: Sequence[str], columns: Iterable[Iterable[Any]]) -> bytes:
    """A CSV file of these columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def plain_values(column: np.ndarray) -> list[Any]:
    """As Python's own numbers and texts: `repr` of a float reads back bit for bit."""
    return ["" if x is None else str(x) for x in column] if column.dtype == object else column.tolist()


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """The last part of each name, with and without its suffix, where only one has it."""
    found: list[tuple[str, str]] = []
    for name in names:
        path = PurePosixPath(name)
        found += [(short, name) for short in {path.name, path.stem}]
    counts = Counter(short for short, _ in found)
    return {short: name for short, name in found if counts[short] == 1}


def _read_csv(path: Path, column: str) -> dict[str, np.ndarray]:
    try:
        text = read_bounded(path, LARGEST).decode("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ZooError(f"{path}: not a CSV file in UTF-8: {error}") from error
    header = rows[0] if rows else []
    if not header or len(set(header)) < len(header):
        raise ZooError(f"{path}: its first line must name the columns, each once")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise ZooError(f"{path}: row {number} has {len(row)} fields, the first line {len(header)}")
    texts = {name: [row[k] for row in rows[1:]] for k, name in enumerate(header)}
    return {
        name: np.array(values, dtype=object) if name == column else numbers(values) for name, values in texts.items()
    }


def numbers(texts: Sequence[str]) -> np.ndarray:
    """Whole numbers where all are, else numbers, else text."""
    for kind in (np.int64, np.float64):
        try:
            return np.array([kind(text) for text in texts])
        except (ValueError, OverflowError):
            continue
    return np.array(texts, dtype=object)
