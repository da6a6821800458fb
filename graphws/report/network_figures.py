"""Pictures of runs that give networks back: what they draw, what they gained, what of them is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from graphws.report.names import legend_below, wrapped
from graphws.report.theme import INK, LINE, hatch, lines_on, series


def picture_rows(rows: Mapping[str, NDArray[np.floating]]) -> Figure:
    """Pictures in titled rows; those of a column belong together.

    Args:
        rows: By title (count, rows, columns, channels), of 1 or 3 channels; what leaves [0, 1] is cut.
    """
    count = max(len(pictures) for pictures in rows.values())
    figure = Figure(figsize=(0.8 * count + 0.2, 0.95 * len(rows) + 0.3), layout="constrained")
    panels = figure.subplots(len(rows), count, squeeze=False)
    for line, (title, pictures) in zip(panels, rows.items(), strict=True):
        shown = wrapped(title, int(figure.get_figwidth() / 0.085))
        for axes in line:  # a title as wide as all of them would widen the first column
            axes.set_title("\n".join(" " for _ in shown.split("\n")), fontsize=8, pad=2)
        over = line[0].annotate(shown, (0, 1), (0, 2), xycoords="axes fraction", textcoords="offset points", fontsize=8)
        over.set_in_layout(False)
        for k, axes in enumerate(line):
            axes.set_axis_off()
            if k < len(pictures):
                axes.imshow(np.clip(pictures[k], 0, 1).squeeze(), cmap="gray", vmin=0, vmax=1)
    return figure


def before_and_after(before: NDArray[np.floating], after: Mapping[str, NDArray[np.floating]], metric: str) -> Figure:
    """A panel for each model, a dot for each network: a metric of the network given and of the one returned.

    Args:
        before: (networks).
        after: By model, (networks).
        metric: Its name.
    """
    figure = Figure(figsize=(3.2 * len(after), 3.2), layout="constrained")
    everything = np.concatenate([before, *after.values()])
    low, high = float(everything.min()), float(everything.max())
    panels = figure.subplots(1, len(after), squeeze=False)[0]
    for number, (axes, model) in enumerate(zip(panels, after, strict=True)):
        axes.plot([low, high], [low, high], color=LINE, lw=1)
        axes.plot(before, after[model], ".", ms=4, alpha=0.6, color=series(number))
        axes.set(xlabel=f"{metric} before", ylabel=f"{metric} after", title=wrapped(model))
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def kept_shares(shares: Mapping[str, NDArray[np.floating]], parameters: Sequence[str]) -> Figure:
    """The share of every parameter that masks keep: a bar at the mean over networks, a line of one deviation.

    Args:
        shares: By model, (networks, parameters).
        parameters: Their names.
    """
    figure = Figure(figsize=(max(4.5, 0.35 * len(parameters) * (len(shares) + 1)), 3.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / max(1, len(shares))
    for number, (model, values) in enumerate(shares.items()):
        places = np.arange(len(parameters)) + (number - (len(shares) - 1) / 2) * width
        mean, spread = values.mean(0), values.std(0)
        bars = np.minimum(spread, mean), np.minimum(spread, 1 - mean)  # no share is below 0 or above 1
        style: dict[str, Any] = {
            "color": series(number),
            "hatch": hatch(number),
            "edgecolor": lines_on(series(number)),
            "ecolor": INK,
        }
        axes.bar(places, mean, width, yerr=bars, lw=0, alpha=0.85, label=model, **style)
    axes.set(xticks=range(len(parameters)), ylim=(0, 1.05), ylabel="kept share")
    axes.set_xticklabels([wrapped(name, 24) for name in parameters], rotation=30, ha="right", fontsize=8)
    legend_below(figure, axes)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
