"""Comparing what the pickle of a PyTorch checkpoint claims with what the archive around it holds.

The archive of a checkpoint has one pickle, which says how tensors are made of storages, and one member a storage.  The
pickle is read inertly (`graphws.graph.inert`): tensors, storages and sizes are stand-ins that only check their
arguments.  Besides them there may be plain data: dictionaries, lists, tuples, numbers, text.

* A storage must be exactly as long as its member.
* A tensor must not hold more numbers than its storage: a stride of 0 makes a terabyte of four bytes.
* Of the attributes that a dictionary may be given, only the one that state dicts have is allowed.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from graphws.graph.inert import read_inert

MOST_AXES = 64
"""Axes that a tensor may have."""

_BYTES = {
    "Float": 4, "Double": 8, "Half": 2, "BFloat16": 2, "ComplexFloat": 8, "ComplexDouble": 16,
    "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1, "Bool": 1,
}  # fmt: skip


def scan(pickled: bytes, storages: Mapping[str, int]) -> None:
    """Does nothing where a pickle makes plain data and honest tensors of the storages that there are.

    Args:
        pickled: The pickle of a checkpoint.
        storages: Bytes of each storage in the archive.

    Raises:
        ValueError: On any other name or opcode, and on a claim that is not true.
    """
    read_inert(pickled, _stand_ins(), lambda reference: _storage(reference, storages))


@dataclass(frozen=True)
class _Kind:
    """Stands for a type of storage."""

    item: int


@dataclass(frozen=True)
class _Storage:
    """Stands for a storage of `count` numbers."""

    count: int


class _Dictionary(OrderedDict[Any, Any]):
    """Stands for an ordered dictionary, of which ``_metadata`` is the one attribute that `state_dict` sets."""

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict) or set(state) - {"_metadata"}:
            raise ValueError("it changes the attributes of a dictionary")


def _stand_ins() -> dict[tuple[str, str], Callable[..., Any]]:
    """Made anew for each pickle, which could hang attributes on functions."""

    def tensor(storage: object, offset: object, size: object, stride: object, *rest: object) -> None:
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor is not made of a storage")
        shape, steps, (start,) = _sizes(size), _sizes(stride), _sizes((offset,))
        if len(shape) != len(steps):
            raise ValueError("a tensor has an impossible shape")
        if math.prod(shape) > storage.count:
            raise ValueError(f"a tensor of {math.prod(shape)} numbers claims to lie in a storage of {storage.count}")
        if start > storage.count:
            raise ValueError(f"a tensor claims to begin at number {start} of a storage of {storage.count}")

    def parameter(value: object, *rest: object) -> object:
        return value

    def size(value: object = ()) -> tuple[int, ...]:
        return _sizes(value)

    names: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): _Dictionary,
        ("torch", "Size"): size,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): parameter,
    }
    return names | {("torch", f"{kind}Storage"): _Kind(item) for kind, item in _BYTES.items()}


def _sizes(value: object) -> tuple[int, ...]:
    """A short tuple of whole numbers, none negative and none beyond 64 bits."""
    if (
        not isinstance(value, tuple)
        or len(value) > MOST_AXES
        or not all(isinstance(number, int) and 0 <= number < 2**63 for number in value)
    ):
        raise ValueError("a tensor has an impossible shape")
    return value


def _storage(reference: object, storages: Mapping[str, int]) -> _Storage:
    if not isinstance(reference, tuple) or len(reference) != 5 or reference[0] != "storage":
        raise ValueError("it refers to something that is no storage")
    _, kind, key, _, count = reference
    if not isinstance(kind, _Kind) or not isinstance(key, str) or not isinstance(count, int):
        raise ValueError("it refers to something that is no storage")
    if key not in storages:
        raise ValueError(f"storage {key!r} is not in the archive")
    if (held := storages[key]) != kind.item * count:
        raise ValueError(f"storage {key!r} claims {count} numbers of {kind.item} bytes, its member has {held} bytes")
    return _Storage(count)
