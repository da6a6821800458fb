"""Poolings: how entries are summarised, and the one table that says which there are.

A pooling is one class and one line in `POOLINGS`.  Specs and messages know it by its word there; whatever computes
looks the word up by `pooling_named`, so that a word without a class is an error and never a default.  The table names
classes by their place: reading a spec imports no torch.

A class is one of two kinds:

* `FixedPooling` has no parameters.  It says how it is computed in the three ways in which layers run: by plain
  operations that autograd differentiates (`pool`), in the fused kernels by a forward and a backward of its own
  (`summarise` and `add_gradient`), and over segments of rows where networks of different graphs share a batch
  (`over`).  ``tests/layers/test_poolings.py`` compares them for every line of the table;
* `LearnedPooling` has parameters, a module for each slot that is pooled, and runs by plain operations only.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

from graphws.errors import UsageError, nearest

if TYPE_CHECKING:
    from torch import Tensor, nn

POOLINGS: Mapping[str, str] = MappingProxyType(
    {
        "mean": "graphws.layers.poolings.means:Mean",
        "max": "graphws.layers.poolings.maximum:Maximum",
        "sum": "graphws.layers.poolings.means:Sum",
        "std": "graphws.layers.poolings.deviation:Deviation",
        "attention": "graphws.layers.poolings.attention:Attention",
    }
)
"""The class of every pooling by the word that specs and messages have for it."""

if TYPE_CHECKING:
    Pool: TypeAlias = str
else:
    Pool = Literal[tuple(POOLINGS)]  # what a spec may say; type checkers cannot read it off the table


class RowSegments(Protocol):
    """Groups of rows; `graphws.layers.union.segments.Segments` is one."""

    def sum(self, rows: Tensor) -> Tensor:
        """(rows, channels) to (segments, channels)."""

    def mean(self, rows: Tensor) -> Tensor:
        """Likewise."""

    def max(self, rows: Tensor) -> Tensor:
        """Likewise."""

    def spread(self, summary: Tensor) -> Tensor:
        """(segments, channels) to (rows, channels)."""


class Pooling:
    """A summary of entries, whatever their order.

    Law: no permutation of the pooled indices changes the summary.

    Attributes:
        linear: Whether the summary is linear in the entries; then layers with it are every equivariant linear map.
    """

    linear: ClassVar[bool] = False

    def gain(self, count: int) -> float:
        """The factor on initial weights with which a summary of `count` entries starts as large as a mean does."""
        return 1.0


class FixedPooling(Pooling, ABC):
    """A pooling without parameters.

    Attributes:
        nests: Whether pooling some axes and then the others is the same as pooling them at once, so that coarse
            summaries can be made from finer ones.
    """

    nests: ClassVar[bool] = False

    @abstractmethod
    def pool(self, x: Tensor, axes: tuple[int, ...]) -> Tensor:
        """The summary of x over some axes, by plain operations: its definition."""

    @abstractmethod
    def over(self, rows: Tensor, segments: RowSegments) -> Tensor:
        """The summary of each segment of rows (rows, channels), (segments, channels), that autograd differentiates."""

    @abstractmethod
    def summarise(self, chunk: Tensor, axis: int) -> Tensor:
        """The summary of (batch, n, m, channels), contiguous, over axis 1 or 2; autograd does not look on."""

    @abstractmethod
    def add_gradient(
        self, gradient: Tensor, chunk: Tensor, axis: int, summary: Tensor, g_summary: Tensor, room: Tensor
    ) -> None:
        """Adds the gradient of `summarise` with respect to the chunk.

        Args:
            gradient: (batch, n, m, channels), contiguous, added to in place.
            chunk: What was summarised.
            axis: The axis that is gone.
            summary: The summary.
            g_summary: The gradient with respect to it.
            room: Memory of the gradient's shape that may be written over.
        """


class LearnedPooling(Pooling, ABC):
    """A pooling with parameters of its own for each slot."""

    @abstractmethod
    def module(self, channels: int, heads: int) -> nn.Module:
        """A module that takes a tensor (batch, *index axes, channels) and the axes to pool, or rows and their segments.

        Raises:
            UsageError: Where heads do not divide channels.
        """

    @abstractmethod
    def parameters(self, channels: int, heads: int) -> int:
        """How many parameters such a module has."""


@cache
def pooling_named(name: str) -> Pooling:
    """The pooling that has this word in `POOLINGS`.

    Raises:
        UsageError: On a word that is not there.
    """
    if name not in POOLINGS:
        raise UsageError(f"unknown pooling {name!r}; known are {', '.join(POOLINGS)}" + nearest(name, POOLINGS))
    module, _, cls = POOLINGS[name].partition(":")
    found: Pooling = getattr(import_module(module), cls)()
    return found


def learned_pooling(name: str | None) -> LearnedPooling | None:
    """The pooling of that word if it is a learned one; None for a fixed one and where nothing is pooled."""
    found = None if name is None else pooling_named(name)
    return found if isinstance(found, LearnedPooling) else None


def fixed_pooling(name: str | None) -> FixedPooling | None:
    """The pooling of that word if it is a fixed one; None for a learned one and where nothing is pooled."""
    found = None if name is None else pooling_named(name)
    return found if isinstance(found, FixedPooling) else None
