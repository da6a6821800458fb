"""Where networks are: in a file of their own, in a member of an archive, in a whole network's file or folder."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from graphws.checkpoints.conversion import Conversion
from graphws.checkpoints.network_file import load_network
from graphws.checkpoints.state_dict import Checkpoint, read_checkpoint
from graphws.checkpoints.zip_members import CROOKED, zip_members
from graphws.converting import EFFORT, convert, read_contents
from graphws.errors import DataError, GraphwsError, ZooError
from graphws.zoo.collecting.entry import AtPath, Reading
from graphws.zoo.state_dicts import MAX_BYTES, natural

Result = TypeVar("Result")
LARGEST_TEXT = 64
"""Characters of a text beside a state dict that is kept."""


@dataclass(frozen=True, slots=True)
class StateFile(AtPath):
    """A state dict in a file of its own.

    Args:
        path: The file.
        bytes: Its size.
        stated: What the layout says of the network.
        suffix: What the file is read as, where its name does not say so.
    """

    path: Path
    bytes: int
    stated: tuple[tuple[str, str], ...] = ()
    suffix: str | None = None

    def read(self) -> Reading:
        """The tensors in stored order, those of a safetensors file in natural order."""
        found = read_checkpoint(self.path, MAX_BYTES, prefixes=True, mixed=True, suffix=self.suffix)
        if self.path.suffix == ".safetensors":
            return Reading({name: found.state[name] for name in sorted(found.state, key=natural)})
        return _reading(found)


@dataclass(frozen=True, slots=True)
class Member(AtPath):
    """A state dict in a member of a zip archive.

    Args:
        path: The archive.
        member: The member's name.
        bytes: Size of the archive.
        stated: What the layout says of the network.
    """

    path: Path
    member: str
    bytes: int
    stated: tuple[tuple[str, str], ...] = ()

    def read(self) -> Reading:
        """The tensors in stored order; nothing else of the archive is unpacked."""
        data = read_member(self.path, self.member, MAX_BYTES)
        with tempfile.TemporaryDirectory(prefix="graphws-") as folder:
            file = Path(folder) / "member.pth"
            file.write_bytes(data)
            try:
                return _reading(read_checkpoint(file, MAX_BYTES, prefixes=True))
            except DataError as error:
                reason = str(error).removeprefix(f"{file}: ")
                raise ZooError(f"{self.path}: {self.member!r} in it: {reason}") from None


@dataclass(frozen=True, slots=True)
class ForeignNetwork(AtPath):
    """A file or folder that says what its network computes, read by a converter: ``.onnx``, Hugging Face.

    Args:
        path: The file or folder.
        bytes: Size of the files that are read.
    """

    path: Path
    bytes: int

    @property
    def stated(self) -> tuple[tuple[str, str], ...]:
        """Nothing: the network says it itself."""
        return ()

    def read(self) -> Reading:
        """Its parameters, and everything else that decides its graph."""
        found = named(self.place, lambda: read_contents(self.path))
        return Reading(found.state, found.structure)

    def convert(self, generator: torch.Generator) -> Conversion:
        """Its conversion, tried on its own numbers."""
        return named(self.place, lambda: convert(self.path, generator=generator))


@dataclass(frozen=True, slots=True)
class ConvertedNetwork(AtPath):
    """A file that ``graphws convert -o`` wrote.

    Args:
        path: The file.
        bytes: Its size.
    """

    path: Path
    bytes: int

    @property
    def stated(self) -> tuple[tuple[str, str], ...]:
        """Nothing: the graph in the file says it."""
        return ()

    def read(self) -> Reading:
        """Its numbers, and a digest of its graph."""
        found = load_network(self.path)
        if found.weights is None:
            raise ZooError(f"{self.path}: a graph without numbers")
        graph = hashlib.sha256(found.graph.to_json().encode()).hexdigest()
        return Reading(found.weights.to_state_dict(), graph)

    def convert(self, generator: torch.Generator) -> Conversion:
        """What it holds, its gate run again where its graph runs."""
        return load_network(self.path, effort=EFFORT, generator=generator)


def read_member(file: Path, name: str, limit: int) -> bytes:
    """One member of a zip archive.

    Raises:
        ZooError: Where there is no such member, or it is larger than `limit`, encrypted, or not what it claims to be.
    """
    try:
        members = [member for member in zip_members(file) if member.filename == name]
        if len(members) != 1:
            raise ZooError(f"{file}: {len(members) or 'no'} member{'s' * (len(members) > 1)} {name!r} in the archive")
        if members[0].file_size > limit:
            raise ZooError(f"{file}: {name!r} in it has {members[0].file_size} bytes, at most {limit} are read")
        with zipfile.ZipFile(file) as archive, archive.open(members[0]) as stream:
            data = stream.read(limit + 1)
    except DataError as error:
        raise ZooError(str(error)) from None
    except CROOKED as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise ZooError(f"{file}: {name!r} in it cannot be read: {reason}") from None
    if len(data) > limit:
        raise ZooError(f"{file}: {name!r} in it has more bytes than it says")
    return data


def _reading(found: Checkpoint) -> Reading:
    beside = {key: x for key, x in found.beside.items() if not isinstance(x, str) or len(x) <= LARGEST_TEXT}
    return Reading(found.state, beside=beside)


def named(place: str, work: Callable[[], Result]) -> Result:
    """The result of some work; its errors begin with a place, where they do not already."""
    try:
        return work()
    except GraphwsError as error:
        text = str(error)
        raise ZooError(text if text.startswith(place) else f"{place}: {text}") from error
