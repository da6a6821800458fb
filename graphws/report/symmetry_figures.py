"""Pictures of an experiment on a symmetry: how it was trained, and attention maps as in paper I's figure 3.

The filters of its figure 2 are drawn by `graphws.report.actions_figures.draw_filters`.  Each function draws on a figure
of its own and returns it; pyplot's global state is not touched.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from graphws.report.actions_figures import COLOURS
from graphws.report.figures import Rows
from graphws.report.theme import BLUE, LINE

Array = NDArray[np.floating]


def draw_training(rows: Rows, half: int) -> Figure:
    """The loss, how good the network is, and how far from equivariant, by step.

    Args:
        rows: One a look: ``step``, ``train_loss``, ``equivariance`` and ``r2`` or ``accuracy``.
        half: The step at which the equivariance loss begins.
    """
    quality = "r2" if rows and "r2" in rows[0] else "accuracy"
    panels = {
        "train_loss": "training loss",
        quality: "R², test pictures" if quality == "r2" else "accuracy, test pictures",
        "equivariance": "‖f(gx) − g f(x)‖ / ‖f − mean‖",
    }
    figure = Figure(figsize=(10.5, 3.2), layout="constrained")
    steps = [row["step"] for row in rows]
    for axes, (name, title) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        axes.plot(steps, [row[name] for row in rows], color=BLUE, lw=1.6)
        axes.axvline(half, color=LINE, lw=1, ls="--")
        axes.set(title=title, xlabel="step", xlim=(0, None))
        if name == "equivariance" and all(row[name] > 0 for row in rows):
            axes.set_yscale("log")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    begin = figure.axes[0].get_lines()[1]
    figure.legend([begin], ["the equivariance loss begins"], frameon=False, loc="outside lower center")
    return figure


def draw_attention(pictures: Array, moved: Array, maps: Array, moved_maps: Array, permuting: Sequence[int]) -> Figure:
    """Pictures and their images under the group, with the attention map of every head beside each.

    Heads that permute are framed.

    Args:
        pictures: (points, rows, columns, channels) in [0, 1], of 1 or 3 channels.
        moved: The same, moved.
        maps: (points, heads, rows, columns): attention to the patches of the pictures.
        moved_maps: The same for the moved pictures.
        permuting: Heads to frame.
    """
    points, heads = maps.shape[:2]
    width, height = 0.35 + 1.0 * (heads + 1), 0.35 + 2.15 * points
    figure = Figure(figsize=(width, height))
    pairs = figure.add_gridspec(
        points, 1, left=0.3 / width, right=1 - 0.05 / width, bottom=0.05 / height, top=1 - 0.3 / height, hspace=0.08
    )
    for point in range(points):
        grid = pairs[point].subgridspec(2, heads + 1, wspace=0.05, hspace=0.05)
        for turned, (picture, found) in enumerate(((pictures, maps), (moved, moved_maps))):
            axes = figure.add_subplot(grid[turned, 0])
            axes.imshow(np.clip(picture[point], 0, 1).squeeze(), cmap="gray", vmin=0, vmax=1)
            axes.set_ylabel("moved" if turned else "picture", fontsize=8)
            _frame(axes, None)
            for head in range(heads):
                axes = figure.add_subplot(grid[turned, head + 1])
                axes.imshow(found[point, head], cmap="magma", vmin=0)
                _frame(axes, COLOURS["mirrored"] if head in permuting else None)
                if point == turned == 0:
                    axes.set_title(f"head {head + 1}", fontsize=9)
    return figure


def _frame(axes: Axes, colour: str | None) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=colour or "none", linewidth=3.5)
