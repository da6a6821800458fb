"""The split that a table of one's own says: the part of every sample, by its file or its number."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphws.errors import ZooError
from graphws.shown import Shown
from graphws.zoo.labels import read_rows
from graphws.zoo.split import Divisible
from graphws.zoo.table import named_splits

FILE, NUMBER, SPLIT = "file", "sample", "split"


@dataclass(frozen=True, repr=False)
class SplitTable(Shown):
    """A table with a row a sample.

    Its column ``split`` holds ``train``, ``validation`` (or ``val``) or ``test``.  A sample is named by its ``file``
    where both the table and the samples have that column and no two samples one file, else by ``sample``, its number
    in the source's own order, counted from 0 before any limit.  Rows of other samples are let be, so that one table
    serves every limit.

    Args:
        path: A ``.parquet`` file, or a CSV file in UTF-8.
    """

    path: Path

    def of(self, samples: Divisible) -> np.ndarray:
        """The split of each sample, (samples,) text.

        Raises:
            ZooError: Where the table cannot be read, lacks a column, has a split that is none, names a sample twice or
                not at all, or leaves nothing for training.
        """
        table = read_rows(self.path, FILE)
        files = samples.table[FILE].tolist() if FILE in table and FILE in samples.table else []
        unique = len(set(files)) == len(files)
        if not unique and NUMBER not in table:
            raise ZooError(f"{self.path}: several samples have one file; name them by a column {NUMBER!r}")
        key = FILE if files and unique else NUMBER
        for column in (key, SPLIT):
            if column not in table:
                raise ZooError(f"{self.path}: it needs a column {column!r}; has {', '.join(table)[:200]}")
        if key == NUMBER and table[key].dtype.kind not in "iu":
            raise ZooError(f"{self.path}: the column {NUMBER!r} must hold whole numbers")
        names = files if key == FILE else samples.places.tolist()
        rows: dict[object, int] = {}
        for row, name in enumerate(table[key].tolist()):
            if rows.setdefault(name, row) != row:
                first = 1 if self.path.suffix == ".parquet" else 2  # in a CSV file behind the names of the columns
                raise ZooError(f"{self.path}: rows {rows[name] + first} and {row + first} both name {key} {name!r}")
        missing = [name for name in names if name not in rows]
        if missing:
            raise ZooError(
                f"{self.path}: no row for {len(missing):,} of {len(names):,} samples; the first is {key} {missing[0]!r}"
            )
        split = named_splits(table[SPLIT][[rows[name] for name in names]], str(self.path))
        if not (split == "train").any():
            raise ZooError(f"{self.path}: nothing of {len(names)} samples is left to train on")
        return split

    def settings(self, split: np.ndarray) -> dict[str, Any]:
        """For provenance: what the table says, whatever it is called."""
        return {"table": hashlib.sha256("\n".join(split).encode()).hexdigest()}
