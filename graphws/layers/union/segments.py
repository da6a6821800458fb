"""Segments: groups of rows that are summarised to one row each, and back.

On processors sums and maxima run as products with a sparse matrix of ones, several times faster than scattering; other
devices and types scatter.  The gradient of a maximum goes to the rows that reach it, in equal parts, as that of
`torch.amax` does.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


class Segments:
    """A partition of rows.

    Args:
        ids: The segment of each row, (rows), whole numbers; every segment has rows.
        order: The rows, segment after segment, (rows); None where they stand so already.
        counts: How many rows each segment has, (segments).
    """

    def __init__(self, ids: Tensor, order: Tensor | None, counts: Tensor) -> None:
        self.ids, self.order, self.counts = ids, order, counts
        self._matrices: dict[torch.dtype, Tensor] = {}

    def to(self, device: torch.device) -> Segments:
        """The same on another device."""
        order = None if self.order is None else self.order.to(device)
        return Segments(self.ids.to(device), order, self.counts.to(device))

    @property
    def number(self) -> int:
        """How many segments there are."""
        return len(self.counts)

    def spread(self, summary: Tensor) -> Tensor:
        """(segments, channels) to (rows, channels): every row gets what its segment has."""
        found: Tensor = _Spread.apply(summary, self)  # type: ignore[no-untyped-call]
        return found

    def sum(self, rows: Tensor) -> Tensor:
        """(rows, channels) to (segments, channels)."""
        found: Tensor = _Sum.apply(rows, self)  # type: ignore[no-untyped-call]
        return found

    def mean(self, rows: Tensor) -> Tensor:
        """(rows, channels) to (segments, channels)."""
        return self.sum(rows) / self.sizes.to(rows.dtype)

    def max(self, rows: Tensor) -> Tensor:
        """(rows, channels) to (segments, channels)."""
        found: Tensor = _Max.apply(rows, self)  # type: ignore[no-untyped-call]
        return found

    @cached_property
    def sizes(self) -> Tensor:
        """How many rows each segment has, (segments, 1)."""
        return self.counts.unsqueeze(1)

    def total(self, rows: Tensor) -> Tensor:
        """The sum, which autograd does not look at."""
        if _sparse(rows):
            return torch.sparse.mm(self._ones(rows.dtype), rows)
        return rows.new_zeros(self.number, rows.shape[1]).index_add_(0, self.ids, rows)

    def top(self, rows: Tensor) -> Tensor:
        """The maximum, which autograd does not look at."""
        if _sparse(rows):
            return torch.sparse.mm(self._ones(rows.dtype), rows, reduce="amax")  # type: ignore[call-arg]
        ids = self.ids.unsqueeze(1).expand_as(rows)
        room = rows.new_zeros(self.number, rows.shape[1])
        return room.scatter_reduce_(0, ids, rows, "amax", include_self=False)

    def _ones(self, dtype: torch.dtype) -> Tensor:
        """The matrix (segments, rows) that adds the rows of each segment."""
        if dtype not in self._matrices:
            ends = torch.cat([self.counts.new_zeros(1), self.counts.cumsum(0)])
            order = torch.arange(len(self.ids)) if self.order is None else self.order
            values = torch.ones(len(self.ids), dtype=dtype)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
                self._matrices[dtype] = torch.sparse_csr_tensor(
                    ends, order, values, (self.number, len(self.ids)), check_invariants=False
                )
        return self._matrices[dtype]


def _sparse(rows: Tensor) -> bool:
    return rows.device.type == "cpu" and rows.dtype in (torch.float32, torch.float64)


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, summary: Tensor, segments: Segments) -> Tensor:
        context.segments = segments
        return summary.index_select(0, segments.ids)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return context.segments.sum(gradient.contiguous()), None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor, segments: Segments) -> Tensor:
        context.segments = segments
        return segments.total(rows)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return context.segments.spread(gradient), None


class _Max(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor, segments: Segments) -> Tensor:
        top = segments.top(rows)
        context.segments = segments
        context.save_for_backward(rows, top)
        return top

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        rows, top = context.saved_tensors
        segments = context.segments
        ties = (rows == top.index_select(0, segments.ids)).to(rows.dtype)
        share = gradient / segments.total(ties).clamp_(min=1)
        return segments.spread(share) * ties, None
