"""Parts of what a notebook shows: lines, tables, pictures and folds, escaped and bounded.

Pictures are images and no markup, so that what two of them call their parts never meets.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

from matplotlib.figure import Figure

from graphws.printable import printable
from graphws.report import Picture, Table, png
from graphws.report.markup import markup
from graphws.report.page import picture_html, table_html

ROWS, CELL, LINE = 40, 200, 1_000
"""Rows of a table, characters of a cell, and of a line."""


def line(text: str, *, strong: bool = False) -> str:
    """A line of text."""
    shown = markup(printable(text, most=LINE))
    return f"<div><b>{shown}</b></div>" if strong else f"<div>{shown}</div>"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: its first `ROWS` rows, and how many more there are."""
    shown = [[printable(cell, most=CELL) for cell in row] for row in rows[:ROWS]]
    more = line(f"and {len(rows) - ROWS:,} more rows") if len(rows) > ROWS else ""
    return table_html(Table([printable(column, most=CELL) for column in columns], shown)) + more


def folded(summary: str, *parts: str) -> str:
    """Parts under a heading that opens them."""
    return f"<details><summary>{markup(printable(summary, most=CELL))}</summary>{''.join(parts)}</details>"


def figure(caption: str, drawn: Figure) -> str:
    """A figure with its caption."""
    return png_file(caption, png(drawn, dpi=90))


def png_file(caption: str, content: bytes) -> str:
    """A PNG with its caption."""
    return picture_html(Picture(printable(caption, most=LINE), content))


def drawing(alternative: str, svg: bytes) -> str:
    """An SVG as an image on white, as wide as the page at most; `alternative` is its text."""
    data = base64.b64encode(svg).decode()
    words, style = markup(printable(alternative, most=LINE)), "max-width:100%;height:auto;background:#fff"
    return f'<img alt="{words}" style="{style}" src="data:image/svg+xml;base64,{data}">'
