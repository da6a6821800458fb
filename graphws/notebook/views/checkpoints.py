"""Conversions: whether they were verified, what the converter noticed, and the graph."""

from __future__ import annotations

from graphws.checkpoints import Conversion
from graphws.notebook.html import folded, line
from graphws.notebook.views import view
from graphws.notebook.views.graph import graph_html

NOTES = 20
"""Notes that are shown."""


@view(Conversion)
def conversion_html(found: Conversion) -> str:
    """The verdict, what else was tried, notes under a fold, the graph."""
    said = [line(text) for text in (found.counting, found.running, found.story) if text]
    notes = [line(note) for note in found.notes[:NOTES]]
    more = [line(f"and {len(found.notes) - NOTES:,} more")] if len(found.notes) > NOTES else []
    fold = [folded(f"notes: {len(found.notes):,}", *notes, *more)] if notes else []
    return "".join([line(found.verdict, strong=True), *said, *fold, graph_html(found.graph)])
