"""What a file is, by its first bytes: its name says nothing, and people rename files.

One table has all formats; a line in it is a name for readers, who reads it or what to do instead, and the test.  What
begins like nothing in the table has no format, and whoever asked says what it wanted.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graphws.checkpoints.legacy import is_legacy
from graphws.checkpoints.zip_members import zip_members
from graphws.errors import DataError

_HEAD = 512
_RESAVE = "load it where it was made and save the tensors with safetensors"
_UNPACK = "unpack it and give what is inside"
_EXPORT = "export the model to ONNX, or save its tensors with safetensors"


@dataclass(frozen=True)
class Look:
    """What is looked at: the file, its first bytes and, of a zip archive, the names of its members."""

    file: Path
    head: bytes
    members: tuple[str, ...]

    def ends(self, *suffixes: str) -> bool:
        """Whether the file's name ends so, for the few formats without a beginning of their own."""
        return self.file.name.lower().endswith(suffixes)

    def holds(self, *endings: str) -> bool:
        """Whether the archive has members whose paths end so, one for each."""
        return all(any(("/" + name).endswith(ending) for name in self.members) for ending in endings)


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        name: For messages, with its article.
        advice: What to do with a file that is not read; empty where it is.
    """

    name: str
    advice: str = ""

    def refusal(self, file: Path) -> DataError:
        """The error for a file that is not read."""
        return DataError(f"{file}: {self.name}, which is not read: {self.advice}")


TORCH = Format("a checkpoint of PyTorch")
LEGACY = Format("a checkpoint of PyTorch before 1.6")
TORCHSCRIPT = Format("a TorchScript program")
SAFETENSORS = Format("a safetensors file")
GGUF = Format("a GGUF file")
NPY = Format("a NumPy array")
NPZ = Format("an archive of NumPy arrays")
ONNX = Format("an ONNX model")

_MSGPACK_TEXTS = (*range(0xA1, 0xC0), 0xD9, 0xDA)


def _is_msgpack(look: Look) -> bool:
    """A mapping whose first key is a text, as flax writes it."""
    head = look.head
    if 0x81 <= head[0] <= 0x8F and len(head) > 1:
        return head[1] in _MSGPACK_TEXTS
    return head[0] == 0xDE and len(head) > 3 and head[3] in _MSGPACK_TEXTS


def _is_safetensors(look: Look) -> bool:
    """The length of a header, then the header, a JSON mapping."""
    return len(look.head) > 8 and look.head[8:9] == b"{" and 2 <= int.from_bytes(look.head[:8], "little") < 1 << 27


def _is_pickle(look: Look) -> bool:
    return (look.head[0] == 0x80 and len(look.head) > 1 and 2 <= look.head[1] <= 5) or (
        look.ends(".pkl", ".pickle", ".joblib") and look.head[:1] in b"(]}c"
    )


def _is_onnx(look: Look) -> bool:
    """A version, then the text of who made it: the beginning of nearly every ONNX message."""
    return len(look.head) > 3 and look.head[0] == 0x08 and 3 <= look.head[1] <= 20 and look.head[2] in (0x12, 0x3A)


def _begins(*starts: bytes) -> Callable[[Look], bool]:
    return lambda look: look.head.startswith(starts)


def _at(place: int, text: bytes) -> Callable[[Look], bool]:
    return lambda look: look.head[place : place + len(text)] == text


def _is_compressed_by_zlib(look: Look) -> bool:
    return look.head[:1] == b"\x78" and len(look.head) > 1 and look.head[1] in (0x01, 0x5E, 0x9C, 0xDA)


FORMATS: tuple[tuple[Format, Callable[[Look], bool]], ...] = (
    (TORCHSCRIPT, lambda look: look.holds("/constants.pkl") or any("/code/" in "/" + name for name in look.members)),
    (TORCH, lambda look: look.holds("/data.pkl")),
    (Format("a program of torch.export (.pt2)", "give the module, or the state dict that it was exported from"),
     lambda look: look.holds("/archive_format") or look.holds("/serialized_exported_program.json")),
    (Format("a Keras model (.keras)", _EXPORT), lambda look: look.holds("/model.weights.h5")),
    (NPZ, lambda look: bool(look.members) and all(name.endswith(".npy") for name in look.members)),
    (Format("a TorchServe archive (.mar)", _UNPACK), lambda look: look.holds("/MAR-INF/MANIFEST.json")),
    (Format("a zip archive", _UNPACK), lambda look: bool(look.members)),
    (LEGACY, lambda look: is_legacy(look.file)),
    (SAFETENSORS, _is_safetensors),
    (GGUF, _begins(b"GGUF")),
    (NPY, _begins(b"\x93NUMPY")),
    (Format("a GGML file, the forerunner of GGUF", "convert the original model to safetensors"),
     _begins(b"lmgg", b"fmgg", b"tjgg", b"algg")),
    (Format("an HDF5 file, as Keras writes (.h5)", _EXPORT), _begins(b"\x89HDF\r\n\x1a\n")),
    (Format("a TensorFlow Lite model", "give the model that it was made from, as ONNX"), _at(4, b"TFL3")),
    (Format("a pickle (as of pickle, joblib or scikit-learn)", f"it is a program and never run; {_RESAVE}"),
     _is_pickle),
    (Format("a msgpack file, as flax writes", _RESAVE), _is_msgpack),
    (Format("a MATLAB file", _RESAVE), _begins(b"MATLAB 5.0", b"MATLAB 7")),
    (Format("a pointer of Git LFS, not the file itself", "fetch it with git lfs pull"),
     _begins(b"version https://git-lfs.github.com/spec/")),
    (Format("a web page, not the file itself", "download the file again, by its address for raw files"),
     lambda look: look.head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))),
    (Format("a file compressed by gzip", _UNPACK), _begins(b"\x1f\x8b")),
    (Format("a file compressed by bzip2", _UNPACK), _begins(b"BZh")),
    (Format("a file compressed by xz", _UNPACK), _begins(b"\xfd7zXZ\0")),
    (Format("a file compressed by zstandard", _UNPACK), _begins(b"\x28\xb5\x2f\xfd")),
    (Format("a file compressed by LZ4", _UNPACK), _begins(b"\x04\x22\x4d\x18")),
    (Format("a file compressed by zlib, as joblib does", f"it is a program and never run; {_RESAVE}"),
     _is_compressed_by_zlib),
    (Format("a 7z archive", _UNPACK), _begins(b"7z\xbc\xaf\x27\x1c")),
    (Format("a tar archive", _UNPACK), _at(257, b"ustar")),
    (Format("a Core ML model", "give the model that it was made from, as ONNX"), lambda look: look.ends(".mlmodel")),
    (Format("a checkpoint or graph of TensorFlow", _EXPORT),
     lambda look: look.ends(".pb", ".meta", ".ckpt.index") or ".data-0000" in look.file.name),
    (ONNX, lambda look: look.ends(".onnx") or _is_onnx(look)),
)  # fmt: skip
"""Every format with its test; the first that fits counts."""

FOLDERS: tuple[tuple[Format, tuple[str, ...]], ...] = (
    (Format("a SavedModel of TensorFlow", _EXPORT), ("saved_model.pb",)),
    (Format("a checkpoint of torch.distributed",
            "join it into one file with torch.distributed.checkpoint.format_utils.dcp_to_torch_save"), (".metadata",)),
    (Format("a checkpoint of Orbax", _RESAVE), ("_CHECKPOINT_METADATA",)),
    (Format("a checkpoint of Orbax", _RESAVE), ("manifest.ocdbt",)),
    (Format("a model of MLflow", "give the file of weights inside"), ("MLmodel",)),
    (Format("a package of Core ML", "give the model that it was made from, as ONNX"), ("Manifest.json",)),
)  # fmt: skip
"""Folders by the files in them."""


def format_of(path: Path) -> Format | None:
    """The format of a file or folder; None where it begins like none that is known, or cannot be read."""
    if path.is_dir():
        return next((found for found, names in FOLDERS if all((path / name).is_file() for name in names)), None)
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return None
    members: tuple[str, ...] = ()
    if head.startswith(b"PK\x03\x04"):
        try:
            members = tuple(member.filename for member in zip_members(path))
        except DataError:
            return None  # its reader says how it is crooked
    look = Look(path, head, members)
    return next((found for found, fits in FORMATS if head and fits(look)), None)


def refuse_unread(path: Path) -> None:
    """Does nothing for what is read, or of no format that is known.

    Raises:
        DataError: On a file or folder of a format that is not read; it is named, with what to do.
    """
    found = format_of(path)
    if found is not None and found.advice:
        raise found.refusal(path)


def listing(folder: Path, most: int = 5) -> str:
    """A few names of what a folder holds, for messages."""
    names = sorted(entry.name for entry in folder.iterdir())
    shown = ", ".join(json.dumps(name[:60]) for name in names[:most])
    return (shown + (f" and {len(names) - most} more" if len(names) > most else "")) or "nothing"
