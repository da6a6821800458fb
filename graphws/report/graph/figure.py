"""A picture of a typed graph: spaces as discs, parameters as arrows between them.

Data flow from left to right.  A disc is as large as the logarithm of its space's size, and its colour says how the
group moves it.  A weight is an arrow from the space that it reads to the space that it writes; a bias a stub below its
space; a space that labels two axes of one tensor gets a loop; a parameter with more than two axes is a small square
with a line for each axis; a child space hangs on its parent by a dotted line.  Long chains wind through several rows.

Networks of modules within modules are drawn in blocks instead (`graphws.report.graph.blocks_figure`), with what many
blocks share as a rail and equal blocks as one card.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch

from graphws.graph import NetworkGraph, Parameter, Space
from graphws.report.graph.blocks import blocks
from graphws.report.graph.blocks_figure import COLOURS, INK, draw_blocks
from graphws.report.graph.page_data import FEW, page_data
from graphws.report.graph.positions import COLUMN, Disc, Point, kernel_spaces, place

MEANINGS = {"set": "set: permuted by G", "nested": "nested: within its parent", "free": "free: stays in place"}
PALE = "#8a94a0"
DIP = 1.35
"""How far below its row an arrow runs that passes other spaces."""
WIDTH = 15.0
"""Widest figure, in inches."""


def draw_graph(graph: NetworkGraph, ax: Axes | None = None) -> Figure:
    """Draws a typed graph.

    Args:
        graph: The graph.
        ax: Axes to draw on, space by space; a new figure where None, in blocks where the graph has some.

    Returns:
        Figure: The figure drawn on; pyplot does not know it.
    """
    made = blocks(graph) if ax is None else None
    if made is not None and (made.root.blocks or len(graph.spaces) > FEW):
        return draw_blocks(page_data(graph, made), _title(graph), MEANINGS)
    discs = place(graph)
    low_x = min((d.at[0] for d in discs.values()), default=0.0) - 1.0
    high_x = max((d.at[0] for d in discs.values()), default=0.0) + 1.0
    low_y = min((d.at[1] for d in discs.values()), default=0.0) - (1.75 if _passing(graph, discs) else 1.35)
    high_y = max((d.at[1] for d in discs.values()), default=0.0) + 1.25
    if ax is None:
        width, height = high_x - low_x, high_y - low_y + 0.7
        scale = min(1.0, WIDTH / width)
        figure = Figure(figsize=(max(6.0, width * scale), max(2.6, height * scale)), layout="constrained")
        ax = figure.subplots()
    _draw_parameters(ax, graph, discs)
    for space in graph.spaces:
        _draw_space(ax, graph, space, discs)
    _draw_frame(ax, graph)
    ax.set_xlim(low_x, high_x)
    ax.set_ylim(low_y, high_y)
    owner = ax.get_figure()
    return owner if isinstance(owner, Figure) else ax.figure.figure


def _draw_space(ax: Axes, graph: NetworkGraph, space: Space, discs: dict[str, Disc]) -> None:
    disc = discs[space.name]
    x, y = disc.at
    dark = space.kind != "free"
    outline: dict[str, Any] = {"edgecolor": "white"} if dark else {"edgecolor": INK, "ls": (0, (2, 2))}
    ax.add_patch(Circle(disc.at, disc.radius, facecolor=COLOURS[space.kind], lw=1.5, zorder=4, **outline))
    size = str(space.size) if space.parent is None else f"{graph.extent(space.parent)}×{space.size}"
    ax.text(
        x,
        y,
        size,
        ha="center",
        va="center",
        size=9.5,
        weight="bold",
        color="white" if dark else INK,
        parse_math=False,
        zorder=5,
    )
    _beside(ax, (x, y + disc.radius), space.name, 4, 9.5, INK)
    if space.moves and space.action != "permutation":
        _beside(ax, (x, y + disc.radius), str(space.action), 17, 7.5, PALE)
    if space.parent is not None:
        ax.add_line(
            Line2D(*zip(discs[space.parent].at, disc.at, strict=True), color=PALE, lw=1.6, ls=(0, (1, 1.5)), zorder=1)
        )


def _draw_parameters(ax: Axes, graph: NetworkGraph, discs: dict[str, Disc]) -> None:
    pairs: dict[frozenset[str], list[Parameter]] = defaultdict(list)
    stubs: dict[str, list[Parameter]] = defaultdict(list)
    scalars: list[Parameter] = []
    hyper: list[Parameter] = []
    for parameter in graph.parameters:
        if len(parameter.axes) > 2:
            hyper.append(parameter)
        elif len(parameter.axes) == 2:
            pairs[frozenset(parameter.spaces)].append(parameter)
        elif parameter.axes:
            stubs[parameter.spaces[0]].append(parameter)
        else:
            scalars.append(parameter)
    for spaces, parameters in pairs.items():
        if len(spaces) == 1:
            _draw_loop(ax, graph, discs[next(iter(spaces))], parameters)
            continue
        for k, parameter in enumerate(parameters):
            _draw_arrow(ax, graph, parameter, discs, k - (len(parameters) - 1) / 2)
    for name, parameters in stubs.items():
        _draw_stub(ax, discs[name], parameters)
    for k, parameter in enumerate(hyper):
        _draw_hyperedge(ax, graph, parameter, discs, k)
    if scalars:
        x = max((d.at[0] for d in discs.values()), default=0.0)
        y = min((d.at[1] for d in discs.values()), default=0.0)
        _label(ax, (x + 0.2, y - 1.3), f"scalars: {_names(scalars)}")


def _passes(start: Disc, stop: Disc) -> bool:
    """Whether an arrow between two discs would run over others."""
    return start.row == stop.row and abs(start.at[0] - stop.at[0]) > 1.5 * COLUMN


def _passing(graph: NetworkGraph, discs: dict[str, Disc]) -> bool:
    """Whether any arrow has to run below its row."""
    pairs = [parameter.spaces for parameter in graph.parameters if len(parameter.axes) == 2]
    return any(_passes(discs[first], discs[second]) for first, second in pairs)


def _draw_arrow(ax: Axes, graph: NetworkGraph, parameter: Parameter, discs: dict[str, Disc], offset: float) -> None:
    reads, writes = _read_and_written(parameter)
    start, stop = discs[reads], discs[writes]
    (x0, y0), (x1, y1) = start.at, stop.at
    bend = offset * 0.32
    if _passes(start, stop):
        bend += 2 * DIP / abs(x1 - x0)
    if start.row != stop.row:
        bend = 0.45 if x0 > 0 else -0.45  # round the stub below, outside of the rows
    elif x1 < x0 or (x1 == x0 and y1 > y0):
        bend = -bend  # fan out to the same side, whichever way the arrow points
    arrow = FancyArrowPatch(
        start.at,
        stop.at,
        connectionstyle=f"arc3,rad={bend}",
        arrowstyle="-|>",
        mutation_scale=11,
        patchA=_circle(ax, start),
        patchB=_circle(ax, stop),
        shrinkA=1,
        shrinkB=2,
        color=INK,
        lw=1.1,
        zorder=2,
    )
    ax.add_patch(arrow)
    # an arc3 curve bends by rad * length, half of it at its middle, to the right of its direction
    middle = (
        (x0 + x1) / 2 + bend * (y1 - y0) / 2,
        (y0 + y1) / 2 - bend * (x1 - x0) / 2,
    )
    _label(ax, middle, f"{parameter.name}\n{_shape(graph, parameter)}")


def _draw_loop(ax: Axes, graph: NetworkGraph, disc: Disc, parameters: Sequence[Parameter]) -> None:
    """A loop on the disc's upper right."""
    x, y = disc.at
    r = disc.radius
    centre = (x + r * 0.95, y + r * 0.95)
    ax.add_patch(Circle(centre, 0.24, fill=False, edgecolor=INK, lw=1.1, zorder=2))
    text = "\n".join(f"{p.name} {_shape(graph, p)}" for p in parameters)
    ax.text(
        centre[0] + 0.3, centre[1] + 0.1, text, ha="left", va="center", size=8, color=INK, parse_math=False, zorder=6
    )


def _draw_stub(ax: Axes, disc: Disc, parameters: Sequence[Parameter]) -> None:
    """Biases and other vectors: a short line below the disc."""
    x, y = disc.at
    top, end = y - disc.radius, y - disc.radius - 0.22
    ax.add_line(Line2D([x, x], [top, end], color=INK, lw=1.1, zorder=2))
    lines = [_names(parameters[k : k + 3]) for k in range(0, len(parameters), 3)]
    _beside(ax, (x, end), "\n".join(lines), -2, 8, INK)


def _draw_hyperedge(ax: Axes, graph: NetworkGraph, parameter: Parameter, discs: dict[str, Disc], number: int) -> None:
    """A square in the middle of its spaces, with a line for each axis; kernel spaces do not pull at it."""
    kernel = kernel_spaces(graph)
    names = [name for name in dict.fromkeys(parameter.spaces) if name not in kernel]
    ends = [discs[name] for name in names or parameter.spaces]
    x = sum(disc.at[0] for disc in ends) / len(ends)
    y = sum(disc.at[1] for disc in ends) / len(ends)
    if len(ends) == 1 or any(math.hypot(x - d.at[0], y - d.at[1]) < d.radius + 0.35 for d in discs.values()):
        x, y = x + COLUMN / 2, y + 0.5 + 0.5 * (number % 2)
    ax.plot([x], [y], "s", color=INK, ms=6, zorder=5)
    for axis in parameter.axes:
        at, aside = discs[axis.space].at, axis.space in kernel
        ax.add_line(Line2D([at[0], x], [at[1], y], color=PALE if aside else INK, lw=0.9 if aside else 1.1, zorder=1))
    _label(ax, (x, y + 0.32), f"{parameter.name}\n{_shape(graph, parameter)}")


def _draw_frame(ax: Axes, graph: NetworkGraph) -> None:
    kinds = [kind for kind in COLOURS if any(space.kind == kind for space in graph.spaces)]
    handles = [Line2D([], [], marker="o", ls="", color=COLOURS[kind], ms=9, label=MEANINGS[kind]) for kind in kinds]
    if handles:
        ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=3, frameon=False, fontsize=9)
    ax.set_title(_title(graph), size=10.5, color=INK)
    ax.set_aspect("equal")
    ax.axis("off")


def _title(graph: NetworkGraph) -> str:
    return f"{graph.numel:,} numbers, log₁₀|G| = {graph.log10_order():.1f}"


def _beside(ax: Axes, at: Point, text: str, points: float, size: float, colour: str) -> None:
    """Text so many points above (or below) a place."""
    side = "bottom" if points > 0 else "top"
    ax.annotate(
        text,
        at,
        xytext=(0, points),
        textcoords="offset points",
        parse_math=False,
        ha="center",
        va=side,
        size=size,
        color=colour,
        zorder=5,
    )


def _label(ax: Axes, at: Point, text: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.2}
    ax.text(
        *at, text, ha="center", va="center", size=8, color=INK, bbox=box, linespacing=1.15, parse_math=False, zorder=3
    )


def _read_and_written(parameter: Parameter) -> tuple[str, str]:
    first, second = parameter.axes
    return (first.space, second.space) if first.power < 0 <= second.power else (second.space, first.space)


def _shape(graph: NetworkGraph, parameter: Parameter) -> str:
    return "×".join(map(str, graph.shape(parameter.name)))


def _names(parameters: Iterable[Parameter]) -> str:
    return ", ".join(parameter.name for parameter in parameters)


def _circle(ax: Axes, disc: Disc) -> Circle:
    """The disc's outline in data coordinates, where an arrow ends."""
    circle = Circle(disc.at, disc.radius)
    circle.set_transform(ax.transData)
    return circle
