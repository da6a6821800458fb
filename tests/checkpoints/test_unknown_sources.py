from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from graphws import Weights, convert, mlp_graph
from graphws.checkpoints.unknown_sources import FILES
from graphws.errors import UsageError

GRAPH = mlp_graph([2, 3, 1])
NO_NETWORK = (
    "is no network that graphws knows: give an nn.Module, a state dict or a path; networks of other libraries come as "
    ".onnx files"
)
ARRAY = "an array alone is no network: give the nn.Module that it belongs to, or its state dict"

OBJECTS: list[tuple[Any, str]] = [
    (nn.Linear, "Linear is a class, no network: make one and give that, as in Linear(...)"),
    (nn.Linear(2, 2).forward, "a function does not show its parameters: give the nn.Module that it runs"),
    (torch.zeros(3), ARRAY),
    (torch.zeros(3).numpy(), ARRAY),
    ({}, "the mapping is empty: a state dict maps names to tensors"),
    ({"a": 1}, "a state dict maps names to tensors, but 'a' to an object of type int"),
    (
        {"model": nn.Linear(2, 2)},
        "a mapping that holds a module is no state dict: give the module itself, source['model']",
    ),
    ([nn.Linear(2, 2)], "a list of modules says nothing of their order: give nn.Sequential(*modules)"),
    (GRAPH, "a NetworkGraph is graphws's own already: nothing is left to convert"),
    (
        Weights.unflatten(GRAPH, torch.zeros(1, GRAPH.numel)),
        "a Weights is graphws's own already: nothing is left to convert",
    ),
    (5, f"an object of type int {NO_NETWORK}"),
    (torch.optim.SGD([torch.zeros(1)]), f"an object of type torch's SGD {NO_NETWORK}"),
    ("", "the path is empty: name a file or a folder"),
    (
        "bert-base-uncased",
        "bert-base-uncased: no such file or folder; a model of the Hub has to be downloaded first, as in "
        "hf download NAME --local-dir FOLDER",
    ),
]


@pytest.mark.parametrize(("source", "text"), OBJECTS)
def test_objects_are_called_what_they_are(source: Any, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        convert(source)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("notes.txt", b"hello\n", "it is a text"),
        ("words.txt", ("a" + "é" * 300).encode(), "it is a text"),
        (
            "picture.jpg",
            b"\xff\xd8\xff\xe0abc",
            "it begins with the bytes ff d8 ff e0, which no format of networks has",
        ),
        ("nothing.xyz", b"", "the file is empty"),
    ],
)
def test_files_are_called_what_they_look_like(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError) as caught:
        convert(tmp_path / name)
    assert str(caught.value) == f"{name!r} is no network: {what}; graphws reads {FILES}"


def test_folders_are_called_what_they_hold(tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    with pytest.raises(UsageError) as caught:
        convert(tmp_path / "nets")
    assert str(caught.value) == (
        "the folder 'nets' is no model: it holds nothing; a model's has a config.json beside its weights, and "
        "`graphws zoo pack` reads a folder of many networks"
    )
