"""State dicts that a zoo can hold, from files that are not trusted.

Files are read by `graphws.checkpoints.state_dict`; a zoo asks for more: every tensor of one of its types, every number
finite, and layers in order.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from graphws.checkpoints.state_dict import read_state_dict
from graphws.errors import DataError, ZooError
from graphws.zoo.shards import FLOATS

MAX_BYTES = 1 << 30
"""A checkpoint that is larger is refused."""


def read_state(path: Path) -> dict[str, Tensor]:
    """The floating-point state dict in a checkpoint, on the CPU.

    Raises:
        ZooError: On what `read_state_dict` refuses, and where tensors are not of a type that zoos hold or not finite.
    """
    try:
        state = read_state_dict(path, MAX_BYTES)
    except DataError as error:
        raise ZooError(str(error)) from error
    for name, tensor in state.items():
        if tensor.dtype not in FLOATS.values():
            raise ZooError(
                f"{path}: {name!r} is of type {str(tensor.dtype).removeprefix('torch.')}; weights are floats"
            )
        if not bool(tensor.isfinite().all()):
            raise ZooError(f"{path}: {name!r} holds NaN or inf")
    if path.suffix == ".safetensors":
        return {name: state[name] for name in sorted(state, key=natural)}
    return state


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts layer 10 behind layer 2: safetensors files forget the order of their tensors."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
