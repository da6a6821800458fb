"""``--figure``: the typed graph as a drawing or as a page, for every command that has a graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".onnx", ".json", ".ts")
"""Endings of files that hold networks and graphs."""

if TYPE_CHECKING:
    from graphws.checkpoints.conversion import Conversion

FigureOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw the typed graph into this file: .png, .svg, or .html (interactive)."),
]


def check_figure(path: Path) -> None:
    """Refuses a file name that says no format before any work is done."""
    from graphws.report.graph.formats import check_picture_name

    check_picture_name(path)


GENERAL = ("model", "pytorch_model", "network", "weights", "checkpoint", "adapter_model", "state_dict", "graph")
"""Names of files that say nothing of the model in them; its folder's name does."""


def model_name(path: Path) -> str:
    """What the model in a file or folder is called.

    >>> model_name(Path("/nets/resnet18.safetensors")), model_name(Path("/nets/gpt2/model.safetensors"))
    ('resnet18', 'gpt2')
    """
    whole = path.absolute() if path.name else path.resolve()
    name = whole.stem if whole.suffix.lower() in SUFFIXES else whole.name
    return whole.parent.name or name if name in GENERAL and name != whole.name else name


def write_figure(found: Conversion, path: Path, title: str) -> None:
    """Writes the picture, all of it or nothing."""
    from graphws.report.graph.formats import graph_picture
    from graphws.runtime.files import write_bytes

    write_bytes(path, graph_picture(found, path, title))
