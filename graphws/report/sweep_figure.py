"""The curve of a sweep: a metric against the value of a key, a line a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from graphws.report.figures import DECADE
from graphws.report.names import legend_below
from graphws.report.theme import marker, series

Spread = tuple[float, float | None]
"""A mean, and its deviation where there is one."""


def sweep_curve(
    values: Sequence[str],
    ours: Mapping[str, Mapping[str, Spread]],
    paper: Mapping[str, Mapping[str, Spread]],
    label: str,
    metric: str,
) -> Figure:
    """Means with bars of one deviation; the paper's dashed and hollow, in colour and marker of the same model.

    Args:
        values: In words; where all are numbers they have their places on the axis, else they follow one another.
        ours: By model and value in words.
        paper: The same of a paper.
        label: Of the axis of values.
        metric: Of the other axis.
    """
    places = _places(values)
    figure = Figure(figsize=(7.2, 3.9), layout="constrained")
    axes = figure.subplots()
    names = [*ours, *(name for name in paper if name not in ours)]
    for number, name in enumerate(names):
        for found, line, title in ((ours, "-", name), (paper, "--", f"{name}, paper")):
            if rows := {text: found[name][text] for text in places if text in found.get(name, {})}:
                means = [mean for mean, _ in rows.values()]
                bars = [deviation or 0.0 for _, deviation in rows.values()]
                x = [places[text] for text in rows]
                axes.errorbar(
                    x, means, bars, ls=line, marker=marker(number), mfc=series(number) if found is ours else "none",
                    color=series(number), ms=5, lw=1.2, capsize=2, label=title,
                )  # fmt: skip
    if _are_numbers(values):
        _logarithmic(axes, "x", list(places.values()))
        axes.set_xticks(list(places.values()), list(places))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xticks(range(len(places)), list(places))
    _logarithmic(axes, "y", [mean for found in (ours, paper) for row in found.values() for mean, _ in row.values()])
    axes.set(xlabel=label, ylabel=metric)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    legend_below(figure, axes)
    return figure


def _places(values: Sequence[str]) -> dict[str, float]:
    if _are_numbers(values):
        return {text: float(text) for text in sorted(values, key=float)}
    return {text: float(place) for place, text in enumerate(values)}


def _are_numbers(values: Sequence[str]) -> bool:
    try:
        return all(math.isfinite(float(text)) for text in values)
    except ValueError:
        return False


def _logarithmic(axes: Axes, which: str, values: Sequence[float]) -> None:
    if values and min(values) > 0 and max(values) >= DECADE * min(values):
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
