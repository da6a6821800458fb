"""GGUF files: a header of settings and of tensors, then the numbers.

Only plain numbers are read; blocks of few bits are named and refused.  Nothing in a header is believed: every length is
held against what is left of the file before it is used, settings are stepped over without being kept, and a tensor must
lie inside the file.  Its axes stand fastest first, torch's last.

Source: the format's description, ggml-org/ggml, ``docs/gguf.md``, versions 2 and 3.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

MOST_SETTINGS = 100_000
MOST_TENSORS = 100_000
MOST_AXES = 4
LONGEST_NAME = 4096
MOST_TEXTS = 10_000_000
"""Most texts and lists among the settings: a vocabulary has 300 thousand."""
DEEPEST = 4
"""How deep lists of settings may lie in lists."""

_FIXED = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a setting, by its type; 8 is a text and 9 a list."""
_TEXT, _LIST = 8, 9
_TYPES = {
    0: torch.float32, 1: torch.float16, 24: torch.int8, 25: torch.int16, 26: torch.int32, 27: torch.int64,
    28: torch.float64, 30: torch.bfloat16,
}  # fmt: skip
_QUANTISED = {
    2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K",
    14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S",
    22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


def read_gguf(file: Path) -> dict[str, Tensor]:
    """The tensors of a GGUF file under their names.

    Raises:
        ValueError: Where it is cut off, not what it claims to be, of another version, or quantised.
    """
    with file.open("rb") as stream:
        return _Reader(stream, file.stat().st_size).tensors()


class _Reader:
    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream, self.size, self.alignment, self.left, self.texts = stream, size, 32, size, 0

    def tensors(self) -> dict[str, Tensor]:
        self.take(4)
        version = self.whole(4)
        if version not in (2, 3):
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big") in (2, 3)
            raise ValueError("its numbers are of another byte order" if swapped else f"version {version} is not read")
        count, settings = self.whole(8), self.whole(8)
        if count > MOST_TENSORS or settings > MOST_SETTINGS:
            raise ValueError(f"it claims {count} tensors and {settings} settings, at most {MOST_TENSORS} are believed")
        if not count:
            raise ValueError("it holds no tensors")
        for _ in range(settings):
            self.setting()
        entries = [self.entry() for _ in range(count)]
        if len({name for name, *_ in entries}) != count:
            raise ValueError("two of its tensors have one name")
        blocks = sorted({_QUANTISED.get(kind, f"type {kind}") for _, _, kind, _ in entries if kind not in _TYPES})
        if blocks:
            raise ValueError(
                f"its tensors are quantised ({', '.join(blocks)[:80]}), and only plain numbers are read: "
                "convert it to F32, F16 or BF16, or give the model that it was made from"
            )
        data = -(-self.stream.tell() // self.alignment) * self.alignment
        return {name: self.tensor(name, shape, _TYPES[kind], data + start) for name, shape, kind, start in entries}

    def take(self, count: int) -> bytes:
        """So many bytes, which must be there."""
        if count > self.size - self.stream.tell():
            raise ValueError(f"it is cut off: {count} bytes claimed, {self.size - self.stream.tell()} left")
        return self.stream.read(count)

    def skip(self, count: int) -> None:
        if count > self.size - self.stream.tell():
            raise ValueError(f"it is cut off: {count} bytes claimed, {self.size - self.stream.tell()} left")
        self.stream.seek(count, 1)

    def whole(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def text(self) -> str:
        length = self.whole(8)
        if length > LONGEST_NAME:
            raise ValueError(f"a name of {length} bytes, at most {LONGEST_NAME} are read")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise ValueError("a name is not in UTF-8") from None

    def setting(self) -> None:
        """Steps over a setting; only the alignment is looked at."""
        name, kind = self.text(), self.whole(4)
        if name == "general.alignment" and kind == 4:
            self.alignment = self.whole(4)
            if self.alignment % 8 or not 8 <= self.alignment <= 1 << 20:
                raise ValueError(f"an alignment of {self.alignment} bytes")
        else:
            self.skip_value(kind, 0)

    def skip_value(self, kind: int, depth: int) -> None:
        self.texts += 1
        if self.texts > MOST_TEXTS:
            raise ValueError(f"more than {MOST_TEXTS} texts among its settings")
        if kind in _FIXED:
            self.skip(_FIXED[kind])
        elif kind == _TEXT:
            self.skip(self.whole(8))
        elif kind == _LIST and depth < DEEPEST:
            inner, count = self.whole(4), self.whole(8)
            if inner in _FIXED:
                self.skip(_FIXED[inner] * count)
                return
            for _ in range(count):
                self.skip_value(inner, depth + 1)
        else:
            raise ValueError(f"a setting of type {kind}")

    def entry(self) -> tuple[str, tuple[int, ...], int, int]:
        """Name, shape, type and place of a tensor."""
        name, axes = self.text(), self.whole(4)
        if axes > MOST_AXES:
            raise ValueError(f"{name[:80]!r} has {axes} axes, at most {MOST_AXES} are read")
        lengths = struct.unpack(f"<{axes}Q", self.take(8 * axes))
        return name, lengths[::-1], self.whole(4), self.whole(8)

    def tensor(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, start: int) -> Tensor:
        numbers = math.prod(shape)
        self.left -= numbers * dtype.itemsize
        if self.left < 0 or numbers * dtype.itemsize > self.size - start:
            claim = "x".join(map(str, shape))
            raise ValueError(f"{name[:80]!r} of shape {claim} claims bytes that the file does not have")
        if not numbers:
            raise ValueError(f"{name[:80]!r} has no numbers")
        self.stream.seek(start)
        return torch.frombuffer(bytearray(self.stream.read(numbers * dtype.itemsize)), dtype=dtype).reshape(shape)
