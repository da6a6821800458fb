"""Samples: signals on a common grid of points, and what is known about them.

A source reads some data and gives `Samples`: the coordinates that every signal is known at, the signals' values, and a
table with one row a signal.  A zoo is one small network a row (and view).

**Grids.** Coordinates span [-1, 1] in each dimension, end points included, because SIREN's start supposes that range;
only `load_sine` can be asked for others.  A picture of h rows and w columns has the points (y, x), row by row from the
top: y = -1 is the first row, x = -1 the first column, and both spacings follow from the longer side, so that a picture
of h ≠ w is not stretched: the shorter side spans less, about 0.  The highest frequency that n points of spacing Δ
determine is π/Δ: 11 for 8 pixels, 42 for 28.  A SIREN's ω well above it fills the weights with what the picture does
not say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from graphws.errors import DataError
from graphws.shown import Shown
from graphws.zoo.sources.limit import Limit, kept

Column = np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Samples(Shown):
    """Signals on common points.

    Args:
        source: Name of the source, for provenance.
        coordinates: (points, d_in), float64; in [-1, 1] unless the source is asked for others.
        values: (samples, points, channels): floats, or bytes that stand for value / 255.
        peak: Range of the values, for the signal-to-noise ratio.
        shape: Rows and columns where the points are a picture, else the number of points.
        table: Columns with one entry a sample: labels, targets.
        test: Which samples are the source's own test set, (samples,) bool; None where it has none.
        classes: Names of the classes that the column ``label`` counts, where there are any.
        numbers: Place of each sample in the source's own order, before any limit, (samples,); None: as they stand.

    Raises:
        DataError: Where lengths do not agree or a value is not a number.
    """

    source: str
    coordinates: Tensor
    values: Tensor
    peak: float = 1.0
    shape: tuple[int, ...] = ()
    table: Mapping[str, Column] = field(default_factory=dict)
    test: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    numbers: np.ndarray | None = None

    def __post_init__(self) -> None:
        count, points = self.values.shape[:2]
        if not count:
            raise DataError(f"source {self.source!r} gives no samples")
        if self.coordinates.shape[0] != points:
            raise DataError(
                f"source {self.source!r}: {self.coordinates.shape[0]} coordinates for signals of {points} points"
            )
        for name, column in self.table.items():
            if len(column) != count:
                raise DataError(f"source {self.source!r}: {len(column)} entries of {name!r} for {count} samples")
        if self.test is not None and self.test.shape != (count,):
            raise DataError(f"source {self.source!r}: {len(self.test)} test marks for {count} samples")
        if self.values.is_floating_point():
            bad = (~torch.isfinite(self.values)).flatten(1).any(dim=1).nonzero()
            if len(bad):
                raise DataError(f"source {self.source!r}: sample {int(bad[0, 0])} holds NaN or inf")

    def __len__(self) -> int:
        return self.values.shape[0]

    def targets(self, index: np.ndarray | Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """What networks of the samples at `index` are fitted to, (index, points, channels)."""
        chosen = self.values[torch.from_numpy(np.array(index, dtype=np.int64))]
        return chosen.to(dtype) if chosen.is_floating_point() else chosen.to(dtype) / 255

    @property
    def places(self) -> np.ndarray:
        """`numbers`, counted where they are not given."""
        return np.arange(len(self)) if self.numbers is None else self.numbers

    def limited(self, limit: int | Limit | None) -> Samples:
        """At most so many samples of each part, the first in the source's order or drawn: see `kept`."""
        index = kept(limit, self.source, len(self), self.test)
        if len(index) == len(self):
            return self
        return replace(
            self,
            values=self.values[torch.from_numpy(index)],
            table={name: column[index] for name, column in self.table.items()},
            test=None if self.test is None else self.test[index],
            numbers=self.places[index],
        )

    def digest(self) -> str:
        """SHA-256 over everything that a fit depends on."""
        total = hashlib.sha256()
        for tensor in (self.coordinates, self.values):
            total.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            total.update(np.ascontiguousarray(tensor.numpy()).data)
        total.update(f"{self.peak}{self.shape}{self.classes}".encode())
        for name in sorted(self.table):
            total.update(name.encode() + "\0".join(map(str, self.table[name].tolist())).encode())
        if self.test is not None:
            total.update(self.test.tobytes())
        return total.hexdigest()


def picture_grid(rows: int, columns: int) -> Tensor:
    """Points (y, x) of a picture, row by row, (rows · columns, 2): the longer side spans [-1, 1].

    >>> picture_grid(2, 2).tolist()
    [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    """
    longer = max(rows, columns)
    y, x = (torch.linspace(-1, 1, n, dtype=torch.float64) * ((n - 1) / max(longer - 1, 1)) for n in (rows, columns))
    return torch.cartesian_prod(y, x)
