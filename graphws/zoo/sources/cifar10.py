"""CIFAR-10 in its original files, read without running what is inside.

The folder holds either the "python" batches (``data_batch_1`` … ``data_batch_5``, ``test_batch``), which are pickles,
or the "binary" ones (the same names with ``.bin``), in which a record is a label byte and 3,072 picture bytes.

A pickle is a program, so it is read by `graphws.checkpoints.inert`, to which the few NumPy names that a batch mentions
are inert records; the array is rebuilt here from its bytes.  Anything else is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graphws.checkpoints.inert import read_inert
from graphws.errors import DataError
from graphws.zoo.sources.limit import Limit
from graphws.zoo.sources.samples import Samples, picture_grid

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
MAX_BYTES = 64 << 20
"""A batch is 31 MB; a file larger than this is refused."""

_TRAIN = tuple(f"data_batch_{k}" for k in range(1, 6))
_TEST = "test_batch"
_RECORD = 1 + 3 * 32 * 32


class _Array:
    """Stands for an ndarray: keeps the state that the pickle gives it."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def read(self) -> np.ndarray:
        """The array of unsigned bytes that the state describes."""
        try:
            _, shape, dtype, fortran, data = self.state
            if isinstance(dtype, _DType) and dtype.name in ("u1", b"u1") and isinstance(data, bytes):
                return np.frombuffer(data, dtype=np.uint8).reshape(shape, order="F" if fortran else "C")
        except (TypeError, ValueError):
            pass
        raise ValueError("its array is not one of unsigned bytes")


class _DType:
    """Stands for a NumPy dtype: keeps its name."""

    def __init__(self, name: object = None, *rest: object) -> None:
        self.name = name

    def __setstate__(self, state: object) -> None:
        """Byte order and such; one-byte integers have none."""


_STAND_INS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *arguments: _Array(),
    ("numpy._core.multiarray", "_reconstruct"): lambda *arguments: _Array(),
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): lambda text, encoding: str(text).encode("latin1"),
}


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (n, 3072) and labels (n,) of one pickled batch.

    Raises:
        DataError: On a missing or oversized file and on any pickle that is not plainly a CIFAR-10 batch.
    """
    data = _bounded(path)
    try:
        batch = read_inert(data, _STAND_INS)
        fields = {k.decode("latin1") if isinstance(k, bytes) else k: v for k, v in batch.items()}
        pictures = fields["data"].read()
        labels = np.asarray(fields["labels"], dtype=np.int64)
    except Exception as error:  # a hostile pickle can fail in any way
        reason = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
        raise DataError(f"{path}: not a CIFAR-10 batch, and nothing in it was run: {reason}") from error
    return _checked(path, pictures, labels)


def read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (n, 3072) and labels (n,) of one binary batch; `DataError` where the size is no multiple of a record."""
    data = _bounded(path)
    if not data or len(data) % _RECORD:
        raise DataError(f"{path}: {len(data)} bytes are not whole records of {_RECORD}")
    records = np.frombuffer(data, dtype=np.uint8).reshape(-1, _RECORD)
    return _checked(path, records[:, 1:], records[:, 0].astype(np.int64))


def _bounded(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise DataError(f"{path}: more than {MAX_BYTES} bytes, a CIFAR-10 batch has 31 million")
    return data


def _checked(path: Path, pictures: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if pictures.ndim != 2 or pictures.shape[1] != _RECORD - 1 or labels.shape != (len(pictures),):
        raise DataError(f"{path}: pictures {pictures.shape} and labels {labels.shape}, needed (n, 3072) and (n,)")
    if len(labels) and not 0 <= labels.min() <= labels.max() <= 9:
        raise DataError(f"{path}: labels from {labels.min()} to {labels.max()}, CIFAR-10 has 0 to 9")
    return pictures, labels


def load_cifar10(*, path: str | Path, limit: int | Limit | None = None) -> Samples:
    """CIFAR-10 from the folder of its original batches; the test batch is the source's own test set.

    Raises:
        DataError: On a folder without the batches, or a batch that is not what it should be.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    binary = (folder / f"{_TEST}.bin").exists()
    names = [name + ".bin" if binary else name for name in (*_TRAIN, _TEST)]
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise DataError(
            f"{folder}: no {missing[0]}; this source reads CIFAR-10's original batches, "
            "a zip or folder of pictures by class is read by the source 'pictures'"
        )
    batches = [(read_binary if binary else read_batch)(folder / name) for name in names]
    pictures = np.concatenate([part for part, _ in batches]).reshape(-1, 3, 1024).transpose(0, 2, 1)
    labels = np.concatenate([part for _, part in batches])
    return Samples(
        "cifar10",
        picture_grid(32, 32),
        torch.from_numpy(np.ascontiguousarray(pictures)),
        shape=(32, 32),
        table={"label": labels},
        test=np.arange(len(labels)) >= len(labels) - len(batches[-1][1]),
        classes=CLASSES,
    ).limited(limit)
