"""Names for spaces: where they are written, what they are for.

A set is named after the module that writes it first (``layer1.0.conv1``), a free space after the reason that made it
free.  Names only have to be stable and telling; two that would be equal get numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ALLOWED = re.compile(r"[^A-Za-z0-9_.\-/]+")
_LEAVES = ("weight", "bias", "weight_v", "weight_g", "running_mean", "running_var", "gamma", "beta")
_FREE = (
    ("input", "input"),
    ("output", "output"),
    ("kernel", "kernel"),
    ("pixels", "pixels"),
    ("tokens", "tokens"),
    ("not used", "unused"),
    ("a constant", "constant"),
    ("padding", "padding"),
    ("time", "time"),
    ("counts", "count"),
    ("a tensor without elements", "empty"),
)


class Names:
    """Gives every name once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def take(self, wanted: str) -> str:
        """The name, or the first free one with a number behind."""
        wanted = _ALLOWED.sub("_", wanted).strip("_/") or "space"
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def module_of(key: str) -> str:
    """The path of the module that a tensor of the state dict belongs to; the key where it is a tensor's own name."""
    path, _, last = key.rpartition(".")
    return path if path and (last in _LEAVES or last.startswith(("original", "weight_", "bias_"))) else key


def name_of_free(reason: str, size: int, sizes: Iterable[int]) -> str:
    """A name that tells why a space is free, with its size where several differ."""
    stem = next((name for start, name in _FREE if reason.startswith(start)), "fixed")
    return f"{stem}{size}" if stem in ("kernel", "fixed", "pixels", "count", "empty") or len(set(sizes)) > 1 else stem
