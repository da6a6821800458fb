"""Values: what flows between operations, with the space of each axis.

A value's axis has a length: a number, a size that follows the batch (``n``, ``4*n``), or ``?`` where any will do.  An
axis whose entries belong to the elements of a space is labelled by it, as an axis of a parameter is.

>>> print(Value("x3", ("n", 16, 8, 8), ("", "conv1", "", "")))
x3: n conv1(16) 8 8
"""

from __future__ import annotations

from dataclasses import dataclass

from graphws.errors import GraphError, nearest
from graphws.graph.parameter import Axis
from graphws.kinds.attributes import DTYPES, WEIGHTS, checked
from graphws.shown import Shown


@dataclass(frozen=True, repr=False)
class Value(Shown):
    """One value of a computation.

    Args:
        name: Its name.
        shape: Length of each axis.
        axes: Label of each axis, or None where no space labels it; as texts or axes.
        dtype: Its type; ``weights`` where it follows that of the weights.
        highest: For whole numbers: the largest that makes sense (of an input: the last row of a table).
    """

    name: str
    shape: tuple[int | str, ...]
    axes: tuple[Axis | None, ...] = ()
    dtype: str = WEIGHTS
    highest: int | None = None

    def __post_init__(self) -> None:
        sizes = [part if part == "?" else checked("int", part, f"value {self.name!r}: shape") for part in self.shape]
        object.__setattr__(self, "shape", tuple(sizes))
        labels = tuple(Axis.parse(a) if isinstance(a, str) and a else a or None for a in self.axes)
        object.__setattr__(self, "axes", labels or (None,) * len(sizes))
        if len(self.axes) != len(self.shape):
            raise GraphError(f"value {self.name!r}: {len(self.shape)} axes and {len(self.axes)} labels")
        if self.dtype != WEIGHTS and self.dtype not in DTYPES:
            raise GraphError(f"value {self.name!r}: unknown type {self.dtype!r}" + nearest(self.dtype, DTYPES))

    def axis_of(self, space: str) -> int | None:
        """The axis that a space labels, if one does."""
        return next((k for k, axis in enumerate(self.axes) if axis is not None and axis.space == space), None)

    def __str__(self) -> str:
        parts = [
            str(size) if axis is None else f"{axis}({size})" for size, axis in zip(self.shape, self.axes, strict=True)
        ]
        return f"{self.name}: {' '.join(parts)}" + ("" if self.dtype == WEIGHTS else f", {self.dtype}")
