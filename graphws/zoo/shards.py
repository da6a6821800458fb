"""Shards: safetensors files with the weights of many networks, one stacked tensor a parameter.

The format (8 bytes with the header's length, a JSON header, the data) is written here chunk by chunk, so that a shard
never stands in memory as a whole a second time; it is read by the safetensors library, memory-mapped, after the header
has been checked here against what it must be: exactly the expected names, types that zoos hold, the expected shapes,
data without gaps or overlaps that ends where the file ends.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from graphws.errors import ZooError
from graphws.zoo.files import write_whole

MAX_HEADER = 16 << 20
"""Bytes; a header names the tensors of one network, so a longer one is refused before it is read."""

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
DTYPES = {
    **FLOATS,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""What a zoo holds: weights, which are floats, and buffers, which may be counters and masks."""
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write_shard(path: Path, tensors: Mapping[str, Tensor]) -> tuple[int, str]:
    """Writes tensors atomically and deterministically; returns the file's bytes and SHA-256.

    Raises:
        ZooError: Where it cannot be written, or a tensor is of a type that zoos do not hold.
    """
    header: dict[str, Any] = {}
    offset = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise ZooError(f"tensor {name!r} is of {tensor.dtype}; a zoo holds {', '.join(map(str, _NAMES))}")
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    if len(text) > MAX_HEADER:
        raise ZooError(f"{path}: {len(tensors)} tensors are more than a zoo's network may have")
    text += b" " * (-len(text) % 8)  # data starts on a border of 8 bytes, so that it can be mapped

    def chunks() -> Iterator[bytes | memoryview]:
        yield struct.pack("<Q", len(text)) + text
        for tensor in tensors.values():
            flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            yield flat.numpy().data

    return write_whole(path, chunks())


def read_shard(
    path: Path, shapes: Mapping[str, tuple[int, ...]], types: Collection[str] = tuple(DTYPES)
) -> dict[str, Tensor]:
    """The memory-mapped tensors of a shard; nothing is read until it is used.

    Args:
        path: The file.
        shapes: The names and shapes that it must hold, no more and no less.
        types: Those of `DTYPES` that it may hold.

    Raises:
        ZooError: Where the file is missing, cut off, or holds anything else.
    """
    _check_header(path, shapes, types)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in shapes}
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ZooError(f"{path}: not a readable safetensors file: {error}") from error


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Header of a safetensors file and how many bytes of data follow; `ZooError` on anything that is none."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else MAX_HEADER + 1
            if length > MAX_HEADER:
                raise ZooError(f"{path}: not a safetensors file, or one with an absurd header")
            text = file.read(length)
            size = file.seek(0, 2)
    except OSError as error:
        raise ZooError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ZooError(f"{path}: its header is damaged") from error
    if not isinstance(header, dict) or len(text) < length:
        raise ZooError(f"{path}: its header is damaged")
    header.pop("__metadata__", None)
    return header, size - 8 - length


def _check_header(path: Path, shapes: Mapping[str, tuple[int, ...]], types: Collection[str]) -> None:
    header, held = read_header(path)
    if set(header) != set(shapes):
        odd = sorted(set(header) ^ set(shapes))[0]
        raise ZooError(f"{path}: tensor {odd!r} is {'missing' if odd in shapes else 'unexpected'}")
    offset = 0
    entries = sorted(header.items(), key=lambda item: str(item[1]))
    try:
        entries.sort(key=lambda item: int(item[1]["data_offsets"][0]))
        for name, entry in entries:
            if tuple(entry["shape"]) != tuple(shapes[name]):
                wanted = "x".join(map(str, shapes[name]))
                raise ZooError(f"{path}: tensor {name!r} has shape {'x'.join(map(str, entry['shape']))}, not {wanted}")
            if entry["dtype"] not in types:
                known = ", ".join(types)
                raise ZooError(f"{path}: tensor {name!r} is of type {entry['dtype']!r}; it may hold {known}")
            size = math.prod(shapes[name]) * DTYPES[entry["dtype"]].itemsize
            if list(entry["data_offsets"]) != [offset, offset + size]:
                raise ZooError(f"{path}: tensor {name!r} is not where it must be")
            offset += size
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise ZooError(f"{path}: its header is damaged") from error
    if offset != held:
        raise ZooError(f"{path}: holds {held} bytes of data where {offset} belong: it was cut off or altered")
