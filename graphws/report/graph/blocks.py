"""The blocks of a graph: which spaces and links belong together, and in which order they are drawn.

Modules are nested by their names, ``encoder.layer.3.attention``; a *block* is such a prefix that owns spaces of its
own: all parameters that touch them lie inside.  A residual stream belongs to no layer, so it belongs to the block that
holds all its layers, and as many of them meet at it, it is drawn as a *rail* that runs along them.

Every block is a row of columns from left to right.  An item stands one column right of the items whose values it
reads, directly or off a rail, so that branches stand above each other and steps beside each other.  Runs of equal
blocks (the layers of a transformer) become the first of them and a *stack* of the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush

from graphws.graph import NetworkGraph
from graphws.report.graph.links import Link, links
from graphws.report.graph.positions import kernel_spaces

SHORTEST_RUN = 3
"""How many equal blocks in a row make a stack."""
MANY_ENDS = 4
"""A space that so many items meet at is a rail."""


@dataclass
class Block:
    """A block.

    Attributes:
        path: Its id: the modules' names joined by dots; for a stack those of its first and last block.
        label: Its name inside the block around it.
        stack: Whether it only stacks equal blocks.
        columns: Items from left to right: ``space:NAME`` (with its children), ``block:PATH``, ``link:NUMBER``.
        rails: Spaces drawn as rails, with their lanes, 0 the topmost.
        blocks: The blocks inside, by path.
        links: Numbers of its own links.
    """

    path: str
    label: str
    stack: bool = False
    columns: list[list[str]] = field(default_factory=list)
    rails: dict[str, int] = field(default_factory=dict)
    blocks: dict[str, Block] = field(default_factory=dict)
    links: list[int] = field(default_factory=list)

    def walk(self) -> Iterator[Block]:
        """It and all blocks inside, outermost first."""
        yield self
        for block in self.blocks.values():
            yield from block.walk()


@dataclass(frozen=True)
class Blocks:
    """A graph in blocks.

    Attributes:
        root: The outermost block.
        links: All links, in the order of the data flow.
        taps: Kernel spaces, which stand aside.
        home: For each other space the path of its block.
    """

    root: Block
    links: tuple[Link, ...]
    taps: tuple[str, ...]
    home: dict[str, str]


Path = tuple[str, ...]


def blocks(graph: NetworkGraph) -> Blocks:
    """The blocks of a graph; the same graph gives the same blocks."""
    made = links(graph)
    taps = tuple(kernel_spaces(graph))
    top = {space.name: graph.lineage(space.name)[0].name for space in graph.spaces}
    homes = _homes(graph, made, top, set(taps))
    owners = _prefixes({home for home in homes.values() if home})
    root = Block("", "")
    by_path: dict[Path, Block] = {(): root}
    for path in sorted(owners, key=lambda path: (len(path), path)):
        around = _deepest(by_path, path)
        label = ".".join(path[len(around) - (path[len(around) :][0].isdecimal() and len(around) > 0) :])
        by_path[path] = by_path[around].blocks.setdefault(".".join(path), Block(".".join(path), label))
    for k, link in enumerate(made):
        by_path[_deepest(by_path, link.container)].links.append(k)
    spaces: dict[str, list[str]] = {}
    for name, home in homes.items():
        spaces.setdefault(".".join(home), []).append(name)
    plan = _Plan(graph, made, top, {name: ".".join(home) for name, home in homes.items()})
    plan.arrange_all(root, spaces)
    for block in list(root.walk()):
        plan.stack(block)
    where = {space.name: ".".join(homes[top[space.name]]) for space in graph.spaces if top[space.name] in homes}
    only = next(iter(root.blocks.values()), root)
    if root.columns == [[f"block:{only.path}"]] and not root.links:
        root = only if not root.rails else root
    return Blocks(root, made, taps, where)


def _deepest(by_path: dict[Path, Block], path: Path) -> Path:
    return next(path[:k] for k in range(len(path), -1, -1) if path[:k] in by_path)


def _homes(graph: NetworkGraph, made: Sequence[Link], top: dict[str, str], taps: set[str]) -> dict[str, Path]:
    """For each family of spaces, by its topmost, the longest prefix of the containers of all links that touch it."""
    homes: dict[str, Path] = {}
    for link in made:
        touched = {top[name] for name in link.spaces}
        for name in touched:
            known = homes.get(name)
            homes[name] = link.container if known is None else _common(known, link.container)
    for space in graph.spaces:
        if top[space.name] == space.name and space.name not in taps:
            homes.setdefault(space.name, ())
    order = {space.name: k for k, space in enumerate(graph.spaces)}
    return dict(sorted(homes.items(), key=lambda entry: order[entry[0]]))


def _prefixes(owners: set[Path]) -> set[Path]:
    """Owners, and elements of lists (``layers.3``) that hold several."""
    elements = {path[:k] for path in owners for k in range(1, len(path)) if path[k - 1].isdecimal()}
    several = {e for e in elements if sum(path[: len(e)] == e for path in owners) > 1}
    return owners | several


def _common(first: Path, second: Path) -> Path:
    length = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        length += 1
    return first[:length]


def _in_order(first: dict[str, int], before: dict[str, set[str]]) -> Iterator[str]:
    """What is read before what reads it; the earlier in the data flow first; a circle is cut at its earliest item."""
    waiting = {item: set(others) for item, others in before.items()}
    after: dict[str, list[str]] = {}
    for item, others in before.items():
        for other in others:
            after.setdefault(other, []).append(item)
    ready = [(first[item], item) for item, others in waiting.items() if not others]
    everything = [(first[item], item) for item in waiting]
    heapify(ready)
    heapify(everything)
    while waiting:
        _, item = heappop(ready or everything)
        if waiting.pop(item, None) is None:
            continue
        yield item
        for other in after.get(item, []):
            if other in waiting:
                waiting[other].discard(item)
                if not waiting[other]:
                    heappush(ready, (first[other], other))


class _Plan:
    """Puts items into columns, rails into lanes and equal blocks into stacks."""

    def __init__(self, graph: NetworkGraph, made: Sequence[Link], top: dict[str, str], home: dict[str, str]) -> None:
        self.graph, self.links, self.top, self.home = graph, made, top, home
        self.single = {name for name in home if sum(t == name for t in top.values()) == 1}

    def arrange_all(self, root: Block, spaces: dict[str, list[str]]) -> None:
        """Arranges every block, outermost first: an inner block orders its steps by the rails around it, too."""
        waiting: list[tuple[Block, list[str]]] = [(root, [])]
        for block, outer in waiting:
            self.arrange(block, spaces.get(block.path, []), outer)
            waiting += [(child, [*outer, *block.rails]) for child in block.blocks.values()]

    def arrange(self, block: Block, spaces: Sequence[str], outer: Sequence[str]) -> None:
        """Columns of a block: an item stands right of those whose values it reads, directly or off a rail."""
        inside = {k: child for child in block.blocks.values() for part in child.walk() for k in part.links}
        inner = {k: part.path for part in block.walk() for k in part.links if part is not block}
        numbers = sorted([*inside, *block.links])
        ends = self._ends(block, numbers, inside, set(spaces))
        rails = [name for name in spaces if name in self.single and self._is_rail(name, numbers, ends, inner)]
        self._lanes(block, rails, numbers)
        flows = {*rails, *outer}
        ranks: dict[str, int] = {}
        written: dict[str, int] = {}
        first: dict[str, int] = {}
        for k in numbers:
            for item in self._items(k, inside, ends, rails):
                first.setdefault(item, k)
        for name in spaces:
            if name not in rails:
                first.setdefault(f"space:{name}", len(self.links))
        uses: dict[str, list[int]] = {item: [] for item in first}
        for k in numbers:
            for item in self._items(k, inside, ends, rails):
                uses[item].append(k)
        before = self._before(uses, inside, ends, rails)
        for item in _in_order(first, before):
            rank = max((ranks[other] + 1 for other in before[item] if other in ranks), default=0)
            for k in uses[item]:
                reads, _ = self._rail_ends(k, flows)
                rank = max([rank, *(written[name] + 1 for name in reads if name in written)])
            ranks[item] = rank
            for k in uses[item]:
                for name in self._rail_ends(k, flows)[1]:
                    written[name] = max(written.get(name, 0), rank)
        used = sorted(set(ranks.values()))
        for rank in used:
            column = [item for item in ranks if ranks[item] == rank]
            loose = [item for item in column if item.startswith("link:")]
            beside = any(item.startswith("block:") for item in column)  # a shortcut must not run through a block
            block.columns += [loose, [i for i in column if i not in loose]] if loose and beside else [column]

    def _before(
        self, uses: dict[str, list[int]], inside: dict[int, Block], ends: dict[int, list[str]], rails: Sequence[str]
    ) -> dict[str, set[str]]:
        """For each item those that it reads directly, not off a rail."""
        before: dict[str, set[str]] = {item: set() for item in uses}
        for item, numbers in uses.items():
            for k in numbers:
                written = {self.top[name] for name in self.links[k].writes}
                if item in {f"space:{name}" for name in written} or (k in inside and item.startswith("block:")):
                    read = {self.top[name] for name in self.links[k].reads}
                    touched = [i for i in self._items(k, inside, ends, rails) if i != item]
                    before[item].update(i for i in touched if i.removeprefix("space:") in read)
                    if item.startswith("space:"):  # written from inside a block
                        before[item].update(i for i in touched if i.startswith("block:"))
        return before

    def _ends(
        self, block: Block, numbers: Sequence[int], inside: dict[int, Block], spaces: set[str]
    ) -> dict[int, list[str]]:
        """Families of this block that each link touches."""
        return {
            k: [t for t in dict.fromkeys(self.top[n] for n in self.links[k].spaces) if t in spaces] for k in numbers
        }

    @staticmethod
    def _is_rail(name: str, numbers: Sequence[int], ends: dict[int, list[str]], inner: dict[int, str]) -> bool:
        """Whether several blocks, or many spaces, meet at a space."""
        met: set[str] = set()
        for k in numbers:
            if name in ends[k]:
                met.update([f"block:{inner[k]}"] if k in inner else [other for other in ends[k] if other != name])
        return sum(item.startswith("block:") for item in met) > 1 or len(met) >= MANY_ENDS

    def _lanes(self, block: Block, rails: Sequence[str], numbers: Sequence[int]) -> None:
        """Rails that run beside each other in time get lanes of their own; the longest the topmost."""
        spans = {}
        for name in rails:
            touched = [k for k in numbers if name in self.links[k].spaces]
            spans[name] = (min(touched), max(touched))
        lanes: list[list[tuple[int, int]]] = []
        for name in sorted(rails, key=lambda name: (spans[name][0] - spans[name][1], spans[name])):
            start, stop = spans[name]
            free = (k for k, lane in enumerate(lanes) if all(stop < a - 2 or b + 2 < start for a, b in lane))
            lane = next(free, len(lanes))
            if lane == len(lanes):
                lanes.append([])
            lanes[lane].append(spans[name])
            block.rails[name] = lane

    def _items(self, k: int, inside: dict[int, Block], ends: dict[int, list[str]], rails: Sequence[str]) -> list[str]:
        """The items of a block that a link touches: a block that holds it, families; else it is one by itself."""
        found = [f"block:{inside[k].path}"] if k in inside else []
        found += [f"space:{name}" for name in ends[k] if name not in rails]
        return found or [f"link:{k}"]

    def _rail_ends(self, k: int, rails: set[str]) -> tuple[list[str], list[str]]:
        link = self.links[k]
        writes = [name for name in link.writes if name in rails]
        alone = len(link.spaces) == 1
        return [name for name in link.reads if name in rails] + (writes if alone else []), writes

    def stack(self, block: Block) -> None:
        """Makes stacks of runs of equal blocks that stand in columns of their own."""
        columns, run = [], []  # type: list[list[str]], list[list[str]]
        for column in [*block.columns, []]:
            alone = len(column) == 1 and column[0].startswith("block:")
            if run and not (alone and self._equal(block, run[-1][0], column[0])):
                columns += self._stacked(block, run)
                run = []
            if alone:
                run.append(column)
            elif column:
                columns.append(column)
        block.columns = columns
        ordered = [item.removeprefix("block:") for column in columns for item in column if item.startswith("block:")]
        block.blocks = {path: block.blocks[path] for path in ordered}

    def _stacked(self, block: Block, run: list[list[str]]) -> list[list[str]]:
        if len(run) < SHORTEST_RUN:
            return run
        inner = [block.blocks.pop(column[0].removeprefix("block:")) for column in run[1:]]
        first, last = inner[0], inner[-1]
        path = f"{first.path} … {last.path}"
        columns = [[f"block:{child.path}"] for child in inner]
        end = last.label.rsplit(".", 1)[-1] if last.label.rsplit(".", 1)[-1].isdecimal() else last.label
        stack = Block(path, f"{first.label} … {end}", True, columns, {}, {child.path: child for child in inner})
        block.blocks[path] = stack
        return [run[0], [f"block:{path}"]]

    def _equal(self, block: Block, first: str, second: str) -> bool:
        one, other = (block.blocks[item.removeprefix("block:")] for item in (first, second))
        return one.label.rstrip("0123456789") == other.label.rstrip("0123456789") and self._form(one) == self._form(
            other
        )

    def _form(self, block: Block) -> tuple[object, ...]:
        """What a block looks like, whatever its name is."""
        names = [name for name, path in self.home.items() if path == block.path or path.startswith(block.path + ".")]
        family = [space.name for space in self.graph.spaces if self.top[space.name] in set(names)]
        number = {name: k for k, name in enumerate(family)}
        spaces = tuple((s.kind, s.size, s.action, number.get(s.parent or "")) for s in map(self.graph.space, family))
        own = [self.links[k] for part in block.walk() for k in part.links]
        parts = tuple(
            (
                link.label,
                tuple(number.get(name, name) for name in (*link.reads, "", *link.writes, "", *link.taps)),
                tuple(self.graph.shape(name) for name in link.parameters),
            )
            for link in own
        )
        return spaces, parts
