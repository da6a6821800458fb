"""What of a zoo's table a run needs: its targets, its splits, and which networks are learnt from.

These are functions of the table alone, so that they say the same of a zoo that is opened for a training and of one that
is only looked at before the work (`graphws.runtime.readiness`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphws.errors import DataError, ZooError, nearest
from graphws.zoo.table import SPLITS as SPLITS
from graphws.zoo.table import Table


def label_names(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """What the source of a zoo's signals calls its labels; nothing where it has no names for them."""
    return tuple(provenance.get("signal", {}).get("classes", ()))


def class_names(table: Table, column: str, labels: tuple[str, ...]) -> tuple[str, ...] | None:
    """Names of the classes in a column: its own texts, or what the source of the signals calls its labels.

    Args:
        table: Of the zoo.
        column: The target.
        labels: As `label_names` gives them.
    """
    found = np.asarray(table.get(column, ()))
    if found.dtype.kind in "OU":
        return tuple(sorted({str(name) for name in found}))
    return labels or None if column == "label" else None


def targets_of(
    table: Table, columns: Sequence[str], whole_numbers: bool, classes: tuple[str, ...] | None, origin: str
) -> Tensor:
    """The targets, a row a network: class numbers, or numbers with a column a target; no columns where there are none.

    Args:
        table: Of the zoo.
        columns: The targets.
        whole_numbers: Whether the target is a class: its number, or its name.
        classes: Names of the classes, where they are known.
        origin: What the table is of, for errors.

    Raises:
        DataError: On a column that is missing or does not hold (whole) numbers, or a target that is NaN or infinite.
    """
    if not columns:
        return torch.zeros(len(table["split"]), 0)
    found = []
    for name in columns:
        if name not in table:
            raise DataError(f"{origin} has no column {name!r}" + nearest(name, table))
        column = np.asarray(table[name])
        if whole_numbers and classes and column.dtype.kind in "OU":
            column = _numbered(column, classes, f"{origin}: the column {name!r}")
        check_type(column.dtype, name, whole_numbers, origin)
        found.append(torch.from_numpy(column.astype(np.int64 if whole_numbers else np.float32)))
    targets = found[0] if whole_numbers else torch.stack(found, dim=1)
    check_finite(targets, origin)
    return targets


def check_type(dtype: np.dtype[Any], name: str, whole_numbers: bool, origin: str) -> None:
    """`DataError` where a column cannot be a target."""
    if dtype.kind not in ("iub" if whole_numbers else "iufb"):
        wanted = "whole numbers or names, one for each class" if whole_numbers else "numbers"
        raise DataError(f"{origin}: the column {name!r} holds {dtype.name}; the task needs {wanted}")


def check_finite(targets: Tensor, origin: str) -> None:
    """`DataError` on a target that is NaN or infinite."""
    if not torch.isfinite(targets).all():
        row = int((~torch.isfinite(targets)).nonzero()[0, 0])
        raise DataError(f"{origin}: the target of network {row} is NaN or infinite")


def check_parts(members: Mapping[str, Tensor], needed: Sequence[str], origin: str) -> None:
    """`DataError` on a split that is needed and has no networks."""
    for name in needed:
        if not len(members.get(name, ())):
            raise DataError(f"{origin} has no networks in the {name} split; change zoo.split")


def first_views(table: Table, views: int, origin: str) -> Tensor:
    """Whether each network is one of the first so many views of its sample.

    Raises:
        ZooError: Where a sample has fewer.
    """
    view = torch.from_numpy(np.asarray(table["view"]).astype(np.int64))
    if (there := int(view.max()) + 1) < views:
        raise ZooError(f"input.views is {views}, but {origin} has {there} of a sample")
    return view < views


def learnt_part(train: Tensor, limit: int | None, chosen: Tensor | None = None) -> Tensor:
    """The networks of the training part that are learnt from.

    Args:
        train: Indices of the training part.
        limit: At most so many, the first; None for all.
        chosen: Which of all networks count, true or false for each; None for all.
    """
    return (train if chosen is None else train[chosen[train]])[:limit]


def _numbered(column: np.ndarray, classes: tuple[str, ...], what: str) -> np.ndarray:
    """The number of each class, by its name."""
    places = {name: number for number, name in enumerate(classes)}
    strange = sorted({str(name) for name in column} - places.keys())
    if strange:
        raise DataError(f"{what} holds {strange[0]!r}, which is none of the classes" + nearest(strange[0], places))
    return np.array([places[str(name)] for name in column], dtype=np.int64)
