"""A folder, or a zip file, of pictures in one folder a class.

``cat/1.png, dog/1.png, …``, or the same inside ``train/`` and ``test/``, which then are the split.  Pictures are read
with Pillow.  A zip file is never unpacked to disk: members are read one by one, into memory, up to a cap; names that
climb out of it, encrypted members, links that leave the folder and pictures that unpack to absurd sizes are refused.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from graphws.checkpoints.zip_members import CROOKED
from graphws.errors import DataError
from graphws.zoo.sources.limit import Limit, kept
from graphws.zoo.sources.samples import Samples, picture_grid

MAX_FILE_BYTES = 32 << 20
"""A picture file that is larger is refused."""
MAX_PIXELS = 16 << 20
"""A picture that claims more pixels is refused before it is decoded."""
MAX_TOTAL_BYTES = 4 << 30
"""All decoded pictures together."""

_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "GIF", "WEBP")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".gif", ".webp"}
_TRAIN, _TEST = ("train", "training"), ("test", "testing", "val", "validation")


def _decode(data: bytes, where: str, size: int | None) -> np.ndarray:
    """Rows × columns × 1 or 3 bytes."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise DataError(f"{where}: {picture.width}x{picture.height} pixels, at most {MAX_PIXELS} are read")
            decoded = picture.convert("L" if picture.mode in ("1", "L", "I", "I;16", "LA", "F") else "RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: not a picture that can be read ({', '.join(_FORMATS)})") from error
    if size is not None and decoded.size != (size, size):
        decoded = decoded.resize((size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(decoded)
    return pixels[..., None] if pixels.ndim == 2 else pixels


class _Zip:
    """Names and contents of the pictures in a zip file; nothing is written to disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
        except CROOKED as error:
            raise DataError(f"{path}: not a zip file that can be read") from error

    def names(self) -> list[str]:
        names = []
        for member in self._archive.infolist():
            name = PurePosixPath(member.filename)
            if name.is_absolute() or ".." in name.parts or "\\" in member.filename:
                raise DataError(f"{self.path}: member {member.filename!r} climbs out of the archive")
            if not member.filename.endswith("/") and name.suffix.lower() in _SUFFIXES:
                names.append(member.filename)
        return sorted(names)

    def read(self, name: str) -> bytes:
        try:
            with self._archive.open(name) as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except (*CROOKED, zlib.error) as error:
            raise DataError(f"{self.path}: member {name!r} cannot be read: {error}") from error
        return _bounded(data, f"{self.path}: member {name!r}")

    def close(self) -> None:
        self._archive.close()


class _Folder:
    """Names and contents of the pictures below a folder; links that leave it are refused."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        files = (file for file in self.path.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
        return sorted(file.relative_to(self.path).as_posix() for file in files)

    def read(self, name: str) -> bytes:
        file = self.path / name
        if not file.resolve().is_relative_to(self.path.resolve()):
            raise DataError(f"{file}: a link that leaves {self.path}")
        try:
            with file.open("rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from error
        return _bounded(data, str(file))

    def close(self) -> None:
        """Nothing is held open."""


def _bounded(data: bytes, where: str) -> bytes:
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"{where}: more than {MAX_FILE_BYTES} bytes")
    return data


def _place(name: str, root: Path) -> tuple[str, bool | None]:
    """Class of a picture and whether it is of the test set (None: its path does not say)."""
    parts = PurePosixPath(name).parts
    if len(parts) < 2:
        raise DataError(f"{root}: {name} is in no class folder")
    marks = [part.lower() for part in parts[:-2]]
    test = True if any(m in _TEST for m in marks) else False if any(m in _TRAIN for m in marks) else None
    return parts[-2], test


def load_pictures(
    *, path: str | Path, test_path: str | Path | None = None, size: int | None = None, limit: int | Limit | None = None
) -> Samples:
    """Pictures by class; columns ``label`` (classes in order of name) and ``file``.

    Pictures are grey where all files are, else RGB.

    Args:
        path: A zip file or folder.
        test_path: Another one with the test set, where it is not inside the first.
        size: Pictures are resized to size × size; without it all must have the same size.
        limit: At most so many of the training and of the test part; the first are those of the order of names, classes
            in turn.  Only those are decoded.

    Raises:
        DataError: On anything missing, unreadable, oversized, or of different sizes.
    """
    if size is not None and not 1 <= size <= 4096:
        raise DataError(f"source 'pictures': size must be between 1 and 4096, got {size}")
    roots = [Path(path)] + ([Path(test_path)] if test_path is not None else [])
    for root in roots:
        if not root.exists():
            raise DataError(f"{root}: no such file or folder")
    archives = [_Folder(root) if root.is_dir() else _Zip(root) for root in roots]
    try:
        found = [(archive, name, *_place(name, archive.path)) for archive in archives for name in archive.names()]
        if not found:
            raise DataError(f"{path}: no pictures in it ({', '.join(sorted(_SUFFIXES))})")
        classes = sorted({label for _, _, label, _ in found})
        labels = np.array([classes.index(label) for _, _, label, _ in found], dtype=np.int64)
        marks = np.array([(archive is not archives[0]) or test is True for archive, _, _, test in found])
        index = kept(limit, "pictures", len(found), marks if marks.any() else None, labels)
        found = [found[k] for k in index]
        decoded: list[np.ndarray] = []
        for archive, name, _, _ in found:
            decoded.append(_decode(archive.read(name), f"{archive.path}: {name}", size))
            if decoded[-1].shape[:2] != decoded[0].shape[:2]:
                (h, w), (h0, w0) = decoded[-1].shape[:2], decoded[0].shape[:2]
                raise DataError(
                    f"{archive.path}: {name} has {w}x{h} pixels, the first picture {w0}x{h0}; give a size to resize to"
                )
            if len(found) * decoded[-1].size > MAX_TOTAL_BYTES:
                raise DataError(f"{path}: {len(found)} such pictures need more than {MAX_TOTAL_BYTES} bytes")
    finally:
        for archive in archives:
            archive.close()
    channels = max(picture.shape[2] for picture in decoded)
    values = np.stack([np.broadcast_to(picture, (*picture.shape[:2], channels)) for picture in decoded])
    rows, columns = values.shape[1:3]
    return Samples(
        "pictures",
        picture_grid(rows, columns),
        torch.from_numpy(values).flatten(1, 2),
        shape=(rows, columns),
        table={
            "label": labels[index],
            "file": np.array([name for _, name, _, _ in found], dtype=object),
        },
        test=marks[index] if marks.any() else None,
        classes=tuple(classes),
        numbers=index,
    )
