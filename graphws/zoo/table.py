"""The table of a zoo: one row a network, as a Parquet file.

Columns that every zoo has: ``sample`` and ``view`` (which signal the network represents, and which of its several
networks this is; a packed folder has view 0 throughout) and ``split`` (``train``, ``validation``, ``test``).  Zoos of
version 2 have ``architecture``, the name of each network's graph in zoo.json.  A fitted zoo adds ``psnr``, ``loss``,
``steps``; a source adds labels and targets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graphws.errors import ZooError, nearest
from graphws.zoo.files import read_bounded, write_whole
from graphws.zoo.parquet_pages import ENCODINGS, column_chunks, pages

MAX_BYTES = 1 << 30
"""A table file that is larger, or says that it unpacks to more, is refused."""
MAX_COLUMNS = 1024

SPLITS = ("train", "validation", "test")
SPLIT_NAMES = {**{name: name for name in SPLITS}, "training": "train", "val": "validation", "valid": "validation",
               "testing": "test"}  # fmt: skip
"""The splits by the names that publications have for them."""

Table = Mapping[str, np.ndarray]


def write_table(path: Path, table: Table) -> tuple[int, str]:
    """Writes the columns atomically; returns the file's bytes and SHA-256.

    Raises:
        ZooError: On a column that no Parquet file can hold, and where the file cannot be written.
    """
    columns = {}
    for name, column in table.items():
        try:
            if column.dtype == object or column.dtype.kind in "US":
                texts = [None if value is None else str(value) for value in column]
                columns[name] = pa.array(texts, type=pa.string())
            else:
                columns[name] = pa.array(column)
        except (pa.ArrowException, UnicodeEncodeError) as error:
            raise ZooError(f"{path}: the column {name!r} cannot be written: {error}") from error
    sink = pa.BufferOutputStream()  # Arrow's own memory: see `read_table`
    try:
        pq.write_table(pa.table(columns), sink, compression="zstd")
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise ZooError(f"{path}: the table cannot be written: {error}") from error
    return write_whole(path, [memoryview(sink.getvalue())])


def read_table(path: Path, count: int) -> dict[str, np.ndarray]:
    """The columns: numbers as NumPy arrays, text as arrays of `str` objects, equal texts of a dictionary one object.

    Arrow reads from the path, not from bytes of Python's: its threads may let go of a buffer when the interpreter is
    already gone, which ends the process (signal 6) after all its work.

    Raises:
        ZooError: Where the file is missing or damaged, has not `count` rows, lacks ``sample``, ``view`` or ``split``,
            or claims sizes or types that no table of a zoo has.
    """
    columns = read_columns(path, count)
    for name in ("sample", "view", "split"):
        if name not in columns:
            raise ZooError(f"{path}: no column {name!r}")
    try:
        check_splits(columns["split"])
    except ZooError as error:
        raise ZooError(f"{path}: {error}") from None
    return columns


def read_columns(path: Path, count: int | None = None) -> dict[str, np.ndarray]:
    """The columns of a Parquet file that may come from anywhere, as `read_table` gives them.

    Args:
        path: The file.
        count: How many rows it must have, where that is known.

    Raises:
        ZooError: As `read_table`, whatever its columns are.
    """
    data = read_bounded(path, MAX_BYTES)
    try:
        with pq.ParquetFile(str(path), memory_map=False) as file:
            about = file.metadata
            if count is not None and about.num_rows != count:
                raise ZooError(f"{path}: {about.num_rows} rows for {count} networks")
            _check_size(path, data, about)
            texts = _check_types(path, file.schema_arrow)
        with pq.ParquetFile(str(path), memory_map=False, read_dictionary=texts) as file:
            table = file.read(use_threads=False)
        columns = {name: _values(table.column(name)) for name in table.column_names}
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ZooError(f"{path}: not a readable Parquet file: {reason}") from error
    if count is not None and table.num_rows != count:
        raise ZooError(f"{path}: {table.num_rows} rows for {count} networks")
    return columns


def check_splits(column: np.ndarray) -> None:
    """`ZooError` on a split that is none of `SPLITS`."""
    strange = sorted({str(value) for value in column} - set(SPLITS))
    if strange:
        raise ZooError(f"unknown split {strange[0][:80]!r}; there are {', '.join(SPLITS)}")


def named_splits(column: np.ndarray, place: str) -> np.ndarray:
    """Splits under their own names; `ZooError` on what is none."""
    for value in dict.fromkeys(map(str, column)):
        if value not in SPLIT_NAMES:
            raise ZooError(f"{place}: split {value[:80]!r}; there are {', '.join(SPLITS)}" + nearest(value, SPLITS))
    return np.array([SPLIT_NAMES[str(value)] for value in column], dtype=object)


def _check_size(path: Path, data: bytes, about: Any) -> None:
    """Counts what the file unfolds to, before anything is unfolded."""
    cells = about.num_rows * about.num_columns
    unpacked = 0
    for chunk in column_chunks(data):
        for page in pages(data, chunk.start, chunk.length):
            unpacked += page.unpacked
            if page.encoding is not None and page.encoding not in ENCODINGS:
                raise ZooError(f"{path}: column {chunk.column} builds texts from one another; write plain")
    if about.num_columns > MAX_COLUMNS or max(unpacked, 8 * cells) > MAX_BYTES:
        raise ZooError(
            f"{path}: claims {about.num_columns} columns, {max(unpacked, 8 * cells)} bytes: too much for a zoo's table"
        )


def _check_types(path: Path, schema: pa.Schema) -> list[str]:
    """Names of the columns of text; `ZooError` on a type that no table of a zoo has."""
    texts = []
    for column in schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)
        if not any(fits(kind) for fits in plain):
            raise ZooError(f"{path}: column {column.name!r} is of type {column.type}; numbers and text are allowed")
        if pa.types.is_string(kind):
            texts.append(column.name)
    return texts


def _values(column: pa.ChunkedArray) -> np.ndarray:
    """A column in NumPy; a text that many rows share stays one object."""
    if not pa.types.is_dictionary(column.type):
        return np.asarray(column.to_numpy())
    parts = [np.empty(0, dtype=object)]
    for chunk in column.chunks:
        known = np.array([*chunk.dictionary.to_pylist(), None], dtype=object)
        indices = chunk.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)
        if len(indices) and not 0 <= indices.min() <= indices.max() < len(known):
            raise ValueError("a row names a text that its dictionary does not have")
        parts.append(known[indices])
    return np.concatenate(parts)


def number_columns(table: Table) -> list[str]:
    """Names of the columns that hold numbers."""
    return [name for name, column in table.items() if column.dtype.kind in "iufb"]


def summary(table: Table) -> dict[str, float]:
    """Median of ``psnr``, ``accuracy`` and the like, for provenance: what is finite and there."""
    out = {}
    for name in ("psnr", "accuracy", "loss", "steps"):
        if name in table:
            middle = float(np.median(table[name]))
            if math.isfinite(middle):
                out[f"median_{name}"] = middle
    return out
