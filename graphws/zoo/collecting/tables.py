"""The table of a zoo that is packed: what the layout knows, what labels say, and the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graphws.errors import UsageError, ZooError, nearest
from graphws.zoo.collecting.entry import Collected, Plain
from graphws.zoo.labels import NAMES, read_labels
from graphws.zoo.split import SplitOptions, split_samples
from graphws.zoo.table import named_splits

OWN = ("architecture", "sample", "view", "split", "file")
"""Columns with a meaning of their own."""
MOST_COLUMNS = 1000


@dataclass(frozen=True)
class TableOptions:
    """What a caller says about the table.

    Args:
        labels: A table of labels; the folder's own where None.
        file_column: Its column that names the networks.
        split_column: Its column that says the split.
        split: How to split where nothing says it; all are for training where None.
    """

    labels: Path | None = None
    file_column: str = "file"
    split_column: str = "split"
    split: SplitOptions | None = None


def columns_of(folder: Path, collected: Collected, options: TableOptions) -> dict[str, np.ndarray]:
    """All columns that are known before a network is read, for each entry.

    Raises:
        ZooError: On labels that do not fit, unknown splits, and samples that are no numbers.
    """
    names = [entry.name for entry in collected.entries]
    path = options.labels or next((folder / name for name in NAMES if (folder / name).is_file()), None)
    labels = {} if path is None else read_labels(path, names, options.file_column)
    columns: dict[str, np.ndarray] = {
        "sample": np.arange(len(names)),
        "view": np.zeros(len(names), dtype=np.int64),
        "split": np.full(len(names), "train", dtype=object),
        "file": np.array(names, dtype=object),
    }
    known = {**collected.columns, **labels}
    if options.split_column != "split":
        if options.split_column not in known:
            raise UsageError(
                f"no column {options.split_column!r} says the split" + nearest(options.split_column, known)
            )
        known["split"] = known.pop(options.split_column)
    place = str(path) if path is not None else str(folder)
    for name in ("sample", "view"):
        if name in known and known[name].dtype.kind not in "iu":
            raise ZooError(f"{place}: the column {name!r} must hold whole numbers")
    if "split" in known:
        known["split"] = named_splits(known["split"], place)
    columns |= {name: column for name, column in known.items() if name not in ("file", "architecture")}
    if len(columns) > MOST_COLUMNS:
        raise ZooError(f"{place}: {len(columns)} columns, at most {MOST_COLUMNS} are kept")
    return columns


def split_shares(columns: dict[str, np.ndarray], split: SplitOptions) -> np.ndarray:
    """The split by shares of the samples; all networks of a sample share it."""
    label = columns.get("label")
    samples, numbers = np.unique(columns["sample"], return_inverse=True)
    if len(samples) < len(numbers):  # several networks of a sample share its split, so classes cannot be told apart
        label = None
    return np.asarray(split_samples(len(samples), split, labels=label)[numbers])


def chosen(columns: Mapping[str, np.ndarray], where: Sequence[tuple[str, str]]) -> np.ndarray:
    """Which entries have the wanted values, as bool.

    Raises:
        UsageError: On a column that is none, and where nothing is left.
    """
    kept = np.ones(len(columns["file"]), dtype=bool)
    for name, value in where:
        if name not in columns:
            raise UsageError(f"no column {name!r} to choose by; there are {', '.join(columns)[:300]}")
        kept &= np.array([_same(each, value) for each in columns[name].tolist()])
    if not kept.any():
        raise UsageError("no network has " + ", ".join(f"{name}={value}" for name, value in where))
    return kept


def _same(each: object, value: str) -> bool:
    if isinstance(each, float):
        try:
            return each == float(value)
        except ValueError:
            return False
    return str(each) == value


def beside_columns(beside: Sequence[Mapping[str, Plain]], known: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What stood beside the tensors of every file, as an epoch or a score, where no column has that name."""
    names = [name for name in beside[0] if name not in known and name not in OWN] if beside else []
    kept = [name for name in names if all(name in row for row in beside)]
    return {name: _column([row[name] for row in beside]) for name in kept[:MOST_COLUMNS]}


def _column(values: Sequence[Plain]) -> np.ndarray:
    if all(isinstance(x, bool | int | float) for x in values):
        column = np.array(values)
        return column if column.dtype.kind in "bif" else column.astype(np.float64)
    return np.array([str(x) for x in values], dtype=object)
