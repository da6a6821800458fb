"""Checkpoints as PyTorch wrote them before 1.6: pickles one after the other, then the bytes of the storages.

The stream holds five pickles (a magic number, a version, facts about the machine, the content, the keys of the
storages in order) and then for each storage its length, eight bytes, and its numbers.  PyTorch's own reader is not
asked: it tries the still older tar format first and allocates what a storage claims before it has read it.  Here the
content is read inertly (`graphws.checkpoints.inert`), every claim is compared with the bytes that follow, and tensors
are made from those.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graphws.checkpoints.inert import read_inert, steps
from graphws.checkpoints.scan import Claim, Storage, read_reference, stand_ins

MAGIC = 0x1950A86A20F9469CFC6C
START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first pickle: the magic number."""
_TYPES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128, "Long": torch.int64, "Int": torch.int32,
    "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool,
}  # fmt: skip


def is_legacy(file: Path) -> bool:
    """Whether a file begins as one of the old format does."""
    with file.open("rb") as stream:
        return stream.read(len(START)) == START


def read_legacy(file: Path, longest: int) -> object:
    """What an old checkpoint holds: plain data and tensors.

    Args:
        file: The file, not longer than the caller wants to hold in memory.
        longest: Bytes in which all its pickles must lie.

    Raises:
        ValueError: On anything that is not allowed, not there, or not what it claims to be.
    """
    with file.open("rb") as stream:
        head = io.BytesIO(stream.read(longest))
        read_inert(_next(head), {})
        if read_inert(_next(head), {}) != 1001:
            raise ValueError("it is of an unknown version")
        machine = read_inert(_next(head), {})
        if not isinstance(machine, dict) or machine.get("little_endian") is not True:
            raise ValueError("its numbers are of another byte order")
        claimed: dict[str, Storage] = {}
        content = read_inert(_next(head), stand_ins(), lambda reference: _remember(reference, claimed))
        keys = read_inert(_next(head), {})
        if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(claimed):
            raise ValueError("its list of storages is not that of its tensors")
        stream.seek(head.tell())
        storages = {key: _read_storage(stream, claimed[key]) for key in keys}
        if stream.read(1):
            raise ValueError("more follows its last storage")
    return _rebuilt(content, storages)


def _next(head: io.BytesIO) -> bytes:
    """The bytes of the next pickle."""
    start = head.tell()
    for _ in steps(head):
        pass
    return head.getvalue()[start : head.tell()]


def _remember(reference: object, claimed: dict[str, Storage]) -> Storage:
    if not isinstance(reference, tuple) or len(reference) != 6 or reference[5] is not None:
        raise ValueError("it refers to something that is no storage of its own")
    storage = read_reference(reference)
    if claimed.setdefault(storage.key, storage) != storage:
        raise ValueError(f"storage {storage.key!r} is described in two ways")
    return storage


def _read_storage(stream: io.BufferedReader, storage: Storage) -> Tensor:
    length = stream.read(8)
    if len(length) != 8 or struct.unpack("<q", length)[0] != storage.count:
        raise ValueError(f"storage {storage.key!r} is not as long as its tensors say")
    wanted = storage.count * storage.item
    numbers = bytearray(stream.read(wanted)) if wanted else bytearray()
    storage.compare(len(numbers))
    dtype = _TYPES[storage.kind]
    return torch.frombuffer(numbers, dtype=dtype) if numbers else torch.empty(0, dtype=dtype)


def _rebuilt(content: object, storages: Mapping[str, Tensor]) -> object:
    """Content with tensors in the place of claims, down to where a state dict may be: in a mapping in a mapping.

    What was one tensor stays one.
    """
    made: dict[int, Tensor] = {}

    def tensor(value: Any, depth: int) -> Any:
        if isinstance(value, dict) and depth:
            return {key: tensor(inner, depth - 1) for key, inner in value.items()}
        if isinstance(value, Claim):
            if id(value) not in made:
                made[id(value)] = storages[value.storage.key].as_strided(value.shape, value.strides, value.start)
            return made[id(value)]
        return value

    return tensor(content, 2)
