"""The picture of a graph as a file, in the format that the file's name says."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG

from graphws.checkpoints.conversion import Conversion
from graphws.errors import UsageError, nearest
from graphws.graph import NetworkGraph
from graphws.report.figures import png
from graphws.report.graph.figure import draw_graph
from graphws.report.graph.page import graph_page
from graphws.report.plain_figures import settle_texts

SUFFIXES = (".png", ".svg", ".html")


def check_picture_name(path: Path) -> None:
    """Refuses a name that says no format; cheap, so that it can come before long work.

    Raises:
        UsageError: Where the suffix is none of `SUFFIXES`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(
            f"{path}: the name of a picture ends in .png, .svg or .html (interactive), not in {path.suffix!r}"
            + nearest(path.suffix.lower(), SUFFIXES)
        )


def graph_picture(source: Conversion | NetworkGraph, path: Path, title: str = "") -> bytes:
    """The content of a picture file; the same source gives the same bytes.

    Args:
        source: A converted network, or a graph alone.
        path: What the file is called; its suffix decides: a drawing (``.png``, ``.svg``) or a page (``.html``).
        title: Of the page.

    Raises:
        UsageError: Where the suffix is another.
    """
    check_picture_name(path)
    suffix = path.suffix.lower()
    if suffix == ".html":
        return graph_page(source, title).encode()
    figure = draw_graph(source.graph if isinstance(source, Conversion) else source)
    if suffix == ".png":
        return png(figure)
    buffer = io.BytesIO()
    FigureCanvasSVG(figure)
    settle_texts(figure)
    with matplotlib.rc_context({"svg.hashsalt": "graphws", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
