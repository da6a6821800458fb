"""Safetensors files whose bytes depend on their content alone.

The safetensors library writes the metadata of a file in the order of a hash table, another one in every process, so
that two identical calls give different files.  Here the header is written again with its metadata in order of name.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor


def tensor_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The content of a file.

    Args:
        tensors: By name; contiguous, on the CPU, no two in the same memory.
        metadata: Texts by name.
    """
    made = save(dict(tensors))
    (length,) = struct.unpack("<Q", made[:8])
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(made[8 : 8 + length])}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + made[8 + length :]
