"""The scores of a run as bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from graphws.report.names import legend_below, wrapped
from graphws.report.theme import INK, series

LONG = 14
"""Letters of a model's name above which bars lie."""


def scores(values: Mapping[str, Sequence[float]], metric: str, trivial: tuple[str, float] | None = None) -> Figure:
    """The test metric of every model: a bar at the mean over seeds, a dot for each seed.

    Args:
        values: Of each model, one a seed.
        metric: Its name.
        trivial: An answer that looks at no network, in words, and its score: a line across.
    """
    if max(map(len, values), default=0) > LONG:
        return _lying(values, metric, trivial)
    figure = Figure(figsize=(1.6 + 1.1 * max(2, len(values)), 3.4), layout="constrained")
    axes = figure.subplots()
    for number, runs in enumerate(values.values()):
        mean, top = float(np.mean(runs)), float(max(0.0, *runs))
        axes.bar(number, mean, color=series(number), alpha=0.75, width=0.6)
        axes.plot([number] * len(runs), runs, ".", color=INK, ms=5)
        axes.annotate(f"{mean:.3g}", (number, top), ha="center", va="bottom", xytext=(0, 5), textcoords="offset points")
    axes.set_xticks(range(len(values)), list(values))
    axes.margins(y=0.15)
    axes.set_ylabel(metric)
    return _finished(figure, axes, metric, trivial, axes.axhline)


def _lying(values: Mapping[str, Sequence[float]], metric: str, trivial: tuple[str, float] | None) -> Figure:
    """The same with bars that lie, beside which long names have room."""
    names = [wrapped(name) for name in values]
    figure = Figure(figsize=(7.6, 1.5 + 0.2 * sum(2 + name.count("\n") for name in names)), layout="constrained")
    axes = figure.subplots()
    for number, runs in enumerate(values.values()):
        mean, right = float(np.mean(runs)), float(max(0.0, *runs))
        axes.barh(number, mean, color=series(number), alpha=0.75, height=0.6)
        axes.plot(runs, [number] * len(runs), ".", color=INK, ms=5)
        axes.annotate(f"{mean:.3g}", (right, number), va="center", xytext=(6, 0), textcoords="offset points")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlabel(metric)
    return _finished(figure, axes, metric, trivial, axes.axvline)


def _finished(
    figure: Figure, axes: Axes, metric: str, trivial: tuple[str, float] | None, line: Callable[..., Any]
) -> Figure:
    """The figure with its title and, where there is a trivial answer, a line across."""
    axes.set_title(f"test {metric}")
    axes.spines[["top", "right"]].set_visible(False)
    if trivial is not None:
        line(trivial[1], color=INK, lw=1.2, ls="--", label=trivial[0])
        legend_below(figure, axes)
    return figure
