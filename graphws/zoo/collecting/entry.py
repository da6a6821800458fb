"""What a layout finds in a folder: entries, each a network that can be read, and what is known of them.

An entry is small and can be sent to another process; nothing of the network is read until its source is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from graphws.checkpoints.conversion import Conversion
from graphws.shown import Shown

Plain = bool | int | float | str


class AtPath:
    """A source that messages call by its path."""

    __slots__ = ()
    path: Path

    @property
    def place(self) -> str:
        """The path."""
        return str(self.path)


@dataclass(frozen=True, eq=False)
class Reading:
    """What a network's files hold.

    Attributes:
        state: Its tensors by key, in stored order.
        structure: Of a whole network everything that decides its graph besides; empty for a state dict.
        beside: Numbers and texts that stood beside the tensors.
    """

    state: Mapping[str, Tensor]
    structure: str = ""
    beside: Mapping[str, Plain] = field(default_factory=dict)


class Source(Protocol):
    """Where one network is; frozen, comparable and picklable."""

    @property
    def path(self) -> Path:
        """The file or folder."""
        ...

    @property
    def place(self) -> str:
        """What messages call it: the path, with the row or member where a file holds several."""
        ...

    @property
    def bytes(self) -> int:
        """About how much reading it takes."""
        ...

    @property
    def stated(self) -> tuple[tuple[str, str], ...]:
        """What the layout says of the network that its tensors do not, as its activation: names and values."""
        ...

    def read(self) -> Reading:
        """Reads it; a `GraphwsError` that begins with its place where that cannot be done."""
        ...


@runtime_checkable
class Whole(Protocol):
    """A source that says what its network computes."""

    def convert(self, generator: torch.Generator) -> Conversion:
        """Converts it, and tries the graph on its own numbers; a `GraphwsError` where that fails."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class Entry(Shown):
    """One network.

    Args:
        name: What it is called in the table and in labels: the file's path below the folder, as a rule.
        source: Where it is.
    """

    name: str
    source: Source


@dataclass(frozen=True)
class Collected:
    """All networks of a folder.

    Args:
        entries: In the order that the zoo will have.
        columns: Of one value a network: labels, ``sample``, ``view``, ``split`` where the layout knows them.
        notes: What was taken for granted, for people to read and for the zoo's provenance.
        about: For the zoo's provenance.
    """

    entries: Sequence[Entry]
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
