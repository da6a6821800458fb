"""TorchScript archives: programs, which run only where the user says so.

A TorchScript file is a zip archive of code.  Loading it already runs parts of that code, so it is not even opened
beyond its list of members unless `allow_code` is given; then it is traced by the recorder, which sees into it.
"""

from __future__ import annotations

from pathlib import Path

import torch

from graphws.checkpoints.conversion import Conversion, Hints
from graphws.checkpoints.formats import TORCHSCRIPT, format_of
from graphws.checkpoints.state_dict import LARGEST_FILE
from graphws.errors import DataError, UsageError
from graphws_converters.modules.conversion import convert_module


def is_torchscript(path: Path) -> bool:
    """Whether a file is an archive with code in it, by the names of its members alone, whatever it is called."""
    return path.is_file() and format_of(path) == TORCHSCRIPT


def convert_torchscript(path: Path, hints: Hints) -> Conversion:
    """The graph of a TorchScript program.

    Raises:
        UsageError: Where its code may not run, or example inputs are missing.
        DataError: Where it cannot be loaded.
    """
    if not hints.allow_code:
        raise UsageError(
            f"{path.name} is a TorchScript program, not a state dict: converting it runs its code; "
            "if you trust it, say so with allow_code=True"
        )
    if path.stat().st_size > LARGEST_FILE:
        raise DataError(f"{path}: {path.stat().st_size} bytes, at most {LARGEST_FILE} are read")
    if hints.example_inputs is None:
        raise UsageError(f"{path.name} does not show what its inputs look like: give example inputs")
    try:
        module = torch.jit.load(str(path), map_location="cpu")
    except Exception as error:  # its own code runs here
        text = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise DataError(f"{path}: TorchScript cannot load it: {text}") from None
    return convert_module(module, hints.example_inputs, generator=hints.random, front="recorder", hints=hints)
