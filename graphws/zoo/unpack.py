"""Networks of a zoo as state dicts again, bit for bit."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from graphws.errors import ZooError
from graphws.files import sweep, write_error
from graphws.zoo.files import write_whole
from graphws.zoo.store import Zoo

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def unpack(
    zoo: Zoo, out: str | Path, index: Iterable[int] | None = None, *, suffix: str = ".safetensors"
) -> list[Path]:
    """Writes networks of a zoo as state dicts, each under its original name where it has one.

    What an earlier call has written already stays.

    Args:
        zoo: The zoo.
        out: A folder; made where it is missing.
        index: Which networks; all where None.
        suffix: ``.safetensors`` or ``.pt``.

    Returns:
        list[Path]: The files, in the order of `index`.

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
    for number in numbers:
        weights, row = zoo[number]
        stem = Path(str(row.get("file", ""))).stem
        if not _SAFE.fullmatch(stem):  # the table is no more to be trusted than any other file
            stem = f"network-{number:06d}"
        file = out / (stem + suffix)
        data = ENCODERS[suffix](weights.to_state_dict())
        if not file.exists():
            write_whole(file, [data])
        elif not file.is_file() or file.stat().st_size != len(data) or file.read_bytes() != data:
            raise ZooError(f"{file}: exists already, and is another; unpack into an empty folder")
        files.append(file)
    return files


def _safetensors(state: dict[str, Tensor]) -> bytes:
    return bytes(save(state))


def _pickled(state: dict[str, Tensor]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


ENCODERS: dict[str, Callable[[dict[str, Tensor]], bytes]] = {".safetensors": _safetensors, ".pt": _pickled}
"""State dicts as bytes, by the suffix of the file."""
