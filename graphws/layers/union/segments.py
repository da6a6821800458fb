"""Segments: groups of rows that are summarised to one row each, and back.

On processors sums and maxima run as products with a sparse matrix of ones, several times faster than scattering; other
devices and types scatter.  The gradient of a maximum goes to the rows that reach it, in equal parts, as that of
`torch.amax` does.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from graphws.layers.derivatives import transformed


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
        if transformed(summary):
            return summary.index_select(0, self.ids)
        found: Tensor = _Spread.apply(summary, self)  # type: ignore[no-untyped-call]
        return found

    def sum(self, rows: Tensor) -> Tensor:
        """(rows, channels) to (segments, channels)."""
        if transformed(rows):
            return self.total(rows)
        found: Tensor = _Sum.apply(rows, self)  # type: ignore[no-untyped-call]
        return found

    def mean(self, rows: Tensor) -> Tensor:
        """(rows, channels) to (segments, channels)."""
        return self.sum(rows) / self.sizes.to(rows.dtype)

    def max(self, rows: Tensor) -> Tensor:
        """(rows, channels) to (segments, channels)."""
        if transformed(rows):
            return self.top(rows)
        found: Tensor = _Max.apply(rows, self)  # type: ignore[no-untyped-call]
        return found

    @cached_property
    def sizes(self) -> Tensor:
        """How many rows each segment has, (segments, 1)."""
        return self.counts.unsqueeze(1)

    def total(self, rows: Tensor) -> Tensor:
        """The sum, by operations that autograd looks at where functions are `transformed`."""
        if _sparse(rows):
            summed: Tensor = torch.sparse.mm(self._ones(rows.dtype), rows)
            return summed
        return rows.new_zeros(self.number, rows.shape[1]).index_add_(0, self.ids, rows)

    def top(self, rows: Tensor) -> Tensor:
        """The maximum, by operations that autograd looks at where functions are `transformed`."""
        if _sparse(rows):
            top: Tensor = torch.sparse.mm(self._ones(rows.dtype), rows, reduce="amax")  # type: ignore[call-arg]
            return top
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
    usual = rows.device.type == "cpu" and rows.dtype in (torch.float32, torch.float64)
    return usual and not transformed(rows)


class Places:
    """Where rows are taken from.

    Args:
        index: For each row that is wanted the row that it is a copy of, or -1: it is zero.
        rows: How many rows there are to take from.
    """

    def __init__(self, index: Tensor, rows: int) -> None:
        there = index >= 0
        self.whole = bool(there.all())
        self.index = index if self.whole else index.clamp(min=0)
        self.mask = None if self.whole else there.unsqueeze(1)
        taken = torch.bincount(index if self.whole else index[there], minlength=rows)
        self.back: Tensor | None = None  # for each row who takes it, where at most one does
        self._segments: Segments | None = None
        if len(taken) == 0 or int(taken.max()) <= 1:
            self.back = torch.full((rows,), -1)
            self.back[index[there]] = torch.arange(len(index))[there]
            self.left = None if bool((self.back >= 0).all()) else (self.back >= 0).unsqueeze(1)
            self.back = self.back.clamp_(min=0)
        else:
            order = index.argsort(stable=True)[int((~there).sum()) :]
            self._segments = Segments(self.index, order, taken)

    def to(self, device: torch.device) -> Places:
        """The same on another device."""
        for name in ("index", "mask", "back", "left"):
            value = getattr(self, name, None)
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        if self._segments is not None:
            self._segments = self._segments.to(device)
        return self

    def take(self, rows: Tensor) -> Tensor:
        """(rows, channels) to (wanted rows, channels)."""
        if transformed(rows):
            return self.taken(rows)
        taken: Tensor = _Take.apply(rows, self)  # type: ignore[no-untyped-call]
        return taken

    def taken(self, rows: Tensor) -> Tensor:
        """What `take` gives, by operations that autograd looks at where functions are `transformed`."""
        found = rows.index_select(0, self.index)
        return found if self.mask is None else found.mul_(self.mask)

    def give(self, rows: Tensor) -> Tensor:
        """The adjoint of `take`: what was taken goes back and is added up."""
        if transformed(rows):
            return self.returned(rows)
        given: Tensor = _Return.apply(rows, self)  # type: ignore[no-untyped-call]
        return given

    def returned(self, rows: Tensor) -> Tensor:
        """What `give` gives, by operations that autograd looks at where functions are `transformed`."""
        if self.back is not None:
            found = rows.index_select(0, self.back)
            return found if self.left is None else found.mul_(self.left)
        assert self._segments is not None
        masked = rows if self.mask is None else rows * self.mask
        return self._segments.total(masked)


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor, places: Places) -> Tensor:
        context.places = places
        return places.taken(rows)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return context.places.give(gradient.contiguous()), None


class _Return(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor, places: Places) -> Tensor:
        context.places = places
        return places.returned(rows)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return context.places.take(gradient.contiguous()), None


def assemble(base: Tensor | None, parts: Sequence[tuple[Segments, Tensor]]) -> Tensor:
    """base + the spread parts, (rows, channels), without a tensor of that size for each.

    Args:
        base: (rows, channels), or None.
        parts: One or more pairs of segments of the rows and what each segment has, (segments, channels).
    """
    segments, values = zip(*parts, strict=True)
    if transformed():
        spread = [one.spread(value) for one, value in parts]
        return torch.stack(spread if base is None else [base, *spread]).sum(0)
    found: Tensor = _Assemble.apply(base, segments, *values)  # type: ignore[no-untyped-call]
    return found


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
        with torch.no_grad():
            ties = top.index_select(0, segments.ids)
            ties = torch.eq(rows, ties, out=ties)
        share = segments.spread(gradient / segments.total(ties).clamp_(min=1))
        return (share * ties if torch.is_grad_enabled() else share.mul_(ties)), None


class _Assemble(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, base: Tensor | None, segments: Sequence[Segments], *values: Tensor) -> Tensor:
        context.segments, context.based = segments, base is not None
        total = values[0].index_select(0, segments[0].ids)
        for one, value in zip(segments[1:], values[1:], strict=True):
            total.add_(value.index_select(0, one.ids))
        return total if base is None else total.add_(base)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        gradient = gradient.contiguous()
        sums = (one.sum(gradient) for one in context.segments)
        return (gradient if context.based else None, None, *sums)
