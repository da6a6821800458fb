"""Pictures and pages: what a person looks at after a run.

Nothing here computes results; it is given numbers and draws them, on figures of its own and without a network.
"""

from __future__ import annotations

from graphws.report.figures import (
    answered_pictures,
    changed_pictures,
    confusion_matrix,
    curves,
    png,
    predicted_against_true,
    scores,
)
from graphws.report.page import Page, Picture, Table, html

__all__ = [
    "Page",
    "Picture",
    "Table",
    "answered_pictures",
    "changed_pictures",
    "confusion_matrix",
    "curves",
    "html",
    "png",
    "predicted_against_true",
    "scores",
]
