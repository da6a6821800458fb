"""Reading a ``config.json`` within bounds, before anything is built from it.

A config is a few kilobytes that may ask for a billion layers.  So its numbers are bounded by what their names say they
count, and whatever is built from it is counted while it is built (`bounded_building`): too many tensors, or too many
numbers in them, stop it, whatever the config's keys are called.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as hooks

from graphws.errors import DataError

LARGEST_CONFIG = 8 << 20
LARGEST_NUMBER = 1 << 24
"""Largest whole number that is believed: sizes of vocabularies, lengths of contexts."""
LARGEST_COUNT = 1 << 12
"""Largest number of layers, heads, experts."""
MOST_ENTRIES = 500_000
DEEPEST = 16
MOST_TENSORS = 40_000
MOST_NUMBERS = 1 << 42
MOST_MODULES = 100_000

_FLOAT = "__float__"
_FLOATS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
_COUNTS = re.compile(r"layers?$|^n_layer|depths?$|blocks?$|heads?$|experts?$|stages?$|groups$|^num_hidden|repeat")
_FREE = re.compile(r"theta|base|token_id|_id$|^id$|seed|params|size_bytes|total")


def read_config(file: Path, *, code: bool = False) -> dict[str, Any]:
    """The mapping in a config file; ``{"__float__": "Infinity"}``, as transformers writes it, is the number.

    Args:
        file: The file.
        code: Whether it may name code of its own (``auto_map``), which the caller leaves aside.

    Raises:
        DataError: Where it is too large, no JSON mapping, asks for code, or for sizes that no network has.
    """
    if file.stat().st_size > LARGEST_CONFIG:
        raise DataError(f"{file}: {file.stat().st_size} bytes, too large for a config")
    try:
        config = json.loads(file.read_bytes(), object_hook=_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: not a JSON file: {str(error)[:200]}") from None
    if not isinstance(config, dict):
        raise DataError(f"{file}: a config is a mapping, got a {type(config).__name__}")
    for entries, (key, value, depth) in enumerate(_entries(config, "", 0), start=1):
        if depth > DEEPEST or entries > MOST_ENTRIES:
            raise DataError(f"{file}: more than {MOST_ENTRIES} entries, or nested more than {DEEPEST} deep")
        if key == "auto_map" and not code:
            raise DataError(f"{file}: asks for code of its own ('auto_map'), which is never run")
        _check(file, key, value)
    return config


def _number(entry: dict[str, Any]) -> Any:
    """A number that JSON has no word for."""
    return _FLOATS.get(str(entry[_FLOAT]), entry) if set(entry) == {_FLOAT} else entry


def without(config: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """A config without some keys, in its parts too."""

    def clean(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: clean(inner) for key, inner in value.items() if key not in keys}
        return [clean(inner) for inner in value] if isinstance(value, list) else value

    return {key: clean(value) for key, value in config.items() if key not in keys}


def keys_of(config: Mapping[str, Any]) -> set[str]:
    """The keys of a config and of its parts."""
    return {key for key, _, _ in _entries(config, "", 0)}


def _entries(value: object, key: str, depth: int) -> Iterator[tuple[str, object, int]]:
    """Every number and text with the key that it stands under."""
    if depth > DEEPEST:
        yield key, value, depth
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in ("id2label", "label2id"):
                continue
            yield name, None, depth
            yield from _entries(inner, name, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            yield from _entries(inner, key, depth + 1)
    else:
        yield key, value, depth


def _check(file: Path, key: str, value: object) -> None:
    if isinstance(value, float) and math.isnan(value):
        raise DataError(f"{file}: {key[:80]!r} must be a number, got {value}")
    if isinstance(value, bool) or not isinstance(value, int) or _FREE.search(key):
        return
    most = LARGEST_COUNT if _COUNTS.search(key) else LARGEST_NUMBER
    if abs(value) > most:
        raise DataError(f"{file}: {key[:80]!r} is {str(value)[:30]}; at most {most} is believed")


@contextmanager
def bounded_building(file: Path) -> Iterator[None]:
    """While it is open, modules that get too many parameters, or parts, are refused.

    Raises:
        DataError: Where there are more than `MOST_TENSORS` parameters, `MOST_NUMBERS` numbers or `MOST_MODULES`.
    """
    tensors, numbers, modules = 0, 0, 0

    def count(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal tensors, numbers
        tensors += 1
        numbers += parameter.numel() if isinstance(parameter, Tensor) else 0
        if tensors > MOST_TENSORS or numbers > MOST_NUMBERS:
            raise DataError(
                f"{file}: describes a network of more than {MOST_TENSORS} tensors or {MOST_NUMBERS} numbers"
            )

    def watch(module: nn.Module, name: str, child: nn.Module | None) -> None:
        nonlocal modules
        modules += 1
        if modules > MOST_MODULES:
            raise DataError(f"{file}: describes a network of more than {MOST_MODULES} modules")

    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_module_registration_hook(watch),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
