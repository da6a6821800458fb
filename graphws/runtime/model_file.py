"""Trained models on disk: safetensors with a JSON description in its header.

The file holds numbers and text only, and its own checksum; nothing in it is executed.  The description says which model
of which graph it is, so that weights of another architecture are refused by name and not by a shape deep inside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from graphws.errors import RunError
from graphws.runtime.files import checksum, write_bytes
from graphws.tensor_bytes import tensor_bytes

FORMAT = "graphws-model-1"


def save_model(path: Path, state: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write a model's state and its description, all or nothing.

    Raises:
        RunError: When the file cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    header = {"format": FORMAT, "description": json.dumps(dict(description))}
    write_bytes(path, tensor_bytes(tensors, {**header, "sha256": _seal(tensors, header)}))


def read_model(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A model's state and description.

    Raises:
        RunError: When the file is missing, damaged or not a model of graphws.
    """
    if not path.is_file():
        raise RunError(f"no checkpoint at {path}")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise RunError(f"{path} is not a graphws checkpoint: its format is {header.get('format')!r}")
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        description: dict[str, Any] = json.loads(header["description"])
        known = header.pop("sha256", None)  # older files have none
        if known is not None and known != _seal(state, header):
            raise ValueError("its checksum is another")
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise RunError(f"the checkpoint {path} is damaged: {error}; {_cure(path)}") from error
    return state, description


def _seal(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    """The checksum of the file without its checksum."""
    return checksum(tensor_bytes(tensors, header))


def _cure(path: Path) -> str:
    """What makes a model again: the run that it lies in, or else another training."""
    for folder in path.parents[:3]:
        if (folder / "run.json").is_file():
            return f"make it again with: graphws train {folder}"
    return "train again"


def load_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put a state into a model of the same architecture.

    Raises:
        RunError: When the tensors are those of another architecture; the first difference is named.
    """
    wanted = model.state_dict()
    hint = f"the checkpoint {path} is of another architecture"
    for name, tensor in wanted.items():
        if name not in state:
            raise RunError(f"{hint}: it has no {name!r}")
        if state[name].shape != tensor.shape:
            raise RunError(
                f"{hint}: {name!r} has shape {tuple(state[name].shape)}, the model needs {tuple(tensor.shape)}"
            )
    for name in state:
        if name not in wanted:
            raise RunError(f"{hint}: the model has no {name!r}")
    model.load_state_dict(dict(state))
