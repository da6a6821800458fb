"""What the pages of a Parquet file unfold to, counted from their headers alone.

The metadata at the end of a Parquet file say how large its columns are, but what is allocated is what each page's own
header says, and a text that a page holds once may stand in every row.  Here metadata and headers are walked (Thrift's
compact protocol, as in parquet.thrift of the Apache Parquet format) and nothing is unfolded.  Arrow is not asked about
columns: where their statistics contradict their types it ends the process (signal 6).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"PAR1"
MOST_PAGES = 100_000
DEEPEST = 16
"""Structures and lists inside one another in a header or the metadata, which need eight."""
ENCODINGS = frozenset((0, 2, 3, 4, 5, 8, 9))
"""Those whose values take no more than their page, or a fixed number of bytes each: all but the two that build texts
from the text before (DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY)."""


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        unpacked: Its bytes after decompression.
        encoding: How its values are written; None where it has none of its own.
    """

    unpacked: int
    encoding: int | None


@dataclass(frozen=True)
class Chunk:
    """Where the pages of a column lie, in one group of rows.

    Attributes:
        column: Its number, counted from 1.
        start: Where the first page's header begins.
        length: Bytes of all pages with their headers.
    """

    column: int
    start: int
    length: int


def column_chunks(data: bytes | memoryview) -> list[Chunk]:
    """Every column of every group of rows, as the metadata at the end of a file say.

    Raises:
        ValueError: Where there are none, or they are damaged.
    """
    length = int.from_bytes(data[-8:-4], "little")
    if bytes(data[:4]) != MAGIC or bytes(data[-4:]) != MAGIC or length > len(data) - 12:
        raise ValueError("it does not end as a Parquet file does")
    footer = _Compact(data, len(data) - 8 - length, len(data) - 8).structure(0)
    found = []
    for group in _structures(footer.get(4)):
        for number, column in enumerate(_structures(group.get(1)), start=1):
            about = column.get(3)
            start, total = (about.get(9), about.get(7)) if isinstance(about, dict) else (None, None)
            first = about.get(11, start) if isinstance(about, dict) else None
            if not isinstance(start, int) or not isinstance(total, int) or not isinstance(first, int) or 1 in column:
                raise ValueError("a column does not say where its pages lie")
            found.append(Chunk(number, min(start, first), total))
    return found


def _structures(value: object) -> list[dict[int, object]]:
    """The structures of a list."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ValueError("its metadata are damaged")
    return value


def pages(data: bytes | memoryview, start: int, length: int) -> Iterator[Page]:
    """The pages of one column chunk.

    Args:
        data: The whole file.
        start: Where the first page's header begins.
        length: Bytes of all pages with their headers.

    Raises:
        ValueError: Where there are none, too many, or their headers are damaged.
    """
    place, end = start, start + length
    if not 0 <= start <= end <= len(data):
        raise ValueError("its columns lie outside of the file")
    for _ in range(MOST_PAGES):
        if place == end:
            return
        reader = _Compact(data, place, end)
        header = reader.structure(0)
        unpacked, packed = header.get(2), header.get(3)
        if not isinstance(unpacked, int) or not isinstance(packed, int) or unpacked < 0 or packed < 0:
            raise ValueError("a page says no size")
        inner = next((header[key] for key in (5, 7, 8) if isinstance(header.get(key), dict)), {})
        encoding = inner.get(4 if 8 in header else 2) if isinstance(inner, dict) else None
        yield Page(unpacked, encoding if isinstance(encoding, int) else None)
        place = reader.place + packed
        if place > end:
            raise ValueError("a page reaches beyond its column")
    raise ValueError(f"a column of more than {MOST_PAGES} pages")


class _Compact:
    """Reads Thrift's compact protocol."""

    def __init__(self, data: bytes | memoryview, place: int, end: int) -> None:
        self.data, self.place, self.end = data, place, end

    def structure(self, depth: int) -> dict[int, object]:
        """Fields by number: whole numbers, structures and lists of structures; what else there is is passed over."""
        fields: dict[int, object] = {}
        number = 0
        while head := self._byte():
            step, kind = head >> 4, head & 15
            number = number + step if step else self._zigzag()
            fields[number] = kind == 1 if kind in (1, 2) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> object:
        if depth > DEEPEST:
            raise ValueError("a page's header is nested too deep")
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind in (7, 8):
            self._skip(8 if kind == 7 else self._varint())
            return None
        if kind in (9, 10):
            head = self._byte()
            count, inner = head >> 4, head & 15
            found = []
            for _ in range(self._varint() if count == 15 else count):
                entry = self._byte() if inner in (1, 2) else self._value(inner, depth + 1)
                if inner == 12:
                    found.append(entry)
            return found
        if kind == 12:
            return self.structure(depth + 1)
        raise ValueError("a page's header is damaged")

    def _byte(self) -> int:
        self._skip(1)
        return self.data[self.place - 1]

    def _skip(self, count: int) -> None:
        self.place += count
        if self.place > self.end:
            raise ValueError("a page's header is cut off")

    def _varint(self) -> int:
        found = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            found |= (byte & 127) << shift
            if byte < 128:
                return found
        raise ValueError("a page's header is damaged")

    def _zigzag(self) -> int:
        found = self._varint()
        return (found >> 1) ^ -(found & 1)
