"""Names in figures: long ones on several lines, and legends in as many columns as there is room for."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

LETTER = 0.088
"""Inches of a letter of a legend."""


def wrapped(name: str, letters: int = 28) -> str:
    """A name on lines of at most so many letters.

    >>> wrapped("mlp-aligned-before-everything", 16)
    'mlp-aligned-\\nbefore-\\neverything'
    """
    return "\n".join(textwrap.wrap(name, letters)) or name


def legend_below(figure: Figure, axes: Axes) -> None:
    """A legend of what axes show under the whole figure; none where nothing has a name."""
    handles, names = axes.get_legend_handles_labels()
    if not names:
        return
    labels = [wrapped(name, 44) for name in names]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    columns = max(1, min(len(labels), int(figure.get_figwidth() / (LETTER * longest + 0.7))))
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=columns)
