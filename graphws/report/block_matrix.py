"""The block matrix of a layer as a picture: paper D's figure 2, for any graph and any messages.

Rows receive, columns send.  A block's hue says through which level of summary information gets there at best, its
depth on which side free channels (inputs, outputs, kernel taps) are mixed; the number is its parameter count.  What the
networks' weights carry (rule 3) has a hue of its own; where linear maps lead there, too, it has a corner of the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Polygon, Rectangle

from graphws.layers.explain import Explanation, LinearBlock
from graphws.messages import Via

OFF = "#f2f1ee"
_HUES: dict[Via, str] = {"edge": "#c8553d", "neuron": "#2f7f86", "network": "#8d86a8", "weight": "#c99a1e"}
_LEVELS: dict[Via, str] = {
    "edge": "entry by entry",
    "neuron": "through shared neurons",
    "network": "through one summary",
    "weight": "carried by weights",
}
_SIDES = ("sets only", "free channels in", "free channels out", "free channels in and out")
_TINTS = (0.68, 0.46, 0.24, 0.0)
Rule = tuple[Via, int]


def rule(block: LinearBlock) -> Rule | None:
    """What a block is coloured by: its finest level and the sides with free channels; None where it is off."""
    if block.finest is None:
        return None
    return block.finest, (block.free[0] > 1) + 2 * (block.free[1] > 1)


def acting_rule(explanation: Explanation, block: LinearBlock) -> Rule | None:
    """The same of what weights carry from the block's source to its target."""
    if not explanation.acting(block.source, block.target):
        return None
    return "weight", 2 * (block.free[1] > 1)


def colour(kind: Rule | None) -> tuple[float, float, float]:
    """The colour of a rule."""
    if kind is None:
        return to_rgb(OFF)
    red, green, blue = to_rgb(_HUES[kind[0]])
    tint = _TINTS[kind[1]]
    return red + (1 - red) * tint, green + (1 - green) * tint, blue + (1 - blue) * tint


def draw_block_matrix(explanation: Explanation) -> Figure:
    """The block matrix, tensors grouped by kind, with a column for biases and a legend of the rules that occur."""
    graph = explanation.graph
    kinds = list(dict.fromkeys(parameter.kind for parameter in graph.parameters))
    names = [p.name for kind in kinds for p in graph.parameters if p.kind == kind]
    groups = [(kind, sum(p.kind == kind for p in graph.parameters)) for kind in kinds]
    place = _places(groups)
    side = place[-1] + 1
    cell = max(0.42, min(0.72, 7.5 / side))
    biased = any(explanation.biases)
    figure, axes = _page(cell, side + (1.5 if biased else 0.0), side, max(map(len, names), default=0))
    counts = {
        (block.source, block.target): block.parameters
        + sum(one.parameters for one in explanation.acting(block.source, block.target))
        for block in explanation.blocks
    }
    largest = max(counts.values(), default=0)
    size = min(10.0, 72 * cell * 0.8 / max(len(f"{largest:,}"), 3) / 0.6)
    used: dict[Rule | None, None] = {}
    for row, target in enumerate(names):
        for column, source in enumerate(names):
            block = explanation.block(source, target)
            kind, acts = rule(block), acting_rule(explanation, block)
            shown = kind or acts
            used |= dict.fromkeys([shown] if acts is None else [shown, acts])
            _cell(axes, place[column], place[row], colour(shown), f"{counts[source, target]:,}" if shown else "", size)
            if kind is not None and acts is not None:
                _corner(axes, place[column], place[row], colour(acts))
        bias = explanation.biases[explanation.tensors.index(target)]
        if biased:
            _cell(axes, side + 0.5, place[row], to_rgb("#ffffff"), f"{bias:,}" if bias else "", size, edge="#b9b6ae")
    _label(axes, names, groups, place, side, biased)
    _legend(axes, used)
    axes.set_title(
        f"{explanation.parameters:,} parameters, {explanation.channels[0]} → {explanation.channels[1]} channels",
        loc="left",
        size=11,
        pad=10,
    )
    return figure


def _page(cell: float, columns: float, rows: float, letters: int) -> tuple[Figure, Axes]:
    """A figure that holds exactly the matrix, its names and the legend, with cells of `cell` inches."""
    long = letters > 4
    left, bottom = 0.5 + 0.085 * letters, 0.45
    top, right = 0.75 + (0.07 * letters if long else 0), 3.85
    width, height = left + cell * columns + right, max(bottom + cell * rows + top, 2.6)
    figure = Figure(figsize=(width, height))
    place = (left / width, 1 - (top + cell * rows) / height, cell * columns / width, cell * rows / height)
    return figure, figure.add_axes(place)


def _places(groups: Sequence[tuple[str, int]]) -> list[float]:
    """Position of each row or column: side by side, with a gap between groups."""
    found: list[float] = []
    at = 0.0
    for _, count in groups:
        found += [at + k for k in range(count)]
        at += count + 0.25
    return found


def _cell(axes: Axes, x: float, y: float, face: tuple[float, ...], text: str, size: float, edge: str = "white") -> None:
    axes.add_patch(Rectangle((x + 0.03, y + 0.03), 0.94, 0.94, facecolor=face, edgecolor=edge, lw=0.6))
    bright = 0.299 * face[0] + 0.587 * face[1] + 0.114 * face[2]
    axes.text(
        x + 0.5, y + 0.52, text, ha="center", va="center", size=size, color="#1c1c1c" if bright > 0.55 else "white"
    )


def _corner(axes: Axes, x: float, y: float, face: tuple[float, ...]) -> None:
    corners = [(x + 0.97, y + 0.97), (x + 0.97, y + 0.62), (x + 0.62, y + 0.97)]
    axes.add_patch(Polygon(corners, facecolor=face, edgecolor="white", lw=0.6))


def _label(
    axes: Axes, names: Sequence[str], groups: Sequence[tuple[str, int]], place: list[float], side: float, biased: bool
) -> None:
    """Names of rows and columns, and the kind of each group."""
    axes.set(xlim=(0, side + (1.5 if biased else 0)), ylim=(side, 0))
    axes.spines[:].set_visible(False)
    ticks = [at + 0.5 for at in place]
    long = max(map(len, names)) > 4
    axes.set_xticks([*ticks, *([side + 1.0] if biased else [])], [*names, *(["bias"] if biased else [])])
    axes.set_yticks(ticks, list(names))
    axes.tick_params(length=0, labelsize=9, top=True, labeltop=True, bottom=False, labelbottom=False)
    if long:
        axes.tick_params(axis="x", labelrotation=60)
    start = 0
    for kind, count in groups:
        first, last = place[start], place[start + count - 1] + 1
        plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
        style: dict[str, Any] = {"ha": "center", "va": "center", "size": 9, "color": "#6b675f"}
        under, beside = axes.get_xaxis_transform(), axes.get_yaxis_transform()
        axes.annotate(
            f"from {plural}", ((first + last) / 2, 0), (0, -16), xycoords=under, textcoords="offset points", **style
        )
        away = -22 - 6.2 * max(map(len, names))
        axes.annotate(
            f"to {plural}",
            (0, (first + last) / 2),
            (away, 0),
            xycoords=beside,
            textcoords="offset points",
            rotation=90,
            **style,
        )
        start += count


def _legend(axes: Axes, used: dict[Rule | None, None]) -> None:
    rules = sorted(
        (kind for kind in used if kind is not None), key=lambda kind: (list(_LEVELS).index(kind[0]), kind[1])
    )
    handles = [Patch(color=colour(kind), label=f"{_LEVELS[kind[0]]}: {_SIDES[kind[1]]}") for kind in rules]
    if None in used:
        handles.append(Patch(facecolor=OFF, edgecolor="#b9b6ae", label="off"))
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)
