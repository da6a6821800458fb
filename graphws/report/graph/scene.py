"""Where everything stands in the still picture of a graph in blocks.

The same rules as on the page (``page_layout.js``), for the blocks that are open at first: boxes in rows of
columns; discs and cards with ports on their left, where values come in, and on their right, where they leave; rails
above the columns.  All sizes are in points, y runs downwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

GAP, PAD, HEAD, LANE, PORT, TRACK, LETTER, TRAY = 18.0, 14.0, 22.0, 44.0, 16.0, 8.0, 6.1, 58.0

Data = dict[str, Any]


@dataclass
class Edge:
    """A link as it is seen: the ends are anchors, ``d3`` a disc, ``r3`` a rail, ``c7`` a card."""

    reads: list[str]
    writes: list[str]
    label: str = ""
    links: list[int] = field(default_factory=list)
    taps: list[int] = field(default_factory=list)
    loop: bool = False
    main: str = ""
    side: str = ""
    port: tuple[float, float, float] | None = None
    knot: tuple[float, float] | None = None

    @property
    def ends(self) -> list[str]:
        """Every end, once."""
        return list(dict.fromkeys([*self.reads, *self.writes]))

    @property
    def on_rail(self) -> bool:
        """Whether it meets a rail."""
        return any(end[0] == "r" for end in self.ends)


@dataclass
class Box:
    """A disc or a card; ``top`` is the distance from its centre to the upper end of its ports."""

    anchor: str
    width: float
    height: float
    cell: float
    body: float
    top: float
    pins: list[Edge]
    ports: dict[str, list[Edge]]
    x: float = 0.0
    y: float = 0.0


@dataclass
class Rail:
    """A space as a bar."""

    space: int
    y: float
    touched: list[float] = field(default_factory=list)
    left: float = 0.0
    right: float = 0.0


@dataclass
class Frame:
    """An open block."""

    block: int
    x: float
    y: float
    width: float
    height: float
    depth: int


@dataclass
class Item:
    """What a column holds: a family of boxes, an open block or a knot."""

    width: float
    height: float
    boxes: list[Box] = field(default_factory=list)
    inner: Row | None = None
    edge: Edge | None = None


@dataclass
class Column:
    """Items above each other, between two gutters: (room for labels, number of tracks, whole width)."""

    items: list[Item]
    left: tuple[float, float]
    right: tuple[float, float]
    body: float
    height: float

    @property
    def width(self) -> float:
        """With its gutters."""
        return self.left[1] + self.body + self.right[1]


@dataclass
class Row:
    """An open block before it is placed."""

    block: int
    columns: list[Column]
    head: float
    before: float
    most: float
    axis: float
    width: float
    height: float


def radius(extent: int) -> float:
    """12 for one element, 22 for a hundred, at most 34."""
    return min(34.0, 12 + 5 * math.log10(extent))


def text_width(text: str) -> float:
    """About the width of a label; the rest is cut off."""
    return min(len(text), 30) * LETTER


def card_text(block: Data) -> str:
    """What a folded block says of what is in it."""
    if block["stack"]:
        return _counted(len(block["children"]), "equal block")
    return f"{_counted(block['spaces'], 'space')}, {_counted(block['tensors'], 'tensor')}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class Scene:
    """A graph's page data with places for everything that is open.

    Attributes:
        width: Of the picture.
        height: Of the picture.
        boxes: Discs, cards and taps, by anchor.
        rails: By anchor.
        frames: Open blocks, outermost first.
        edges: Links as they are seen.
    """

    def __init__(self, data: Data) -> None:
        self.data, self.opened = data, {0, *data["open"]}
        self.boxes: dict[str, Box] = {}
        self.rails: dict[str, Rail] = {}
        self.frames: list[Frame] = []
        self._ports: dict[tuple[str, str], list[Edge]] = {}
        self._loose: dict[str, list[Edge]] = {}
        self._knots: dict[int, Edge] = {}
        self._anchors()
        self.edges = self._edges()
        self._assign_ports()
        root = self._row(0)
        self._put(root, 0.0, 0.0, 0)
        self._stretch_rails()
        for n, k in enumerate(data["taps"]):
            r = min(15.0, radius(data["spaces"][k]["extent"]))
            box = Box(f"t{k}", 2 * r, 2 * r, 0, 0, r, [], {"left": [], "right": []}, 40 + 74 * n, root.height + 28)
            self.boxes[box.anchor] = box
        self.width = max(root.width, 40 + 74.0 * len(data["taps"]))
        self.height = root.height + (TRAY if data["taps"] else 0)

    def _anchors(self) -> None:
        data = self.data
        self._folded = []
        for k in range(len(data["blocks"])):
            found, block = -1, k
            while block > 0:
                found = block if block not in self.opened else found
                block = data["blocks"][block]["parent"]
            self._folded.append(found)
        railed = {space for block in data["blocks"] for space, _ in block["rails"]}
        self.of = []
        for k, space in enumerate(data["spaces"]):
            card = self._folded[space["home"]]
            kind = "t" if k in data["taps"] else "c" if card >= 0 else "r" if k in railed else "d"
            self.of.append(f"c{card}" if kind == "c" else f"{kind}{k}")

    def _edges(self) -> list[Edge]:
        """One by one where both ends are open, bundled where they end in a card."""
        edges: list[Edge] = []
        bundles: dict[tuple[str, str], Edge] = {}

        def bundle(start: str, stop: str, k: int) -> None:
            if start == stop:
                return
            if (start, stop) not in bundles:
                bundles[start, stop] = Edge([start], [stop])
                edges.append(bundles[start, stop])
            bundles[start, stop].links.append(k)

        for k, link in enumerate(self.data["links"]):
            reads = list(dict.fromkeys(self.of[n] for n in link["reads"]))
            writes = list(dict.fromkeys(self.of[n] for n in link["writes"]))
            card = self._folded[link["block"]]
            inside = f"c{card}" if card >= 0 else next((a for a in (*reads, *writes) if a[0] == "c"), "")
            if not inside:
                edges.append(Edge(reads, writes, link["label"], [k], link["taps"], link["loop"]))
                continue
            for start in reads:
                bundle(start, inside if inside in writes or card >= 0 else (writes or [inside])[0], k)
            for stop in writes:
                bundle(inside, stop, k)
        return edges

    def _assign_ports(self) -> None:
        for edge in self.edges:
            written = [a for a in edge.writes if a[0] in "dc"]
            read = [a for a in edge.reads if a[0] in "dc"]
            if not written and not read:
                self._knots[edge.links[0]] = edge
            elif len(edge.ends) == 1:
                self._loose.setdefault(edge.ends[0], []).append(edge)
            else:
                edge.side, edge.main = ("left", written[0]) if written else ("right", read[-1])
                self._ports.setdefault((edge.main, edge.side), []).append(edge)

    def label(self, edge: Edge) -> str:
        """What is written beside an edge: its name and the sizes of its taps."""
        taps = "×".join(str(self.data["spaces"][k]["size"]) for k in edge.taps)
        return f"{edge.label} {taps}".strip()

    def _box(self, anchor: str) -> Box:
        ports = {side: self._ports.get((anchor, side), []) for side in ("left", "right")}
        most = max(map(len, ports.values()))
        k = int(anchor[1:])
        if anchor[0] == "c":
            block = self.data["blocks"][k]
            label, inside = text_width(block["label"]), text_width(card_text(block))
            width = max(104.0, 1.22 * label + 32, 0.96 * inside + 14, min(len(block["dots"]), 12) * 11 + 20)
            height = 74.0 if block["stack"] else 66.0
            high = max(height, 10.0 * most)
            return Box(anchor, width, height, high + 12, width + (8 if block["stack"] else 0), high / 2, [], ports)
        space, pins = self.data["spaces"][k], self._loose.get(anchor, [])
        r = radius(space["extent"])
        body = max(2 * r, text_width(space["short"]), *(text_width(pin.label) + 10 for pin in pins))
        cell = max(2 * r, PORT * most) + 13 * (1 + min(len(pins), 3)) + 12
        return Box(anchor, 2 * r, 2 * r, cell, body, max(r, PORT * most / 2), pins, ports)

    def _item(self, code: str) -> Item:
        k = int(code[1:])
        if code[0] == "b" and k in self.opened:
            inner = self._row(k)
            return Item(inner.width, inner.height, inner=inner)
        if code[0] == "l":
            edge = self._knots.get(k)
            return Item(max(16.0, text_width(edge.label if edge else "") + 8), 26.0, edge=edge)
        names = [f"c{k}"] if code[0] == "b" else [f"d{n}" for n in (k, *self.data["spaces"][k]["below"])]
        boxes = [self._box(name) for name in names]
        return Item(max(box.body for box in boxes), sum(box.cell for box in boxes), boxes)

    def _gutter(self, items: list[Item], side: str) -> tuple[float, float]:
        edges = [edge for item in items for box in item.boxes for edge in box.ports[side]]
        if not edges:
            return 0.0, 0.0
        label = max(text_width(self.label(edge)) + 12 if edge.label else 8.0 for edge in edges)
        return label, label + 12 + TRACK * sum(edge.on_rail for edge in edges)

    def _row(self, k: int) -> Row:
        block = self.data["blocks"][k]
        columns = []
        for codes in block["columns"]:
            items = [self._item(code) for code in codes]
            height = sum(item.height for item in items) + GAP * (len(items) - 1)
            body = max(item.width for item in items)
            columns.append(Column(items, self._gutter(items, "left"), self._gutter(items, "right"), body, height))
        lanes = max((lane + 1 for _, lane in block["rails"]), default=0)
        head = (HEAD if k else 0.0) + lanes * LANE
        before = 46.0 if lanes else PAD
        single = [column.items[0].boxes[0] for column in columns if _alone(column)]
        axis = max(max([20.0, *(c.height for c in columns)]) / 2 - 10, *(box.top + 4 for box in single), 0.0)
        most = max(20.0, *(c.height for c in columns), *(axis + b.cell - b.top - 4 for b in single), 0.0)
        width = sum(c.width for c in columns) + GAP * max(0, len(columns) - 1) + before + PAD
        width = max(width, text_width(block["label"]) + 50 if k else 0.0)
        return Row(k, columns, head, before, most, axis, width, head + most + 2 * PAD)

    def _put(self, row: Row, x: float, y: float, depth: int) -> None:
        self.frames.append(Frame(row.block, x, y, row.width, row.height, depth))
        for space, lane in self.data["blocks"][row.block]["rails"]:
            self.rails[f"r{space}"] = Rail(space, y + (HEAD if row.block else 4.0) + lane * LANE + 24)
        blocky = any(i.inner or any(b.anchor[0] == "c" for b in i.boxes) for c in row.columns for i in c.items)
        left = x + row.before
        for column in row.columns:
            top = y + row.head + PAD
            at = top + (0.0 if blocky else (row.most - column.height) / 2)
            if not any(item.boxes for item in column.items):
                at = top
            if _alone(column) and not blocky:
                at = top + row.axis - column.items[0].boxes[0].top - 4
            self._put_column(column, left, at, depth)
            left += column.width + GAP

    def _put_column(self, column: Column, left: float, at: float, depth: int) -> None:
        middle = left + column.left[1] + column.body / 2
        tracks = {"left": 0, "right": 0}
        for item in column.items:
            if item.inner is not None:
                self._put(item.inner, middle - item.width / 2, at, depth + 1)
            if item.edge is not None:
                item.edge.knot = (middle, at + 12)
            y = at
            for box in item.boxes:
                box.x, box.y = middle, y + box.top + 4
                self.boxes[box.anchor] = box
                self._put_ports(box, column, tracks)
                y += box.cell
            at += item.height + GAP

    def _put_ports(self, box: Box, column: Column, tracks: dict[str, int]) -> None:
        step = 10.0 if box.anchor[0] == "c" else PORT
        for side, sign in (("left", -1), ("right", 1)):
            edges = box.ports[side]
            room = (column.left if side == "left" else column.right)[0]
            for k, edge in enumerate(edges):
                inner = box.x + sign * (column.body / 2 + 3)
                outer = inner + sign * (room + 4)
                if edge.on_rail:
                    outer += sign * TRACK * tracks[side]
                    tracks[side] += 1
                edge.port = (inner, outer, box.y + (k - (len(edges) - 1) / 2) * step)

    def _stretch_rails(self) -> None:
        for edge in self.edges:
            x = edge.port[1] if edge.port else edge.knot[0] if edge.knot else None
            for end in edge.ends:
                if end[0] == "r" and x is not None:
                    self.rails[end].touched.append(x)
        starts = {frame.block: frame.x for frame in self.frames}
        for rail in self.rails.values():
            start = starts[self.data["spaces"][rail.space]["home"]] + 30
            rail.left = min(rail.touched) - 24 if rail.touched else start
            rail.right = max([rail.left + 60, *(x + 14 for x in rail.touched)])


def _alone(column: Column) -> bool:
    return len(column.items) == 1 and len(column.items[0].boxes) == 1
