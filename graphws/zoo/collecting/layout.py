"""Layouts: ways in which people and publications lay out networks in a folder.

A layout tells whether a folder has its form, by names alone, and lists the networks in it with what is known of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import nn

from graphws.errors import UsageError, nearest
from graphws.zoo.collecting.attributes import Attributes
from graphws.zoo.collecting.entry import Collected, Reading
from graphws.zoo.table import SPLIT_NAMES, SPLITS

Assumed = Callable[[Reading, tuple[tuple[str, str], ...]], "tuple[nn.Module, object] | None"]
"""The module and example inputs that a publication says a state dict belongs to; None where it is none of its."""


@dataclass(frozen=True)
class Choices:
    """What a caller may say about a layout.

    Args:
        splits: The file of splits, where a folder has several or keeps it elsewhere.
        split_at: Samples below the first number are for training, below the second for validation, others for tests.
        where: Only networks with these values in these columns.
        attributes: Of MLPs; a layout may need them to read a file.
    """

    splits: Path | None = None
    split_at: tuple[int, int] | None = None
    where: tuple[tuple[str, str], ...] = ()
    attributes: Attributes = field(default_factory=Attributes)

    def __post_init__(self) -> None:
        if self.split_at is not None and not 0 < self.split_at[0] <= self.split_at[1]:
            raise UsageError(f"split_at is like 45000,50000: two numbers that grow; got {self.split_at}")


@dataclass(frozen=True)
class Layout:
    """One way.

    Args:
        name: What ``--layout`` calls it.
        about: In a few words, for help and messages.
        fits: Whether a folder has this form: a look at names, and at the beginning of a file where names do not tell.
        collect: The networks in a folder.
        assumed: What the publication says of its networks that the files do not, where it does.
        activation: What hidden layers of an MLP have where the caller says nothing; None where the caller must say it.
        advice: What the publication says of its MLPs, for a message that asks the caller.
    """

    name: str
    about: str
    fits: Callable[[Path], bool]
    collect: Callable[[Path, Choices], Collected]
    assumed: Assumed | None = None
    activation: str | None = None
    advice: str = ""


def split_by_points(samples: np.ndarray, points: tuple[int, int]) -> np.ndarray:
    """The split of each network by its sample's number."""
    split = np.full(len(samples), "train", dtype=object)
    split[samples >= points[0]] = "validation"
    split[samples >= points[1]] = "test"
    return split


def one_of_splits(name: str, place: str) -> str:
    """A split by one of its names.

    Raises:
        UsageError: Where it is none.
    """
    if name not in SPLIT_NAMES:
        raise UsageError(f"{place}: split {name[:80]!r}; there are {', '.join(SPLITS)}" + nearest(name, SPLIT_NAMES))
    return SPLIT_NAMES[name]
