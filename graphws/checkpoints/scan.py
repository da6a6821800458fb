"""Comparing what the pickle of a PyTorch checkpoint claims with what the archive around it holds.

The archive of a checkpoint has one pickle, which says how tensors are made of storages, and one member a storage.  The
pickle is read inertly (`graphws.checkpoints.inert`): tensors, storages and sizes are stand-ins that only check their
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

from graphws.checkpoints.inert import read_inert

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

    def storage(reference: object) -> Storage:
        if not isinstance(reference, tuple) or len(reference) != 5:
            raise ValueError("it refers to something that is no storage")
        claimed = read_reference(reference)
        if claimed.key not in storages:
            raise ValueError(f"storage {claimed.key!r} is not in the archive")
        claimed.compare(storages[claimed.key])
        return claimed

    read_inert(pickled, stand_ins(), storage, len(storages))


@dataclass(frozen=True)
class _Kind:
    """Stands for a type of storage."""

    name: str
    item: int


@dataclass(frozen=True)
class Storage:
    """Stands for a storage: its key, the name of its type, bytes of a number, how many numbers it claims to have."""

    key: str
    kind: str
    item: int
    count: int

    def compare(self, held: int) -> None:
        """`ValueError` unless it has exactly so many bytes."""
        if held != self.item * self.count:
            raise ValueError(
                f"storage {self.key!r} claims {self.count} numbers of {self.item} bytes, its member has {held} bytes"
            )


@dataclass(frozen=True)
class Claim:
    """Stands for a tensor: where in which storage its numbers are said to lie."""

    storage: Storage
    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Dictionary(OrderedDict[Any, Any]):
    """Stands for an ordered dictionary, of which ``_metadata`` is the one attribute that `state_dict` sets."""

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict) or set(state) - {"_metadata"}:
            raise ValueError("it changes the attributes of a dictionary")


def stand_ins() -> dict[tuple[str, str], Callable[..., Any]]:
    """Made anew for each pickle, which could hang attributes on functions."""

    def tensor(storage: object, offset: object, size: object, stride: object, *rest: object) -> Claim:
        if not isinstance(storage, Storage):
            raise ValueError("a tensor is not made of a storage")
        shape, steps, (start,) = _sizes(size), _sizes(stride), _sizes((offset,))
        if len(shape) != len(steps):
            raise ValueError("a tensor has an impossible shape")
        if math.prod(shape) > storage.count:
            raise ValueError(f"a tensor of {math.prod(shape)} numbers claims to lie in a storage of {storage.count}")
        if start > storage.count:
            raise ValueError(f"a tensor claims to begin at number {start} of a storage of {storage.count}")
        return Claim(storage, start, shape, steps)

    def parameter(value: object, *rest: object) -> object:
        return value

    def size(value: object = ()) -> tuple[int, ...]:
        return _sizes(value)

    names: dict[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): _Dictionary,
        ("torch", "Size"): size,
        ("torch._utils", "_rebuild_tensor"): tensor,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): parameter,
    }
    return names | {("torch", f"{kind}Storage"): _Kind(kind, item) for kind, item in _BYTES.items()}


def _sizes(value: object) -> tuple[int, ...]:
    """A short tuple of whole numbers, none negative and none beyond 64 bits."""
    if (
        not isinstance(value, tuple)
        or len(value) > MOST_AXES
        or not all(type(number) is int and 0 <= number < 2**63 for number in value)
    ):
        raise ValueError("a tensor has an impossible shape")
    return value


def read_reference(reference: tuple[object, ...]) -> Storage:
    """The storage that a persistent id claims: its first five fields.

    Raises:
        ValueError: Where it is no storage's.
    """
    name, kind, key, _, count = reference[:5]
    if name != "storage" or not isinstance(kind, _Kind) or not isinstance(key, str) or type(count) is not int:
        raise ValueError("it refers to something that is no storage")
    return Storage(key, kind.name, kind.item, count)
