"""Example inputs in words or from a file: what ``--inputs`` takes.

In words, inputs are separated by commas, each ``[name=]SHAPE[:dtype][<bound]``: ``1x3x32x32`` is one input of random
numbers, ``input_ids=2x16:int64<1000,mask=2x16:bool`` two by name; ``rate=@16000`` is that number itself.

A file is ``.safetensors`` or ``.npz`` (by name) or
``.npy`` (one array); arrays of Python objects, which would run code, are refused.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from graphws.checkpoints.state_dict import read_state_dict
from graphws.errors import DataError, UsageError, nearest

FILES = (".safetensors", ".npz", ".npy")
LARGEST = 1 << 30
"""Most numbers that an input may have, and bytes that a file of inputs may."""
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool
    )
}  # fmt: skip
_ONE = re.compile(
    r"(?:(?P<name>[^=,]+)=)?(?:@(?P<value>-?\d{1,15}(?:\.\d{1,15})?)|(?P<shape>\d{1,12}(?:x\d{1,12})*))"
    r"(?::(?P<dtype>\w+))?(?:<(?P<bound>\d{1,15}))?"
)

Inputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]


def example_inputs(text: str, generator: torch.Generator) -> Inputs:
    """The inputs that a text describes, or that the file it names holds.

    Args:
        text: See above.
        generator: Source of the random numbers.

    Raises:
        UsageError: Where the text describes no inputs.
        DataError: Where the file cannot be read.
    """
    if Path(text).suffix in FILES:
        return _from_file(Path(text))
    names, tensors = [], []
    for part in text.split(","):
        match = _ONE.fullmatch(part.strip())
        if match is None:
            raise UsageError(
                f"inputs {part.strip()[:80]!r}: write [name=]SHAPE[:dtype][<bound], as in ids=2x16:int64<1000"
            )
        names.append(match["name"])
        tensors.append(_random(match, generator))
    if all(names):
        return dict(zip(names, tensors, strict=True))
    if any(names):
        raise UsageError(f"inputs {text[:80]!r}: name all of them or none")
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


def example_outputs(file: str, inputs: str | None) -> Tensor:
    """The one array in a file of what a network computes.

    Args:
        file: The file, of the same kinds as those of inputs.
        inputs: The text of the inputs: outputs belong to numbers that are known, so it must name a file too.

    Raises:
        UsageError: Where one of them is no file, or the file holds several arrays.
        DataError: Where it cannot be read.
    """
    if inputs is None or Path(inputs).suffix not in FILES:
        raise UsageError(f"outputs belong to inputs that are known: give --inputs a file too ({', '.join(FILES)})")
    if Path(file).suffix not in FILES:
        raise UsageError(f"outputs {file[:80]!r}: name a file of arrays ({', '.join(FILES)})")
    found = _from_file(Path(file))
    held = [found] if isinstance(found, Tensor) else list(found.values()) if isinstance(found, dict) else list(found)
    if len(held) != 1:
        raise UsageError(f"outputs {file[:80]!r}: one array is expected, the file holds {len(held)}")
    return held[0]


def _random(match: re.Match[str], generator: torch.Generator) -> Tensor:
    name = match["dtype"] or ("int64" if match["bound"] else "float32")
    if name not in _DTYPES:
        raise UsageError(f"inputs: unknown dtype {name!r}; known: {', '.join(_DTYPES)}" + nearest(name, _DTYPES))
    dtype = _DTYPES[name]
    if match["value"]:
        number = float(match["value"]) if "." in match["value"] else int(match["value"])
        return torch.tensor(number, dtype=dtype if match["dtype"] else None)
    shape = torch.Size(map(int, match["shape"].split("x")))
    if shape.numel() > LARGEST:
        raise UsageError(f"inputs: {match['shape']} has more than 2^30 numbers")
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    bound = 2 if dtype == torch.bool else int(match["bound"] or 2)
    if bound < 1:
        raise UsageError("inputs: whole numbers below 0 cannot be drawn; write <bound of at least 1")
    return torch.randint(0, bound, shape, generator=generator).to(dtype)


def _from_file(file: Path) -> Inputs:
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    if file.suffix == ".safetensors":
        return read_state_dict(file, LARGEST)
    if file.stat().st_size > LARGEST:
        raise DataError(f"{file}: {file.stat().st_size} bytes, at most {LARGEST} are read")
    try:
        if file.suffix == ".npz":
            with zipfile.ZipFile(file) as archive:
                if sum(member.file_size for member in archive.infolist()) > LARGEST:
                    raise DataError(f"{file}: its arrays have more than {LARGEST} bytes")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the header
            loaded: Any = np.load(file, allow_pickle=False)
            if file.suffix == ".npy":
                return torch.from_numpy(np.array(loaded))
            return {name: torch.from_numpy(np.array(loaded[name])) for name in loaded.files}
    except DataError:
        raise
    except Exception as error:  # NumPy evaluates the header of an array, and archives are crooked in many ways
        text = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise DataError(f"{file}: not a file of arrays: {text}") from None
