"""The table of a zoo: one row a network, as a Parquet file.

Columns that every zoo has: ``sample`` and ``view`` (which signal the network represents, and which of its several
networks this is; a packed folder has view 0 throughout) and ``split`` (``train``, ``validation``, ``test``).  A fitted
zoo adds ``psnr``, ``loss``, ``steps``; a source adds labels and targets.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from graphws.errors import ZooError
from graphws.zoo.files import read_bounded, write_whole

MAX_BYTES = 1 << 30
"""A table file that is larger, or says that it unpacks to more, is refused."""
MAX_COLUMNS = 1024

SPLITS = ("train", "validation", "test")

Table = Mapping[str, np.ndarray]


def write_table(path: Path, table: Table) -> tuple[int, str]:
    """Writes the columns atomically; returns the file's bytes and SHA-256."""
    columns = {}
    for name, column in table.items():
        if column.dtype == object or column.dtype.kind in "US":
            columns[name] = pa.array([str(value) for value in column], type=pa.string())
        else:
            columns[name] = pa.array(column)
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return write_whole(path, [buffer.getbuffer()])


def read_table(path: Path, count: int) -> dict[str, np.ndarray]:
    """The columns: numbers as NumPy arrays, text as arrays of `str` objects.

    Raises:
        ZooError: Where the file is missing or damaged, has not `count` rows, lacks ``sample``, ``view`` or ``split``,
            or claims sizes or types that no table of a zoo has.
    """
    data = read_bounded(path, MAX_BYTES)
    try:
        file = pq.ParquetFile(io.BytesIO(data), memory_map=False)
        about = file.metadata
        unpacked = sum(about.row_group(k).total_byte_size for k in range(about.num_row_groups))
        if about.num_rows != count:
            raise ZooError(f"{path}: {about.num_rows} rows for {count} networks")
        if about.num_columns > MAX_COLUMNS or unpacked > MAX_BYTES:
            raise ZooError(f"{path}: claims {about.num_columns} columns, {unpacked} bytes: too much for a zoo's table")
        for column in file.schema_arrow:
            kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
            plain = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_string)
            if not any(fits(kind) for fits in plain):
                raise ZooError(f"{path}: column {column.name!r} is of type {column.type}; numbers and text are allowed")
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise ZooError(f"{path}: not a readable Parquet file: {str(error).splitlines()[0]}") from error
    if table.num_rows != count:
        raise ZooError(f"{path}: {table.num_rows} rows for {count} networks")
    columns = {name: table.column(name).to_numpy() for name in table.column_names}
    for name in ("sample", "view", "split"):
        if name not in columns:
            raise ZooError(f"{path}: no column {name!r}")
    strange = sorted({str(value) for value in columns["split"]} - set(SPLITS))
    if strange:
        raise ZooError(f"{path}: unknown split {strange[0]!r}; there are {', '.join(SPLITS)}")
    return columns


def number_columns(table: Table) -> list[str]:
    """Names of the columns that hold numbers."""
    return [name for name, column in table.items() if column.dtype.kind in "iufb"]


def summary(table: Table) -> dict[str, float]:
    """Median of ``psnr`` and the like, for provenance: what is finite and there."""
    out = {}
    for name in ("psnr", "loss", "steps"):
        if name in table:
            middle = float(np.median(table[name]))
            if math.isfinite(middle):
                out[f"median_{name}"] = middle
    return out
