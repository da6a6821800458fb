"""Folders of files that are a network each: state dicts, ONNX files, converted networks, Hugging Face, PEFT."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from graphws.checkpoints.network_file import is_network_file
from graphws.checkpoints.state_dict import SUFFIXES
from graphws.errors import ZooError
from graphws.zoo.collecting.attributes import DEFAULT
from graphws.zoo.collecting.entry import Collected, Entry, Source
from graphws.zoo.collecting.folders import files_below, files_in, folders_in, name_of
from graphws.zoo.collecting.layout import Choices, Layout
from graphws.zoo.collecting.sources import ConvertedNetwork, ForeignNetwork, StateFile

ADAPTER = "adapter_config.json"
CONFIG = "config.json"


def checkpoints(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The files of these kinds in a folder; where it has none, those below it."""
    here = [file for file in files_in(folder) if file.suffix in suffixes]
    return here or [file for file in files_below(folder) if file.suffix in suffixes]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise ZooError(f"{path}: cannot be read: {error.strerror}") from error


def _collect(folder: Path, paths: Iterable[Path], make: Callable[[Path], Source], kind: str) -> Collected:
    entries = [Entry(name_of(path, folder), make(path)) for path in paths]
    if not entries:
        raise ZooError(f"{folder}: no {kind} in it")
    return Collected(entries)


def _state_dicts(folder: Path, choices: Choices) -> Collected:
    kind = f"checkpoints in it ({', '.join(SUFFIXES)})"
    paths = checkpoints(folder, SUFFIXES)
    if not paths:
        raise ZooError(f"{folder}: no {kind}")
    return _collect(folder, paths, lambda path: StateFile(path, _size(path)), kind)


def _onnx(folder: Path, choices: Choices) -> Collected:
    return _collect(
        folder, checkpoints(folder, (".onnx",)), lambda path: ForeignNetwork(path, _size(path)), "ONNX files"
    )


def _networks(folder: Path, choices: Choices) -> Collected:
    paths = checkpoints(folder, (".safetensors",))
    return _collect(folder, paths, lambda path: ConvertedNetwork(path, _size(path)), "converted networks")


def _folders(folder: Path, mark: str) -> list[Path]:
    """The folders in a folder, or in those, that have a file of this name."""
    found = []
    for place in folders_in(folder):
        if (place / mark).is_file():
            found.append(place)
        else:
            found += [inner for inner in folders_in(place) if (inner / mark).is_file()]
    return found


def _folder_source(path: Path) -> ForeignNetwork:
    return ForeignNetwork(path, sum(_size(file) for file in files_in(path)))


def _hugging_face(folder: Path, choices: Choices) -> Collected:
    return _collect(folder, _folders(folder, CONFIG), _folder_source, f"folders with a {CONFIG}")


def _adapters(folder: Path, choices: Choices) -> Collected:
    return _collect(folder, _folders(folder, ADAPTER), _folder_source, f"folders with an {ADAPTER}")


def _has_networks(folder: Path) -> bool:
    """Whether the first safetensors file, and so all of them, is a converted network."""
    found = checkpoints(folder, SUFFIXES)
    return bool(found) and is_network_file(found[0])


def _has(suffix: str) -> Callable[[Path], bool]:
    return lambda folder: any(file.suffix == suffix for file in files_in(folder))


STATE_DICTS = Layout(
    "state-dicts",
    "a state dict a file, of MLPs or of what --like says",
    lambda folder: bool(checkpoints(folder, SUFFIXES)),
    _state_dicts,
    activation=DEFAULT,
)
ONNX = Layout("onnx", "an ONNX file a network", _has(".onnx"), _onnx)
NETWORKS = Layout("converted", "a file of `graphws convert -o` a network", _has_networks, _networks)
HUGGING_FACE = Layout(
    "huggingface",
    "a folder with config.json and weights a network",
    lambda folder: bool(_folders(folder, CONFIG)),
    _hugging_face,
)
ADAPTERS = Layout(
    "peft",
    "a folder with adapter_config.json and adapter_model.safetensors a network (LoRA and others)",
    lambda folder: bool(_folders(folder, ADAPTER)),
    _adapters,
)
