"""Pictures and pages: what a person looks at after a run.

Nothing here computes results; it is given numbers and draws them, on figures of its own and without a network.
"""

from __future__ import annotations

from graphws.report.embeddings import embeddings_by_target
from graphws.report.figures import (
    answered_pictures,
    changed_pictures,
    confusion_matrix,
    curves,
    png,
    predicted_against_true,
    stored,
)
from graphws.report.network_figures import before_and_after, kept_shares, picture_rows
from graphws.report.page import Link, Page, Picture, Table, html
from graphws.report.score_bars import scores
from graphws.report.svg import drawn
from graphws.report.sweep_figure import sweep_curve

__all__ = [
    "Link",
    "Page",
    "Picture",
    "Table",
    "answered_pictures",
    "before_and_after",
    "changed_pictures",
    "confusion_matrix",
    "curves",
    "drawn",
    "embeddings_by_target",
    "html",
    "kept_shares",
    "picture_rows",
    "png",
    "predicted_against_true",
    "scores",
    "stored",
    "sweep_curve",
]
