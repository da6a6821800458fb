"""IDX files, the format of MNIST and Fashion-MNIST, plain or gzipped.

Layout (big endian): two zero bytes, one type byte (8: unsigned bytes, the only type read here), one byte with the
number of axes, one unsigned 32-bit length an axis, then the data row-major.  Nothing in a file is trusted: sizes are
checked against each other and against a cap before anything of their size is allocated.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch

from graphws.errors import DataError
from graphws.zoo.sources.limit import Limit
from graphws.zoo.sources.samples import Samples, picture_grid

MAX_BYTES = 2 << 30
"""A file that holds or unpacks to more is refused."""


def read_idx(path: str | Path, *, axes: int | None = None) -> np.ndarray:
    """The array in an IDX file.

    Args:
        path: Plain or gzipped, told apart by content.
        axes: How many axes the array must have, if that is known.

    Raises:
        DataError: On a missing file, anything that is not IDX of unsigned bytes, or a size that does not fit.
    """
    path = Path(path)
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0":
                raise DataError(f"{path}: not an IDX file (it starts with {head.hex(' ') or 'nothing'})")
            if head[2] != 8:
                raise DataError(f"{path}: IDX of type 0x{head[2]:02x}; only unsigned bytes (0x08) are read")
            if (axes is not None and head[3] != axes) or not 1 <= head[3] <= 4:
                raise DataError(f"{path}: an array of {head[3]} axes, needed {axes or '1 to 4'}")
            lengths = file.read(4 * head[3])
            if len(lengths) < 4 * head[3]:
                raise DataError(f"{path}: cut off inside its header")
            shape = struct.unpack(f">{head[3]}I", lengths)
            size, form = math.prod(shape), "x".join(map(str, shape))
            if size > MAX_BYTES:
                raise DataError(f"{path}: claims {size} bytes ({form}), at most {MAX_BYTES} are read")
            data = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DataError(f"{path}: cannot be read: {reason}") from error
    if len(data) != size:
        more = "more" if len(data) > size else f"only {len(data)}"
        raise DataError(f"{path}: its header promises {size} bytes ({form}), it holds {more}")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def load_idx(
    *,
    train_images: str | Path,
    train_labels: str | Path,
    test_images: str | Path | None = None,
    test_labels: str | Path | None = None,
    limit: int | Limit | None = None,
) -> Samples:
    """Pictures and labels from IDX files; the test files, where given, are the source's own test set.

    Raises:
        DataError: On unreadable files, on pictures and labels of different number, on test pictures of another size.
    """
    if (test_images is None) != (test_labels is None):
        raise DataError("source 'idx': test_images and test_labels go together; give both or neither")
    pairs = [(train_images, train_labels)]
    if test_images is not None and test_labels is not None:
        pairs.append((test_images, test_labels))
    images, labels = [], []
    for image_path, label_path in pairs:
        images.append(read_idx(image_path, axes=3))
        labels.append(read_idx(label_path, axes=1))
        if len(images[-1]) != len(labels[-1]):
            raise DataError(f"{image_path} holds {len(images[-1])} pictures, {label_path} {len(labels[-1])} labels")
        if images[-1].shape[1:] != images[0].shape[1:]:
            raise DataError(
                f"{image_path}: pictures of {'x'.join(map(str, images[-1].shape[1:]))}, "
                f"those of {train_images} have {'x'.join(map(str, images[0].shape[1:]))}"
            )
    rows, columns = images[0].shape[1:]
    if not rows * columns:
        raise DataError(f"{train_images}: pictures without pixels")
    values = torch.from_numpy(np.concatenate(images)).flatten(1).unsqueeze(2)
    test = np.concatenate([np.full(len(part), k == 1) for k, part in enumerate(labels)])
    return Samples(
        "idx",
        picture_grid(rows, columns),
        values,
        shape=(rows, columns),
        table={"label": np.concatenate(labels).astype(np.int64)},
        test=test if len(pairs) > 1 else None,
    ).limited(limit)
