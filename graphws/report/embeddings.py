"""Representations as points of a plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from graphws.report.names import wrapped
from graphws.report.theme import LINE


def embeddings_by_target(
    planes: Mapping[str, tuple[NDArray[np.floating], NDArray[np.intp]]],
    targets: NDArray[np.floating],
    names: Sequence[str],
) -> Figure:
    """Points of every model side by side, a row for each target, which colours them (paper D, figures 4 and 8).

    Args:
        planes: For each model its points, (points, 2), and which network each of them is.
        targets: One row a network and one column a target.
        names: Of the targets.
    """
    figure = Figure(figsize=(3.4 * len(planes) + 0.9, 3.3 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), len(planes), squeeze=False)
    for row, name in enumerate(names):
        values = targets[:, row]
        norm = Normalize(values.min(), values.max())
        for column, (model, (points, which)) in enumerate(planes.items()):
            axes = panels[row][column]
            axes.scatter(*points.T, c=values[which], s=9, cmap="viridis", norm=norm, linewidths=0.4, edgecolors=LINE)
            axes.set(xticks=[], yticks=[], title=wrapped(model) if row == 0 else "")
        figure.colorbar(ScalarMappable(norm, "viridis"), ax=list(panels[row]), label=name, shrink=0.85)
    return figure
