"""A figure as an SVG that follows its reader's theme.

It stands in a page as an image, so nothing in it can run or reach outside, whatever names it holds; texts are outlines,
so that they are as wide as they were laid out.  Colours of `graphws.report.theme` become variables, matplotlib's black
becomes the ink of the theme, and all other colours stay.  Clouds of many points are pixels.
"""

from __future__ import annotations

import io
import re

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from graphws.report.page import INCH, Picture
from graphws.report.plain_figures import settle_texts
from graphws.report.theme import figure_colours, picture_colours

MANY = 400
"""More points than that in one series are pixels: a file grows with each."""
DPI = 150
_PAINT = re.compile(r"\b(fill|stroke|stop-color): (#[0-9a-f]{6})\b")
_START = re.compile(r"<svg\b[^>]*>")


def svg(figure: Figure) -> str:
    """The figure as one SVG document; the same figure gives the same text."""
    for artist in figure.findobj():
        if isinstance(artist, Line2D) and artist.get_linestyle() == "None" and np.shape(artist.get_xydata())[0] > MANY:
            artist.set_rasterized(True)
        if isinstance(artist, PathCollection) and np.shape(artist.get_offsets())[0] > MANY:
            artist.set_rasterized(True)
    buffer = io.BytesIO()
    FigureCanvasSVG(figure)
    settle_texts(figure)
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context({"svg.hashsalt": "graphws", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", dpi=DPI, transparent=True, metadata=nothing)
    text = buffer.getvalue().decode()
    themed = {shade.light: f"var(--{name})" for name, shade in figure_colours().items()} | {"#000000": "var(--ink)"}
    text = _PAINT.sub(lambda match: f"{match[1]}: {themed.get(match[2], match[2])}", text)
    start = _START.search(text)
    assert start is not None, "an SVG begins with its element"
    return f"{text[start.start() : start.end()]}<style>{picture_colours()}</style>{text[start.end() :]}"


def drawn(caption: str, figure: Figure) -> Picture:
    """A figure as a picture of a page."""
    return Picture(caption, svg(figure).encode(), "image/svg+xml", round(figure.get_figwidth() * INCH))
