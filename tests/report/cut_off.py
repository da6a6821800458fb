"""What of a figure is cut off, and which of its series differ in colour alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch


def cut_off(figure: Figure) -> list[str]:
    """Points outside of their axes, and whether anything is outside of the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    found = []
    for axes in figure.axes:
        for line in axes.get_lines():
            if line.get_transform().contains_branch(axes.transData) and line.get_clip_on():
                points = axes.transData.transform(np.asarray(line.get_xydata(), dtype=float))
                inside = axes.bbox.padded(1)
                if not all(inside.contains(*point) for point in points if np.isfinite(point).all()):
                    found.append(f"points of {line.get_label()!r}")
        for collection in axes.collections:
            points = axes.transData.transform(np.asarray(collection.get_offsets(), dtype=float))
            if collection.get_offset_transform() is axes.transData and len(points):
                found += [] if all(axes.bbox.padded(1).contains(*point) for point in points) else ["a point"]
    drawn, whole = figure.get_tightbbox(canvas.get_renderer()), figure.bbox_inches.padded(0.01)
    if not (whole.contains(drawn.x0, drawn.y0) and whole.contains(drawn.x1, drawn.y1)):
        found.append("a text or a mark outside of the figure")
    return found


def same_shapes(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of a legend's entries that nothing but colour tells apart."""
    found = []
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        legend = axes.get_legend()
        if not handles and legend is not None:
            handles, labels = list(legend.legend_handles), [text.get_text() for text in legend.get_texts()]
        shapes = [tuple(_shape(handle)) for handle in handles]
        pairs = [(a, b) for a in range(len(shapes)) for b in range(a)]
        found += [(labels[b], labels[a]) for a, b in pairs if shapes[a] == shapes[b]]
    return found


def _shape(handle: object) -> Iterator[object]:
    if isinstance(handle, ErrorbarContainer):
        handle = handle[0]
    if hasattr(handle, "patches"):
        handle = handle.patches[0]
    if isinstance(handle, Line2D):
        yield handle.get_marker()
        yield handle.get_linestyle()
        yield handle.get_markerfacecolor() in ("none", (0, 0, 0, 0))
    elif isinstance(handle, Patch):
        yield handle.get_hatch() or ""
        yield round(handle.get_height() / 0.05) if hasattr(handle, "get_height") else 0
