"""What to say of a source that no converter takes: what it is, and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from graphws.checkpoints.formats import listing
from graphws.graph.network import NetworkGraph
from graphws.graph.weights import Weights

FILES = (
    "checkpoints of PyTorch and Lightning, .safetensors, .npz, GGUF, .onnx and the folders of Hugging Face's "
    "save_pretrained"
)
"""What is read, in words."""


def unknown_source(source: object) -> str:
    """One sentence: what the source is, and what to give instead."""
    if isinstance(source, str | Path):
        return _path(Path(source))
    if isinstance(source, Mapping):
        return _mapping(source)
    if isinstance(source, type):
        return f"{source.__name__} is a class, no network: make one and give that, as in {source.__name__}(...)"
    if isinstance(source, NetworkGraph | Weights):
        return f"a {type(source).__name__} is graphws's own already: nothing is left to convert"
    if isinstance(source, Tensor | np.ndarray):
        return "an array alone is no network: give the nn.Module that it belongs to, or its state dict"
    if isinstance(source, list | tuple) and any(isinstance(each, nn.Module) for each in source):
        return f"a {type(source).__name__} of modules says nothing of their order: give nn.Sequential(*modules)"
    if callable(source) and not isinstance(source, nn.Module):
        return "a function does not show its parameters: give the nn.Module that it runs"
    kind = type(source)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__.split('.')[0]}'s {kind.__name__}"
    return (
        f"an object of type {name} is no network that graphws knows: give an nn.Module, a state dict or a path; "
        "networks of other libraries come as .onnx files"
    )


def _path(path: Path) -> str:
    if not path.name:
        return "the path is empty: name a file or a folder"
    if path.is_dir():
        return (
            f"the folder {path.name!r} is no model: it holds {listing(path)}; a model's has a config.json beside its "
            "weights, and `graphws zoo pack` reads a folder of many networks"
        )
    if not path.exists():
        return (
            f"{path}: no such file or folder; a model of the Hub has to be downloaded first, as in "
            "hf download NAME --local-dir FOLDER"
        )
    return f"{path.name!r} is no network: {_begins(path)}; graphws reads {FILES}"


def _begins(path: Path) -> str:
    """What a file looks like."""
    with path.open("rb") as file:
        first = file.read(512)
    if not first:
        return "the file is empty"
    try:
        text = first.decode()
    except UnicodeDecodeError as error:
        text = first[: error.start].decode() if error.start > len(first) - 4 else "\0"  # cut within a character
    if text.isprintable() or all(part.isprintable() for part in text.split()):
        return "it is a text"
    return f"it begins with the bytes {first[:4].hex(' ')}, which no format of networks has"


def _mapping(source: Mapping[object, object]) -> str:
    if not source:
        return "the mapping is empty: a state dict maps names to tensors"
    module = next((key for key, value in source.items() if isinstance(value, nn.Module)), None)
    if module is not None:
        return f"a mapping that holds a module is no state dict: give the module itself, source[{module!r}]"
    key, value = next((key, value) for key, value in source.items() if not isinstance(value, Tensor))
    return f"a state dict maps names to tensors, but {key!r} to an object of type {type(value).__name__}"
