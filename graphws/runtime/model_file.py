"""Trained models on disk: safetensors with a JSON description in its header.

The file holds numbers and text only, and its own checksum; nothing in it is executed.  The description says which model
of which graph it is, so that weights of another architecture are refused by name and not by a shape deep inside.

The model that a run keeps (``models/NAME.safetensors``) holds besides what its answers need (`Kept`): wherever it is
moved to, `graphws.load_model` answers as the run does.  Models of single trainings, and of older versions, lack it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from graphws.errors import RunError
from graphws.runtime.files import checksum, write_bytes
from graphws.tensor_bytes import tensor_bytes

FORMAT_1, FORMAT = "graphws-model-1", "graphws-model-2"
"""Without and with what answers need."""
KEPT = "graphws.prepared/"
"""What stands before the names of tensors that are no part of the model's state."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What the answers of a model need besides its state; `graphws.runtime.trained_model` reads it.

    Attributes:
        spec: What the spec of the run says of the model, as YAML.
        facts: As `graphws.runtime.prepared_file.packed` gives them.
        tensors: Likewise.
    """

    spec: str
    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def save_model(
    path: Path, state: Mapping[str, Tensor], description: Mapping[str, Any], kept: Kept | None = None
) -> None:
    """Write a model's state, its description and what its answers need, all or nothing.

    Raises:
        RunError: When the file cannot be written.
    """
    header = {"format": FORMAT_1, "description": json.dumps(dict(description))}
    found = dict(state)
    if kept is not None:
        header |= {"format": FORMAT, "spec": kept.spec, "prepared": json.dumps(dict(kept.facts))}
        found |= {KEPT + name: tensor for name, tensor in kept.tensors.items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}
    write_bytes(path, tensor_bytes(tensors, {**header, "sha256": _seal(tensors, header)}))


def read_model(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A model's state and description.

    Raises:
        RunError: When the file is missing, damaged or not a model of graphws.
    """
    state, description, _ = read_whole_model(path)
    return state, description


def read_whole_model(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], Kept | None]:
    """A model's state and description, and what its answers need where the file holds it.

    Raises:
        RunError: As `read_model`.
    """
    if not path.is_file():
        raise RunError(f"no checkpoint at {path}")
    kept = None
    try:
        with safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") not in (FORMAT_1, FORMAT):
                raise RunError(f"{path} is not a graphws checkpoint: its format is {header.get('format')!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        description: dict[str, Any] = json.loads(header["description"])
        known = header.pop("sha256", None)  # older files have none
        if known is not None and known != _seal(tensors, header):
            raise ValueError("its checksum is another")
        if header["format"] == FORMAT:
            besides = {name.removeprefix(KEPT): x for name, x in tensors.items() if name.startswith(KEPT)}
            kept = Kept(header["spec"], json.loads(header["prepared"]), besides)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError, RecursionError) as error:
        raise RunError(f"the checkpoint {path} is damaged: {error}; {cure(path)}") from error
    return {name: x for name, x in tensors.items() if not name.startswith(KEPT)}, description, kept


def is_model_file(path: Path) -> bool:
    """Whether a file is a trained model (a cheap look at its header)."""
    try:
        with safe_open(str(path), framework="pt") as file:
            return (file.metadata() or {}).get("format") in (FORMAT_1, FORMAT)
    except (SafetensorError, OSError, ValueError, RuntimeError):
        return False


def _seal(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> str:
    """The checksum of the file without its checksum."""
    return checksum(tensor_bytes(tensors, header))


def run_around(path: Path) -> Path | None:
    """The folder of the run that a model's file lies in; None where it lies in none."""
    return next((folder for folder in path.parents[:3] if (folder / "run.json").is_file()), None)


def cure(path: Path) -> str:
    """What makes a model again: the run that it lies in, or else another training."""
    folder = run_around(path)
    return "train again" if folder is None else f"make it again with: graphws train {folder}"


def load_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Put a state into a model of the same architecture.

    Raises:
        RunError: When the tensors are those of another architecture; the first difference is named.
    """
    check_state(model, state, path)
    model.load_state_dict(dict(state))


def check_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Whether a state is one of a model, which may lie on the meta device; `RunError` as in `load_state`."""
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
