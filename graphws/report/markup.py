"""Text in pages: what comes from files is text there, never markup or control."""

from __future__ import annotations

from html import escape

from graphws.printable import printable


def markup(text: str) -> str:
    """A text for HTML and SVG."""
    return escape(printable(text, lines=True))
