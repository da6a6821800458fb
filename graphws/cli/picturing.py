"""``--figure``: the typed graph as a drawing or as a page, for every command that has a graph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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


def write_figure(found: Conversion, path: Path, title: str) -> None:
    """Writes the picture, all of it or nothing."""
    from graphws.report.graph.formats import graph_picture
    from graphws.runtime.files import write_bytes

    write_bytes(path, graph_picture(found, path, title))
