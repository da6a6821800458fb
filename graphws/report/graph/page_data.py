"""What the page of a graph knows, as plain data: spaces, parameters, links and blocks by number."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphws.graph import Action, NetworkGraph, Parameter
from graphws.graph.summary import orbit_count
from graphws.report.graph.blocks import Block, Blocks, blocks
from graphws.report.graph.scene import Scene

MARKS = {Action.SIGNED: "±", Action.SCALING: "+", Action.MONOMIAL: "∗", Action.LINEAR: "GL", Action.PERMUTATION: ""}
"""How an action is written on a space."""
_WORD = re.compile(r"[./]?[^./]+|[./]")
MOST_WORDS = 4
FEW, MANY = 16, 90
"""So many spaces are all shown at first; so many boxes are the most that a page opens with."""
WIDEST = 2600.0
"""In points, how wide a picture may be at first."""


@dataclass(frozen=True)
class Numbered:
    """Blocks in a fixed order, outermost first, with the number of each and of the block around it."""

    blocks: tuple[Block, ...]
    around: dict[str, int]
    number: dict[str, int]


def numbered(made: Blocks) -> Numbered:
    """Numbers the blocks; the root is 0."""
    order, around, number = [made.root], {made.root.path: -1}, {made.root.path: 0}
    for block in order:
        for child in block.blocks.values():
            around[child.path] = number[block.path]
            number[child.path] = len(order)
            order.append(child)
    return Numbered(tuple(order), around, number)


def shown_names(names: Sequence[str]) -> list[str]:
    """The last word of each name, or as many of its last words as tell it from the others; at most four.

    A number alone says nothing, so it never stands alone.

    >>> shown_names(["h.0.attn.c_attn/heads", "layer.0.query/head", "layer.0.value/head"])
    ['heads', 'query/head', 'value/head']
    """
    shown = [""] * len(names)
    words = [_WORD.findall(name) for name in names]
    waiting = list(range(len(names)))
    for count in range(1, MOST_WORDS + 1):
        texts = {k: "".join(words[k][-count:]).lstrip("./") for k in waiting}
        often = Counter(texts.values())
        for k in waiting:
            shown[k] = texts[k] or names[k]
        waiting = [k for k in waiting if often[texts[k]] > 1 or texts[k].isdecimal()]
    return shown


def page_data(graph: NetworkGraph, made: Blocks | None = None) -> dict[str, Any]:
    """Everything that the page draws and says, ready for JSON; the same graph gives the same data."""
    made = made or blocks(graph)
    numbers = numbered(made)
    space_number = {space.name: k for k, space in enumerate(graph.spaces)}
    parameter_number = {parameter.name: k for k, parameter in enumerate(graph.parameters)}
    block_of_link = {k: numbers.number[block.path] for block in numbers.blocks for k in block.links}
    labels = _labels(made, numbers)
    links = [
        {
            "label": labels[k],
            "name": ".".join((*link.container, link.label)),
            "params": [parameter_number[name] for name in link.parameters],
            "reads": [space_number[name] for name in link.reads],
            "writes": [space_number[name] for name in link.writes],
            "taps": [space_number[name] for name in link.taps],
            "loop": link.loops,
            "block": block_of_link[k],
        }
        for k, link in enumerate(made.links)
    ]
    data: dict[str, Any] = {
        "spaces": _spaces(graph, made, numbers, space_number, parameter_number),
        "params": _parameters(graph),
        "links": links,
        "blocks": [_block(graph, made, numbers, block, space_number) for block in numbers.blocks],
        "taps": [space_number[name] for name in made.taps],
        "open": sorted(numbers.number[path] for path in opened(made, numbers)),
    }
    last_first = [numbers.number[block.path] for block in made.root.walk()][:0:-1]
    for number in last_first:  # so that the first blocks stay open to their innermost
        if number in data["open"] and Scene(data).width > WIDEST:
            data["open"].remove(number)
    return data


def _labels(made: Blocks, numbers: Numbered) -> dict[int, str]:
    """What each link is called inside its block."""
    labels: dict[int, str] = {}
    for block in numbers.blocks:
        names = [".".join((*made.links[k].container, made.links[k].label)) for k in block.links]
        # a module's query and value may share a tensor; the same name twice is then no reason for a longer one
        distinct = dict(zip(dict.fromkeys(names), shown_names(list(dict.fromkeys(names))), strict=True))
        labels.update({k: distinct[name] for k, name in zip(block.links, names, strict=True)})
    return labels


def opened(made: Blocks, numbers: Numbered) -> set[str]:
    """Paths of the blocks that are open at first.

    All of a small graph; else all but the stacks, so that one block of each kind is seen; else the outermost only, as
    deep as the picture stays small.
    """
    everything = {block.path for block in numbers.blocks}
    if len(made.home) <= FEW:
        return everything
    wanted = {made.root.path}
    waiting = [made.root]
    boxes = sum(map(len, made.root.columns))
    for block in waiting:
        for child in block.blocks.values():
            inside = sum(map(len, child.columns))
            if not child.stack and boxes + inside <= MANY:
                wanted.add(child.path)
                waiting.append(child)
                boxes += inside
    return wanted


def _spaces(
    graph: NetworkGraph, made: Blocks, numbers: Numbered, number: dict[str, int], parameters: dict[str, int]
) -> list[dict[str, Any]]:
    factors = iter(graph.group().factors)
    users: dict[str, list[int]] = {space.name: [] for space in graph.spaces}
    below: dict[str, list[int]] = {space.name: [] for space in graph.spaces}
    for parameter in graph.parameters:
        for name in dict.fromkeys(parameter.spaces):
            users[name].append(parameters[parameter.name])
    for space in graph.spaces:
        for ancestor in graph.lineage(space.name)[:-1]:
            below[ancestor.name].append(number[space.name])
    homes: dict[str, list[str]] = {}
    for space in graph.spaces:
        homes.setdefault(made.home.get(space.name, ""), []).append(space.name)
    short = {name: text for names in homes.values() for name, text in zip(names, shown_names(names), strict=True)}
    return [
        {
            "name": space.name,
            "short": short[space.name],
            "kind": space.kind,
            "size": space.size,
            "extent": graph.extent(space.name),
            "parent": -1 if space.parent is None else number[space.parent],
            "below": below[space.name],
            "action": str(space.action) if space.moves else "",
            "mark": MARKS[space.action] if space.moves else "",
            "factor": next(factors) if space.moves else "",
            "orbits": math.prod(s.size for s in graph.lineage(space.name) if not s.moves),
            "role": space.role,
            "reason": space.reason,
            "users": users[space.name],
            "home": numbers.number.get(made.home.get(space.name, ""), 0),
        }
        for space in graph.spaces
    ]


def _parameters(graph: NetworkGraph) -> list[dict[str, Any]]:
    known: dict[object, int] = {}
    rows = []
    for parameter in graph.parameters:
        form = _form(graph, parameter)
        if form not in known:
            known[form] = orbit_count(graph, parameter.name)
        shape = graph.shape(parameter.name)
        storage = parameter.storage
        keys = [storage.key, *storage.aliases] if storage else [parameter.name]
        rows.append(
            {
                "name": parameter.name,
                "axes": ", ".join(map(str, parameter.axes)),
                "shape": list(shape),
                "numel": math.prod(shape),
                "orbits": known[form],
                "kind": parameter.kind,
                "key": ", ".join(keys),
            }
        )
    return rows


def _form(graph: NetworkGraph, parameter: Parameter) -> object:
    """What decides the number of orbits: parameters of equal form have equally many."""
    order: dict[str, int] = {}
    return tuple(
        (axis.inner, tuple((order.setdefault(s.name, len(order)), s.kind, s.size) for s in graph.lineage(axis.space)))
        for axis in parameter.axes
    )


def _block(
    graph: NetworkGraph, made: Blocks, numbers: Numbered, block: Block, space_number: dict[str, int]
) -> dict[str, Any]:
    paths = {part.path for part in block.walk()}
    inside = [space for space in graph.spaces if made.home.get(space.name) in paths]
    names = [name for part in block.walk() for k in part.links for name in made.links[k].parameters]

    def code(item: str) -> str:
        what, _, name = item.partition(":")
        return {"space": lambda: f"s{space_number[name]}", "block": lambda: f"b{numbers.number[name]}"}.get(
            what, lambda: f"l{name}"
        )()

    shown = next(iter(block.blocks.values()), block) if block.stack else block
    first = {part.path for part in shown.walk()}
    return {
        "path": block.path,
        "label": block.label,
        "stack": block.stack,
        "parent": numbers.around[block.path],
        "children": [numbers.number[path] for path in block.blocks],
        "columns": [[code(item) for item in column] for column in block.columns],
        "rails": [[space_number[name], lane] for name, lane in block.rails.items()],
        "spaces": len(inside),
        "tensors": len(names),
        "numel": sum(math.prod(graph.shape(name)) for name in names),
        "dots": [space.kind for space in inside if made.home[space.name] in first],
    }
