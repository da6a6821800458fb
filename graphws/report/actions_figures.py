"""Pictures of a latent action: errors beside those of decoys, categories of neurons, and filters framed by category.

Each function draws on a figure of its own and returns it; pyplot's global state is not touched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray
from torch import Tensor

from graphws.actions.measures.categories import CATEGORIES
from graphws.actions.measures.layer_errors import LayerFigures
from graphws.actions.measures.streams import OwnAction
from graphws.graph import Monomial
from graphws.report.names import wrapped
from graphws.report.theme import BLUE, FAINT, INK, LINE, RED, lines_on, series, text_on

COLOURS = {
    "self-symmetric": "#2f8f4e",
    "self-negated": "#9acd6a",
    "mirrored": "#2aa7c9",
    "mirrored+negated": "#7a4fb5",
    "negated copy": "#e0a100",
    "none": "#b9c0c7",
}
"""One colour a category, as in paper I's figure 2."""
PATTERNS = dict(zip(COLOURS, ("", "..", "//", "xx", "++", "\\\\"), strict=True))
"""And one hatch, for those who do not tell the colours apart."""
ROUNDING = 1e-12
"""An error that counts as 0 in figures."""
LONG = 12
"""Letters of a layer's name above which the names below an axis are turned."""
MOST_FILTERS = 256
"""Filters that are drawn at most."""


def draw_errors(layers: Sequence[LayerFigures], breaks_at: Sequence[str] = ()) -> Figure:
    """The K-error of every layer, its GL-error, and where the decoys lie; small and well below the decoys is good.

    Args:
        layers: The layers.
        breaks_at: Those that the symmetry breaks at, each behind a line.
    """
    figure = Figure(figsize=(max(5.0, 1.5 + 1.3 * len(layers)), 3.4), layout="constrained")
    axes = figure.subplots()
    marks = [(place, mark) for place, layer in enumerate(layers) for mark in _marks(layer)]
    floor = _floor([mark.error for _, mark in marks])
    seen: set[str] = set()
    for place, mark in marks:
        height, label = max(mark.error, floor), None if mark.label in seen else mark.label
        seen.add(mark.label)
        if mark.shape == "-":
            axes.plot([place - 0.16, place + 0.16], [height, height], color=mark.colour, lw=2, label=label)
        else:
            face = "none" if mark.hollow else mark.colour
            size = 8 if mark.shape == "o" else 6
            axes.plot(place, height, mark.shape, color=mark.colour, mfc=face, ms=size, label=label)
    if floor:
        axes.set_yscale("log")
        axes.axhline(floor, color=LINE, lw=0.8, ls=":")
        largest = max(floor, *(mark.error for _, mark in marks))
        axes.set_ylim(0.7 * floor, largest * max(2.0, (largest / floor) ** 0.12))
        axes.text(-0.02, floor, "0", transform=axes.get_yaxis_transform(), ha="right", va="center")
    else:
        axes.set_ylim(0, 1.12 * max((mark.error for _, mark in marks), default=1.0))
    longest = max((len(layer.space) for layer in layers), default=0)
    axes.set_xticks(range(len(layers)), [wrapped(layer.space, 24) for layer in layers])
    if longest > LONG:
        axes.tick_params(axis="x", labelrotation=20, labelsize=8)
    axes.set_xlim(-0.5, len(layers) - 0.5)
    for place, layer in enumerate(layers):
        if layer.space in breaks_at:
            axes.axvline(place - 0.5, color=RED, lw=1.2, ls="--")
            axes.annotate(
                "breaks here", (place - 0.46, 0.99), xycoords=("data", "axes fraction"), color=RED,
                fontsize=9, va="top",
            )  # fmt: skip
    axes.set(ylabel="relative error", title="How far each layer is from equivariant")
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_streams(owns: Sequence[OwnAction]) -> Figure:
    """What each weight matches of its stream by its own action, beside all writers together and chance."""
    figure = Figure(figsize=(7.0, 1.2 + 0.3 * len(owns)), layout="constrained")
    axes, places = figure.subplots(), np.arange(len(owns))
    axes.barh(places, [own.matched / own.size for own in owns], 0.7, color=COLOURS["mirrored"], label="its own action")
    shared = [own.all_matched / own.size for own in owns]
    together, colour = "all that is written, together", COLOURS["self-symmetric"]
    axes.barh(places, shared, 0.35, color=colour, hatch="///", edgecolor=lines_on(colour), lw=0, label=together)
    axes.plot([own.chance / own.size for own in owns], places, "|", color=INK, ms=12, label="chance")
    axes.set_yticks(places, [wrapped(f"{own.parameter} {'→' if own.writes else '←'} {own.space}", 40) for own in owns])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.02), xlabel="share matched", title="Each weight on a shared space, by itself")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


class _Mark(NamedTuple):
    error: float
    label: str
    colour: str
    shape: str
    hollow: bool = False


def _marks(layer: LayerFigures) -> list[_Mark]:
    """What stands above a layer's name."""
    label = "decoys, by weights" if layer.best_rival and layer.best_rival.weights else "decoys"
    marks = [_Mark(rival.k_error, label, LINE, "-") for rival in layer.rivals.values()]
    if layer.relabelled is not None and layer.relabelled.decoys:
        marks.append(_Mark(layer.relabelled.least, "in weights, relabelled", FAINT, "_"))
        marks.append(_Mark(layer.relabelled.error, "in weights", INK, "x"))
    if layer.noise is not None:
        marks.append(_Mark(layer.noise, "perfect but for noise", series(1), "^", hollow=True))
    marks.append(_Mark(layer.k_error, "by neurons (K-error)", RED, "o"))
    if layer.gl_error is not None:
        marks.append(_Mark(layer.gl_error, "by a matrix (GL-error)", BLUE, "D"))
    return marks


def _floor(errors: Sequence[float]) -> float:
    """Where errors that are 0 to rounding are drawn on a logarithmic axis; 0 where a linear one will do."""
    above = [error for error in errors if error > ROUNDING]
    if len(above) == len(errors) and min(above, default=1) >= 0.02:
        return 0.0
    return min(above, default=1.0) / 4


def draw_categories(layers: Sequence[LayerFigures], generator: str) -> Figure:
    """The share of every category of neurons, one bar a hidden layer, beside the most that a decoy matches."""
    hidden = [layer for layer in layers if generator in layer.categories]
    figure = Figure(figsize=(7.6, 1.3 + 0.42 * len(hidden)), layout="constrained")
    axes = figure.subplots()
    for row, layer in enumerate(reversed(hidden)):
        left = 0.0
        for name in CATEGORIES:
            share = 100 * layer.categories[generator].get(name, 0) / max(1, layer.size)
            style: dict[str, Any] = {
                "color": COLOURS[name],
                "hatch": PATTERNS[name],
                "edgecolor": lines_on(COLOURS[name]),
            }
            axes.barh(row, share, left=left, height=0.7, lw=0, **style)
            if share >= 6:
                axes.text(
                    left + share / 2,
                    row,
                    f"{share:.0f}",
                    ha="center",
                    va="center",
                    color=text_on(COLOURS[name]),
                    fontsize=9,
                    bbox={"facecolor": COLOURS[name], "edgecolor": "none", "pad": 1.5},
                )
            left += share
        if layer.best_rival is not None:
            axes.text(101, row, f"decoys: {layer.best_rival.matched:.0%} matched", va="center", fontsize=9, color=FAINT)
    axes.set_yticks(range(len(hidden)), [wrapped(layer.space, 24) for layer in reversed(hidden)])
    axes.set(xlim=(0, 100), xlabel=f"% of neurons under {generator}")
    axes.spines[["top", "right"]].set_visible(False)
    handles = [_patch(name, name) for name in CATEGORIES]
    axes.legend(handles=handles, frameon=False, fontsize=8.5, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _patch(name: str, label: str) -> Patch:
    """The colour and the hatch of a category in a legend."""
    return Patch(facecolor=COLOURS[name], hatch=PATTERNS[name], edgecolor=lines_on(COLOURS[name]), lw=0, label=label)


def filter_order(kinds: Tensor, element: Monomial) -> list[int]:
    """Neurons sorted by category, partners side by side."""
    order: list[int] = []
    placed: set[int] = set()
    for category in range(len(CATEGORIES)):
        for neuron in (kinds == category).nonzero().flatten().tolist():
            for candidate in (neuron, int(element.perm[neuron])):
                if candidate not in placed and int(kinds[candidate]) == category:
                    order.append(candidate)
                    placed.add(candidate)
    return order


def draw_filters(weight: Tensor, shape: Sequence[int], kinds: Tensor, element: Monomial) -> Figure:
    """First-layer filters as pictures, sorted and framed by category (paper I, figure 2).

    Args:
        weight: (neurons, numbers of an input).
        shape: (channels, height, width) with 1 or 3 channels, or (height, width).
        kinds: Category of each neuron, an index into `CATEGORIES`.
        element: What takes each neuron's place.
    """
    order = filter_order(kinds, element.inverse())[:MOST_FILTERS]
    columns = min(16, max(4, math.ceil(math.sqrt(len(order) * 1.8))))
    rows = math.ceil(len(order) / columns)
    figure = Figure(figsize=(max(6.4, 0.62 * columns + 0.2), 0.62 * rows + 0.9), layout="constrained")
    axes = figure.subplots()
    for place, neuron in enumerate(order):
        x, y = place % columns, rows - 1 - place // columns
        colour = COLOURS[CATEGORIES[int(kinds[neuron])]]
        pattern = 2 * PATTERNS[CATEGORIES[int(kinds[neuron])]]  # frames are narrow
        frame = Rectangle((x + 0.01, y + 0.01), 0.98, 0.98, facecolor=colour, lw=0)
        frame.set(hatch=pattern, edgecolor=lines_on(colour))
        axes.add_patch(frame)
        picture = _picture(weight[neuron], shape)
        axes.imshow(
            picture,
            extent=(x + 0.09, x + 0.91, y + 0.09, y + 0.91),
            interpolation="nearest",
            cmap="gray",
            zorder=2,
            vmin=0,
            vmax=1,
        )
    axes.set(xlim=(0, columns), ylim=(0, rows), aspect="equal")
    axes.axis("off")
    present = [name for k, name in enumerate(CATEGORIES) if bool((kinds == k).any())]
    labels = [f"{name} ({int((kinds == CATEGORIES.index(name)).sum())})" for name in present]
    handles = [_patch(name, label) for name, label in zip(present, labels, strict=True)]
    axes.legend(handles=handles, frameon=False, fontsize=8.5, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _picture(row: Tensor, shape: Sequence[int]) -> NDArray[np.float64]:
    """Values of one filter from 0 to 1, 0 at one half; (height, width) or (height, width, 3)."""
    values = row.detach().double().cpu().numpy()
    values = values / max(float(np.abs(values).max()), 1e-30) / 2 + 0.5
    if len(shape) == 2 or shape[0] == 1:
        return np.asarray(values.reshape(tuple(shape[-2:])))
    return np.asarray(values.reshape(tuple(shape)).transpose(1, 2, 0))
