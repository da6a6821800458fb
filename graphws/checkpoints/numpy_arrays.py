"""NumPy's ``.npy`` and ``.npz`` files as state dicts, without NumPy's pickles.

An array in a file is a header, a short literal of shape and type, and its bytes.  The header is read by NumPy's own
bounded reader and held against the bytes that there are; arrays of objects are pickles and refused.  An archive may be
compressed: its members unfold to at most `MOST_FOLDED` times the file, and no further than they claim.
"""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from graphws.checkpoints.zip_members import CROOKED

MOST_FOLDED = 20
MOST_AXES = 64


def read_npy(file: Path) -> dict[str, Tensor]:
    """The one array in a file, by the file's name.

    Raises:
        ValueError: Where it is cut off, not what it claims to be, or holds no plain numbers.
    """
    with file.open("rb") as stream:
        return {file.stem: _tensor(stream, file.stat().st_size)}


def read_npz(file: Path) -> dict[str, Tensor]:
    """The arrays of an archive by their names.

    Raises:
        ValueError: As `read_npy`, or where the archive is crooked or unfolds to far more than its size.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            total, size = sum(member.file_size for member in members), file.stat().st_size
            if total > MOST_FOLDED * size:
                raise ValueError(f"its arrays unfold to {total} bytes, more than {MOST_FOLDED} times the file")
            found = {}
            for member in members:
                name = member.filename.removesuffix(".npy")
                if name in found:
                    raise ValueError(f"two of its arrays have the name {name[:80]!r}")
                with archive.open(member) as stream:
                    held = stream.read(member.file_size + 1)
                if len(held) != member.file_size:
                    raise ValueError(f"{name[:80]!r} has another length than the archive says")
                found[name] = _tensor(io.BytesIO(held), len(held), f"{name[:80]!r}: ")
            return found
    except ValueError:
        raise
    except CROOKED as error:
        raise ValueError(next(iter(str(error).splitlines()), type(error).__name__)[:200]) from None


def _tensor(stream: IO[bytes], size: int, which: str = "") -> Tensor:
    """The array at a stream of so many bytes."""
    shape, fortran, dtype = _header(stream, which)
    if dtype.hasobject:
        raise ValueError(f"{which}an array of objects is a pickle, a program, and never run")
    if dtype.kind not in "fiubc" or dtype.itemsize > (16 if dtype.kind == "c" else 8):
        raise ValueError(f"{which}an array of type {str(dtype)[:60]} holds no numbers that are read")
    if len(shape) > MOST_AXES or min(shape, default=0) < 0 or max(shape, default=0) > 1 << 40:
        raise ValueError(f"{which}an array has an impossible shape")
    wanted, left = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if wanted != left:
        raise ValueError(f"{which}an array of shape {shape} has {wanted} bytes, the file {left}")
    flat = np.frombuffer(bytearray(stream.read(wanted)), dtype=dtype).astype(dtype.newbyteorder("="))
    return torch.from_numpy(np.ascontiguousarray(flat.reshape(shape, order="F" if fortran else "C")))


def _header(stream: IO[bytes], which: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type; whatever NumPy says of a header that is none is one error."""
    try:
        version = npy.read_magic(stream)
        reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran, dtype = reader(stream)
        return tuple(map(int, shape)), bool(fortran), dtype
    except KeyError:
        raise ValueError(f"{which}a header of another version") from None
    except Exception as error:  # the literal of a hostile header can fail in any way
        text = next(iter(str(error).splitlines()), type(error).__name__)[:120]
        raise ValueError(f"{which}its header cannot be read: {text}") from None
