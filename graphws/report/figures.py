"""Pictures of a run: training curves, a confusion matrix, predictions against truth.

Each function draws on a figure of its own and returns it; pyplot's global state is not touched.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.stats import kendalltau

from graphws.report.names import legend_below, wrapped
from graphws.report.page import INCH, Picture
from graphws.report.plain_figures import settle_texts
from graphws.report.theme import BLUE, INK, LINE, ON_DARK, RED, marker, series

Rows = Sequence[Mapping[str, float]]
DECADE = 10.0
"""A scale is logarithmic where its values are positive and the largest is so many times the least."""
DPI = 130


def png(figure: Figure, dpi: int = DPI) -> bytes:
    """The figure as a PNG file; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    settle_texts(figure)
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def stored(caption: str, content: bytes) -> Picture:
    """A PNG that `png` made as a picture of a page."""
    return Picture(caption, content, width=round(int.from_bytes(content[16:20], "big") / DPI * INCH))


def curves(histories: Mapping[str, Sequence[Rows]], metric: str) -> Figure:
    """Loss and validation metric by epoch; one colour and marker a model, one line a seed.

    Args:
        histories: For each model, one list of epochs for each seed.
        metric: The validation metric by which models are chosen.
    """
    figure = Figure(figsize=(9.0, 3.2), layout="constrained")
    loss, score = figure.subplots(1, 2)
    for number, (name, runs) in enumerate(histories.items()):
        for seed, rows in enumerate(runs):
            epochs = [row["epoch"] for row in rows]
            style: dict[str, Any] = {
                "color": series(number), "lw": 1.2, "marker": marker(number), "ms": 4,
                "markevery": (number % 3, max(1, len(rows) // 8)), "label": name if seed == 0 else None,
            }  # fmt: skip
            loss.plot(epochs, [row["train_loss"] for row in rows], **style)
            loss.plot(epochs, [row["val_loss"] for row in rows], **style | {"lw": 1.0, "ls": "--", "label": None})
            score.plot(epochs, [row[f"val_{metric}"] for row in rows], **style)
    loss.set(xlabel="epoch", ylabel="loss", title="training (solid) and validation (dashed)")
    score.set(xlabel="epoch", ylabel=metric, title=f"validation {metric}")
    _logarithmic(loss)
    if metric != "accuracy":
        _logarithmic(score)
    for axes in (loss, score):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    legend_below(figure, score)
    return figure


def _logarithmic(axes: Axes) -> None:
    """A logarithmic scale where that cuts nothing off: all is positive, and spans enough to need one."""
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()] or [np.zeros(1)])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() >= DECADE * values.min():
        axes.set_yscale("log")


def confusion_matrix(targets: NDArray[np.int64], predictions: NDArray[np.int64], classes: int, title: str) -> Figure:
    """How often each class (row) was taken for each (column), in percent of the row; the diagonal is right."""
    counts = np.zeros((classes, classes))
    np.add.at(counts, (targets, predictions), 1)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(9.0, 1.8 + 0.36 * classes)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    glass = LinearSegmentedColormap.from_list("glass", [to_rgba(BLUE, 0), to_rgba(BLUE, 1)])  # for either ground
    image = axes.imshow(share * 100, cmap=glass, vmin=0, vmax=100)
    if classes <= 20:
        for row, column in zip(*np.nonzero(counts), strict=True):
            dark = share[row, column] > 0.5
            text = f"{share[row, column] * 100:.0f}"
            axes.text(column, row, text, ha="center", va="center", size=7, color=ON_DARK if dark else INK)
        axes.set(xticks=range(classes), yticks=range(classes))
    axes.set(xlabel="predicted", ylabel="true", title=wrapped(title, 36))
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.8)
    return figure


def predicted_against_true(
    targets: NDArray[np.floating], predictions: Mapping[str, NDArray[np.floating]], names: Sequence[str]
) -> Figure:
    """One panel for each model and target: the closer to the diagonal, the better.

    The line of least squares through the predictions is dashed; R² (one minus the share of the variance that is not
    explained) and Kendall's τ stand beside it.

    Args:
        targets: True values, one row a network and one column a target.
        predictions: For each model, the same in predicted values.
        names: Of the targets.
    """
    figure = Figure(figsize=(3.6 * len(predictions), 3.4 * len(names)), layout="constrained")
    panels = figure.subplots(len(names), len(predictions), squeeze=False)
    for row, name in enumerate(names):
        low, high = float(targets[:, row].min()), float(targets[:, row].max())
        for column, (model, values) in enumerate(predictions.items()):
            axes = panels[row][column]
            axes.plot([low, high], [low, high], color=LINE, lw=1)
            axes.plot(targets[:, row], values[:, row], ".", ms=3, alpha=0.6, color=series(column))
            _fit(axes, targets[:, row], values[:, row], low, high)
            axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}", title=wrapped(model))
            axes.spines[["top", "right"]].set_visible(False)
    return figure


def _fit(axes: Axes, truth: NDArray[np.floating], predicted: NDArray[np.floating], low: float, high: float) -> None:
    """The line of least squares from the truth to the predictions, with R² and τ in a legend; nothing through one."""
    spread = float(np.square(truth - truth.mean()).sum())
    if len(truth) < 2 or spread == 0 or not np.isfinite(predicted).all():
        return
    slope = float(((truth - truth.mean()) * predicted).sum()) / spread
    ends = np.array([low, high])
    r2 = 1 - float(np.square(truth - predicted).sum()) / spread
    tau = 0.0 if np.ptp(predicted) == 0 else float(kendalltau(truth, predicted).statistic)
    label = f"R² {r2:.3f}, τ {tau:.3f}"
    axes.plot(ends, predicted.mean() + slope * (ends - truth.mean()), "--", color=INK, lw=1, label=label)
    axes.legend(frameon=False, fontsize=8)


def answered_pictures(
    pictures: NDArray[np.floating],
    targets: NDArray[np.int64],
    predictions: NDArray[np.int64],
    names: Sequence[str] = (),
) -> Figure:
    """Pictures with the class that each was taken for; wrong answers are red and name the true class.

    Args:
        pictures: (count, rows, columns, channels), values from 0 to 1, of 1 or 3 channels.
        targets: True classes.
        predictions: What they were taken for.
        names: Of the classes; their numbers where empty.
    """

    def name(number: int) -> str:
        return names[number] if number < len(names) else str(number)

    columns = min(12, max(1, len(pictures)))
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(0.75 * columns + 0.2, 0.95 * rows + 0.2), layout="constrained")
    for k, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if k < len(pictures):
            right = targets[k] == predictions[k]
            title = name(predictions[k]) if right else f"{name(predictions[k])} (is {name(targets[k])})"
            axes.set_title(title, fontsize=8, color=INK if right else RED, pad=2)
            axes.imshow(np.clip(pictures[k], 0, 1).squeeze(), cmap="gray", vmin=0, vmax=1)
    return figure


def changed_pictures(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    titles: tuple[str, str] = ("reconstructed from the weights", "after augmenting the weights"),
) -> Figure:
    """Pictures and, under each, what became of it; compare paper D, figure 6.

    Args:
        before: (count, rows, columns, channels), values from 0 to 1, of 1 or 3 channels.
        after: The same number of pictures.
        titles: Of the two rows.
    """
    if before.shape != after.shape:
        raise ValueError(f"pictures of shapes {before.shape} and {after.shape} do not correspond")
    figure = Figure(figsize=(0.8 * len(before) + 0.2, 2.3), layout="constrained")
    halves: Any = figure.subfigures(2, 1)
    for half, pictures, title in zip(halves, (before, after), titles, strict=True):
        half.suptitle(title, fontsize=9)
        for picture, axes in zip(pictures, half.subplots(1, len(before), squeeze=False).flat, strict=True):
            axes.set_axis_off()
            axes.imshow(np.clip(picture, 0, 1).squeeze(), cmap="gray", vmin=0, vmax=1)
    return figure
