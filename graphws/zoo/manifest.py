"""zoo.json: what a finished zoo consists of.

It is the last file written; a folder without it is no zoo.  It lists every architecture with its graph and its shards,
every other file, all with size and SHA-256, the number of networks of each shard, and how the zoo came to be.  In
version 1 there was one architecture, whose graph and shards stood at the top; such files are read as well.

Nothing that it says is believed unchecked: names may not leave the folder, numbers must be what they claim to count,
and the file itself is read up to a cap.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from graphws.errors import ZooError
from graphws.printable import printable
from graphws.shown import Shown
from graphws.zoo.files import read_bounded, write_whole

NAME = "zoo.json"
FORMAT = "graphws-zoo"
VERSION = 2
"""That is written; 1 is read, too."""
MAX_BYTES = 16 << 20
MAX_SHARDS = 100_000
MAX_ARCHITECTURES = 10_000
LONGEST_NAME = 200
MOST_AXES, LONGEST_SIDE = 8, 1 << 16
"""Of the signal that networks represent."""

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.[a-z]+")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, repr=False)
class Entry(Shown):
    """A file of the zoo.

    Args:
        name: Without any folder.
        bytes: Its size.
        sha256: Of its content.
        count: Networks in it, for a shard; 0 for other files.
    """

    name: str
    bytes: int
    sha256: str
    count: int = 0


@dataclass(frozen=True, repr=False)
class Shelf(Shown):
    """The networks of one architecture.

    Args:
        name: What the table calls the architecture.
        graph: The file of their graph.
        shards: Their files, in order.
    """

    name: str
    graph: Entry
    shards: tuple[Entry, ...]

    @property
    def count(self) -> int:
        """How many networks there are."""
        return sum(shard.count for shard in self.shards)


@dataclass(frozen=True, repr=False)
class Manifest(Shown):
    """The content of zoo.json.

    Args:
        count: Networks in the zoo.
        architectures: Each with its graph and networks; their counts sum to `count`.
        table: table.parquet.
        statistics: statistics.safetensors.
        provenance: How the zoo was made; free-form JSON, the same bytes for the same zoo.
        version: Of the format.
    """

    count: int
    architectures: tuple[Shelf, ...]
    table: Entry
    statistics: Entry
    provenance: dict[str, Any] = field(default_factory=dict)
    version: int = VERSION

    @property
    def shards(self) -> tuple[Entry, ...]:
        """Those of all architectures."""
        return tuple(shard for shelf in self.architectures for shard in shelf.shards)

    @property
    def files(self) -> tuple[Entry, ...]:
        """Every file but zoo.json itself."""
        return (*(shelf.graph for shelf in self.architectures), self.table, self.statistics, *self.shards)

    def write(self, folder: Path) -> None:
        """Writes zoo.json into `folder`, atomically."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True).encode() + b"\n"
        if len(text) > MAX_BYTES:
            raise ZooError(f"{folder / NAME}: {len(self.files)} files are too many for a zoo; make larger shards")
        write_whole(folder / NAME, [text])

    @staticmethod
    def read(folder: Path) -> Manifest:
        """The manifest of a zoo.

        Raises:
            ZooError: Where there is none, it is damaged, of another version, or lists what cannot be.
        """
        path = folder / NAME
        if not path.is_file():
            raise _missing(folder)
        try:
            data = json.loads(read_bounded(path, MAX_BYTES))
        except (ValueError, RecursionError) as error:
            raise ZooError(f"{path}: damaged: it is not JSON") from error
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise ZooError(f"{path}: not the manifest of a zoo")
        version = data.get("version")
        if version not in (1, VERSION) or isinstance(version, bool):
            raise ZooError(f"{path}: format version {version!r}; this graphws reads versions 1 and {VERSION}")
        try:
            shelves = [{**data, "name": ""}] if version == 1 else data["architectures"]
            if not isinstance(shelves, list) or not 1 <= len(shelves) <= MAX_ARCHITECTURES:
                raise ZooError(f"{path}: damaged: its list of architectures is empty or absurd")
            manifest = Manifest(
                _whole(data["count"]),
                tuple(_shelf(path, shelf) for shelf in shelves),
                _entry(data["table"]),
                _entry(data["statistics"]),
                provenance_from(data["provenance"]),
                version,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ZooError(f"{path}: damaged: {_reason(error)}") from error
        counts = [shard.count for shard in manifest.shards]
        if sum(counts) != manifest.count or min(counts) < 1:
            raise ZooError(f"{path}: damaged: its shards do not add up to {manifest.count} networks")
        if len({shelf.name for shelf in manifest.architectures}) < len(manifest.architectures):
            raise ZooError(f"{path}: damaged: two of its architectures have one name")
        if len({entry.name for entry in manifest.files}) != len(manifest.files):
            raise ZooError(f"{path}: damaged: it lists a file twice")
        return manifest


def _shelf(path: Path, data: object) -> Shelf:
    if not isinstance(data, dict):
        raise ValueError("an architecture is not an object")
    name, shards = data["name"], data["shards"]
    if not isinstance(name, str) or len(name) > LONGEST_NAME or printable(name) != name:
        raise ValueError("the name of an architecture is no text of one line")
    if not isinstance(shards, list) or not 1 <= len(shards) <= MAX_SHARDS:
        raise ZooError(f"{path}: damaged: its list of shards is empty or absurd")
    return Shelf(name, _entry(data["graph"]), tuple(_entry(shard) for shard in shards))


def _missing(folder: Path) -> ZooError:
    if folder.with_name(folder.name + ".partial").is_dir():
        return ZooError(f"{folder}: not finished; run the same `graphws zoo fit` again to go on where it stopped")
    if folder.name.endswith(".partial"):
        return ZooError(f"{folder}: an unfinished fit; run the same `graphws zoo fit` again to go on where it stopped")
    if folder.is_dir():
        return ZooError(f"{folder}: no zoo.json in it, so it is no finished zoo; `graphws zoo fit` or `pack` makes one")
    return ZooError(f"{folder}: no such zoo; `graphws zoo fit` or `graphws zoo pack` makes one")


def _reason(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise ValueError(f"{value!r} is no count")
    return value


def provenance_from(value: object) -> dict[str, Any]:
    """How a zoo was made: free, but for what reports read of it; `ValueError` where that is not as they read it."""
    if not isinstance(value, dict):
        raise ValueError("its provenance is not an object")
    summary, signal = value.get("summary", {}), value.get("signal", {"shape": [], "peak": 1.0, "classes": []})
    if not isinstance(summary, dict) or not all(map(_is_number, summary.values())):
        raise ValueError("its summary does not map names to numbers")
    if not isinstance(signal, dict) or not _is_number(signal.get("peak")) or not signal["peak"] > 0:
        raise ValueError("its signal has no peak")
    shape, classes = signal.get("shape"), signal.get("classes")
    if not isinstance(shape, list) or len(shape) > MOST_AXES or not all(map(_is_length, shape)):
        raise ValueError("its signal has an impossible shape")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ValueError("the classes of its signal are no list of texts")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LONGEST_SIDE


def _entry(value: object) -> Entry:
    if not isinstance(value, dict):
        raise ValueError("an entry is not an object")
    name, checksum = value["name"], value["sha256"]
    if not isinstance(name, str) or not _FILE.fullmatch(name):
        raise ValueError(f"{str(name)[:80]!r} is no file name inside the zoo")
    if not isinstance(checksum, str) or not _HASH.fullmatch(checksum):
        raise ValueError(f"the checksum of {name} is none")
    return Entry(name, _whole(value["bytes"]), checksum, _whole(value["count"]))
