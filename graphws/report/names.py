"""Names in figures: long ones on several lines, and legends in as many columns as there is room for."""

from __future__ import annotations

import re

from matplotlib.axes import Axes
from matplotlib.figure import Figure

LETTER, LINE = 0.088, 0.2
"""Inches of a letter and of a line of a legend."""
_PARTS = re.compile(r"[^\s_./-]*[\s_./-]+|[^\s_./-]+")


def wrapped(name: str, letters: int = 28) -> str:
    """A name on lines of at most so many letters, broken behind spaces and the signs that names are joined by.

    >>> wrapped("transformer.h.0.attn.c_attn", 16).split()
    ['transformer.h.0.', 'attn.c_attn']
    >>> wrapped("short"), wrapped("a" * 5, 3).split()
    ('short', ['aaa', 'aa'])
    """
    lines = [""]
    for found in _PARTS.findall(name):
        part = found
        if len(lines[-1]) + len(part.rstrip()) > letters and lines[-1]:
            lines.append("")
        while len(part.rstrip()) > letters:
            lines[-1], part = part[:letters], part[letters:]
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines if line.strip()) or name


def legend_below(figure: Figure, axes: Axes) -> None:
    """A legend of what axes show under the figure, which grows by as much; none where nothing has a name."""
    handles, names = axes.get_legend_handles_labels()
    if not names:
        return
    labels = [wrapped(name, 44) for name in names]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    columns = max(1, min(len(labels), int(figure.get_figwidth() / (LETTER * longest + 0.7))))
    rows = -(-len(labels) // columns)
    heights = [sum(1 + label.count("\n") for label in labels[k : k + rows]) for k in range(0, len(labels), rows)]
    figure.set_figheight(figure.get_figheight() + LINE * max(heights))
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=columns)
