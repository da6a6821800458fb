"""Networks of a zoo as state dicts again, bit for bit, with a table of labels that `graphws.zoo.pack` reads back."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from graphws.errors import ZooError
from graphws.files import sweep, write_error
from graphws.reporter import Reporter
from graphws.zoo.files import read_bounded, write_whole
from graphws.zoo.labels import LABELS, LARGEST, labels_csv
from graphws.zoo.store import Zoo

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def unpack(
    zoo: Zoo,
    out: str | Path,
    index: Iterable[int] | None = None,
    *,
    suffix: str = ".safetensors",
    reporter: Reporter | None = None,
) -> list[Path]:
    """Writes networks of a zoo as state dicts, each under its original name where it has one of its own.

    ``labels.csv`` beside them has a row for each network of the zoo that lies in the folder, with all columns of the
    table.  What an earlier call has written already stays.

    Args:
        zoo: The zoo.
        out: A folder; made where it is missing.
        index: Which networks; all where None.
        suffix: ``.safetensors`` or ``.pt``.
        reporter: Hears how many networks are written.

    Returns:
        list[Path]: The files of the networks, in the order of `index`.

    Raises:
        ZooError: On another suffix, an index outside of the zoo, a file that is there and is another, a full disk.
    """
    if suffix not in ENCODERS:
        raise ZooError(f"state dicts are written as {' or '.join(ENCODERS)}, not as {suffix!r}")
    out = Path(out)
    numbers = range(len(zoo)) if index is None else [int(k) for k in index]
    files = []
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(out, error, ZooError) from error
    sweep(out)
    names = [stem + suffix for stem in _stems(zoo)]
    labels = labels_csv(names, zoo.table)
    _same_labels(out / LABELS, labels)
    with (reporter or Reporter()).work(f"unpacking into {out.name}", len(numbers), "networks") as progress:
        for number in numbers:
            weights, _ = zoo[number]
            file = out / names[number]
            data = ENCODERS[suffix](weights.to_state_dict())
            if not file.exists():
                write_whole(file, [data])
            elif not file.is_file() or file.stat().st_size != len(data) or file.read_bytes() != data:
                raise ZooError(f"{file}: exists already, and is another; unpack into an empty folder")
            files.append(file)
            progress.advance()
    there = [k for k, name in enumerate(names) if (out / name).is_file()]
    rows = {column: values[there] for column, values in zoo.table.items()}
    write_whole(out / LABELS, [labels_csv([names[k] for k in there], rows)])
    return files


def _stems(zoo: Zoo) -> list[str]:
    """What the networks' files are called: never the same, whichever of them are written."""
    numbered = [f"network-{number:06d}" for number in range(len(zoo))]
    if "file" not in zoo.table:
        return numbered
    stems = [Path(str(file)).stem for file in zoo.table["file"]]
    met = Counter(stem.lower() for stem in stems)  # some file systems do not tell cases apart
    # the table is no more to be trusted than any other file
    without = {k for k, stem in enumerate(stems) if not _SAFE.fullmatch(stem) or met[stem.lower()] > 1}
    while taken := {numbered[k] for k in without}:
        more = {k for k, stem in enumerate(stems) if k not in without and stem.lower() in taken}
        if not more:
            break
        without |= more
    return [numbered[k] if k in without else stem for k, stem in enumerate(stems)]


def _same_labels(path: Path, labels: bytes) -> None:
    """`ZooError` where labels are there with a row that this zoo has not."""
    if not path.exists():
        return
    try:
        here = csv.reader(io.StringIO(read_bounded(path, LARGEST).decode()), strict=True)
        same = {*map(tuple, here)} <= {*map(tuple, csv.reader(io.StringIO(labels.decode())))}
    except (UnicodeDecodeError, csv.Error):
        same = False
    if not same:
        raise ZooError(f"{path}: exists already, and is another; unpack into an empty folder")


def _safetensors(state: dict[str, Tensor]) -> bytes:
    return bytes(save(state))


def _pickled(state: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


ENCODERS: dict[str, Callable[[dict[str, Tensor]], bytes]] = {".safetensors": _safetensors, ".pt": _pickled}
"""State dicts as bytes, by the suffix of the file."""
