"""A still picture of a graph in blocks: what the page shows at first, for papers and for places without a browser."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path

from graphws.report.graph.scene import Box, Data, Edge, Frame, Rail, Scene, card_text, radius
from graphws.report.theme import PAGE

COLOURS = {kind: PAGE[kind].light for kind in ("set", "nested", "free")}
INK, PALE, LINE, FRAME, EDGE = (PAGE[name].light for name in ("ink", "faint", "line", "frame", "edge"))
POINTS = 72.0
SCALE = 0.78
"""Points of the scene to points of the paper."""


def draw_blocks(data: Data, title: str, meanings: dict[str, str]) -> Figure:
    """Draws the page data of a graph with the blocks that are open at first.

    Args:
        data: From `graphws.report.graph.page_data.page_data`.
        title: Above the picture.
        meanings: What each kind of space means, for the legend.

    Returns:
        Figure: A figure that pyplot does not know.
    """
    scene = Scene(data)
    width, height = scene.width + 40, scene.height + 40
    inches = (max(6.0, width * SCALE / POINTS), max(2.4, height * SCALE / POINTS + 0.8))
    figure = Figure(figsize=inches)
    below, above = 0.4 / inches[1], 0.4 / inches[1]
    ax = figure.add_axes((0.0, below, 1.0, 1 - below - above))
    ax.set_xlim(-20, inches[0] * POINTS / SCALE - 20)
    ax.set_ylim(scene.height + 20, -20)
    ax.set_aspect("equal", anchor="NW")
    ax.axis("off")
    for frame in scene.frames[1:]:
        _frame(ax, data, frame)
    _families(ax, scene)
    for edge in scene.edges:
        _edge(ax, scene, edge)
    for rail in scene.rails.values():
        _rail(ax, data, rail)
    for box in scene.boxes.values():
        (_card if box.anchor[0] == "c" else _disc)(ax, scene, box)
    kinds = [kind for kind in COLOURS if any(space["kind"] == kind for space in data["spaces"])]
    handles = [Line2D([], [], marker="o", ls="", color=COLOURS[kind], ms=9, label=meanings[kind]) for kind in kinds]
    if handles:
        figure.legend(handles=handles, loc="lower center", ncols=3, frameon=False, fontsize=8.5)
    figure.text(0.5, 1 - 0.12 / inches[1], title, ha="center", va="top", size=10.5, color=INK)
    return figure


def _text(
    ax: Axes,
    x: float,
    y: float,
    text: str,
    size: float = 8.0,
    colour: str = INK,
    ha: str = "center",
    bold: bool = False,
) -> None:
    shown = text if len(text) <= 44 else text[:43] + "…"
    weight = "bold" if bold else "normal"
    ax.text(
        x, y, shown, ha=ha, va="baseline", size=size, color=colour, weight=weight, parse_math=False, zorder=8
    )  # fmt: skip


def _rounded(ax: Axes, x: float, y: float, width: float, height: float, face: str, edge: str, order: float) -> None:
    style = f"round,pad=0,rounding_size={min(8.0, height / 2)}"
    ax.add_patch(
        FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=face, edgecolor=edge, lw=0.9, zorder=order)
    )


def _frame(ax: Axes, data: Data, frame: Frame) -> None:
    face = "white" if frame.depth % 2 else FRAME
    _rounded(ax, frame.x, frame.y, frame.width, frame.height, face, EDGE, 0.1 + 0.01 * frame.depth)
    _text(ax, frame.x + 10, frame.y + 15, data["blocks"][frame.block]["label"], 8.2, PALE, "left", True)


def _size(data: Data, k: int) -> str:
    space = data["spaces"][k]
    size = str(space["size"]) if space["size"] < 100_000 else f"{space['size'] / 1000:.0f}k"
    return size if space["parent"] < 0 else f"{data['spaces'][space['parent']]['extent']}×{size}"


def _compact(count: int) -> str:
    """5,600 or 12 M or 3.4 G."""
    for unit, power in (("G", 9), ("M", 6)):
        if count >= 10**power:
            return f"{count / 10**power:.3g} {unit}"
    return f"{count:,}"


def _mark(ax: Axes, x: float, y: float, mark: str) -> None:
    if mark:
        ax.add_patch(Circle((x, y), 9 if len(mark) > 1 else 7, facecolor="white", edgecolor=LINE, lw=0.9, zorder=6))
        _text(ax, x, y + 3.3, mark, 6.8, INK, bold=True)


def _rail(ax: Axes, data: Data, rail: Rail) -> None:
    space = data["spaces"][rail.space]
    thick, r = 4 + 2.2 * math.log10(space["extent"]), min(16.0, radius(space["extent"]))
    colour = COLOURS[space["kind"]]
    style = f"round,pad=0,rounding_size={thick / 2}"
    bar = FancyBboxPatch((rail.left, rail.y - thick / 2), rail.right - rail.left, thick, boxstyle=style)
    bar.set(facecolor=colour, alpha=0.62, edgecolor="none", zorder=3)
    ax.add_patch(bar)
    ax.add_patch(Circle((rail.left, rail.y), r, facecolor=colour, edgecolor="white", lw=1.2, zorder=5))
    _text(
        ax, rail.left, rail.y + 3.4, _size(data, rail.space), 7.2, INK if space["kind"] != "set" else "white", bold=True
    )
    role = f" · {space['role']}" if space["role"] and space["role"] != space["short"] else ""
    shift = 11 if space["mark"] else 5
    _text(ax, rail.left + r + shift, rail.y - thick / 2 - 5, space["short"] + role, 8.2, INK, "left", True)
    _mark(ax, rail.left + r * 0.8, rail.y - r * 0.8, space["mark"])


def _disc(ax: Axes, scene: Scene, box: Box) -> None:
    k = int(box.anchor[1:])
    space, r = scene.data["spaces"][k], box.width / 2
    outline: dict[str, Any] = (
        {"edgecolor": INK, "ls": (0, (2, 2))} if space["kind"] == "free" else {"edgecolor": "white"}
    )
    ax.add_patch(Circle((box.x, box.y), r, facecolor=COLOURS[space["kind"]], lw=1.2, zorder=5, **outline))
    if space["kind"] == "nested":
        ax.add_patch(Circle((box.x, box.y), r - 3, fill=False, edgecolor="white", lw=0.8, zorder=5))
    _text(ax, box.x, box.y + 3.6, _size(scene.data, k), 7.4, INK if space["kind"] != "set" else "white", bold=True)
    _text(ax, box.x, box.y + box.top + 13, space["short"], 8.2)
    _mark(ax, box.x + r * 0.75, box.y - r * 0.75, space["mark"])
    for row, pin in enumerate(box.pins[:3]):
        more = f" +{len(box.pins) - 3}" if row == 2 and len(box.pins) > 3 else ""
        text, y = scene.label(pin) + more, box.y + box.top + 13 + 12 * (row + 1)
        _text(ax, box.x + 2, y, f"▪ {text}", 7.6, PALE)


def _card(ax: Axes, scene: Scene, box: Box) -> None:
    block = scene.data["blocks"][int(box.anchor[1:])]
    x, y = box.x - box.width / 2, box.y - box.height / 2
    for d in (8, 4, 0) if block["stack"] else (0,):
        _rounded(ax, x + d, y - d, box.width, box.height, "white", LINE, 5 - d / 100)
    _text(ax, box.x, y + 17, block["label"], 8.2, INK, bold=True)
    lines = [card_text(block), *([f"{_compact(block['numel'])} numbers"] if block["stack"] else [])]
    for k, line in enumerate(lines):
        _text(ax, box.x, y + 31 + 13 * k, line, 7.2, PALE)
    dots = block["dots"][:12]
    for n, kind in enumerate(dots):
        centre = (box.x + (n - (len(dots) - 1) / 2) * 11, y + box.height - 12)
        ax.add_patch(Circle(centre, 4, facecolor=COLOURS[kind], zorder=6))


def _families(ax: Axes, scene: Scene) -> None:
    for k, space in enumerate(scene.data["spaces"]):
        child, parent = scene.boxes.get(f"d{k}"), scene.boxes.get(f"d{space['parent']}")
        if child is None or parent is None:
            continue
        start, stop = parent.x - parent.width * 0.3, child.x - child.width * 0.4
        bend = min(start, stop) - 16
        points = [(start, parent.y), (bend, parent.y + 20), (bend, child.y - 20), (stop, child.y - child.width / 4)]
        _line(ax, _curve(points), colour=COLOURS["nested"], style=(0, (1, 1.6)), width=1.6)


def _curve(points: list[tuple[float, float]]) -> Path:
    return Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])


def _line(
    ax: Axes, path: Path, arrow: bool = False, colour: str = LINE, style: object = "-", width: float = 1.0
) -> None:
    patch = FancyArrowPatch(path=path, arrowstyle="-|>" if arrow else "-", mutation_scale=7)
    patch.set(color=colour, linestyle=style, linewidth=width, zorder=2, fill=arrow)
    ax.add_patch(patch)


def _square(ax: Axes, x: float, y: float) -> None:
    ax.add_patch(Rectangle((x - 3.5, y - 3.5), 7, 7, facecolor=LINE, zorder=4))


def _edge(ax: Axes, scene: Scene, edge: Edge) -> None:
    if edge.knot is not None:
        _knot(ax, scene, edge, edge.knot)
    if edge.loop and edge.main == "" and edge.ends and edge.ends[0] in scene.boxes:
        box = scene.boxes[edge.ends[0]]
        ax.add_patch(
            Circle((box.x + box.width * 0.42, box.y - box.width * 0.42), 9, fill=False, edgecolor=LINE, zorder=2)
        )
    if edge.port is None:
        return
    inner, outer, y = edge.port
    box, sign = scene.boxes[edge.main], -1 if edge.side == "left" else 1
    near = (box.x + sign * box.width / 2, y)
    if edge.main[0] == "d":
        dy = max(-0.7, min(0.7, (y - box.y) / (box.width / 2)))
        near = (box.x + sign * math.sqrt(1 - dy * dy) * (box.width / 2 + 1), box.y + dy * box.width / 2)
    points = [(outer, y), (inner, y), near]
    written = edge.main in edge.writes
    _line(ax, Path(points if written else points[::-1]), written, width=1.0 if edge.label else 1.7)
    ends = [(a, a in edge.writes) for a in edge.ends if a != edge.main]
    for end, into in ends:
        if end in scene.rails:
            _leg(ax, scene.rails[end], outer, y, into)
        elif end in scene.boxes:
            other = scene.boxes[end]
            side = 1 if other.x <= outer else -1
            start = other.x + side * (other.width / 2 + 1)
            bend = max(24.0, abs(outer - start) / 2)
            _line(ax, _curve([(start, other.y), (start + side * bend, other.y), (outer - side * bend, y), (outer, y)]))
    if len(ends) > 1 or edge.taps:
        _square(ax, outer, y)
    _text(ax, inner + sign * 6, y - 3.5, scene.label(edge), 7.6, PALE, "right" if sign < 0 else "left")


def _leg(ax: Axes, rail: Rail, x: float, y: float, into: bool) -> None:
    _line(ax, Path([(x, y), (x, rail.y + 6)] if into else [(x, rail.y), (x, y)]), into)
    ax.add_patch(Circle((x, rail.y), 2.4, facecolor=LINE, zorder=4))


def _knot(ax: Axes, scene: Scene, edge: Edge, at: tuple[float, float]) -> None:
    x, y = at
    rails = [end for end in edge.ends if end in scene.rails]
    for end in rails:
        _leg(ax, scene.rails[end], x, y - 6, len(rails) > 1 and end in edge.writes)
    _square(ax, x, y - 5)
    _text(ax, x, y + 11, scene.label(edge), 7.6, PALE)
