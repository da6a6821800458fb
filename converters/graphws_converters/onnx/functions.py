"""How large a model becomes when its local functions are inlined, counted without inlining.

A function that calls another twice doubles it, so that n levels of 70 bytes make 2^n nodes.  The count of a function is
that of its own nodes and of the functions that they call, each function counted once: the work is that of reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto

from graphws.errors import DataError

Key = tuple[str, str, str]


def check_functions(file: Path, model: ModelProto, most_nodes: int, most_bytes: int) -> None:
    """Refuses what would grow too large.

    Raises:
        DataError: Where functions call each other in a circle, or inlining makes more nodes or bytes of constants.
    """
    bodies = {_key(function): function.node for function in model.functions}
    sizes: dict[Key, tuple[int, int]] = {}
    for first in bodies:
        stack, entered = [first], set[Key]()
        while stack:
            key = stack[-1]
            if key in sizes:
                stack.pop()
                continue
            calls = [inner for node in _nodes(bodies[key]) if (inner := _called(node)) in bodies]
            missing = [inner for inner in dict.fromkeys(calls) if inner not in sizes]
            if not missing:
                sizes[key] = _size(bodies[key], sizes)
                stack.pop()
            elif key in entered:
                raise DataError(f"{file}: its local function {key[1][:80]!r} calls itself")
            else:
                entered.add(key)
                stack += missing
    nodes, numbers = _size(model.graph.node, sizes)
    if nodes > most_nodes:
        raise DataError(f"{file}: with its local functions inlined it has {_count(nodes)} nodes, at most {most_nodes}")
    if numbers > most_bytes:
        raise DataError(
            f"{file}: with its local functions inlined its constants have {_count(numbers)} bytes, at most {most_bytes}"
        )


def _size(nodes: Iterable[NodeProto], sizes: dict[Key, tuple[int, int]]) -> tuple[int, int]:
    """Nodes, and bytes of constants, of a body whose calls are known."""
    count, numbers = 0, 0
    for node in _nodes(nodes):
        inner = sizes.get(_called(node))
        count += 1 if inner is None else inner[0]
        numbers += node.ByteSize() if inner is None else inner[1]
    return count, numbers


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    """Nodes, and those of the graphs in their attributes."""
    left: list[Any] = [nodes]
    while left:
        for node in left.pop():
            yield node
            for attribute in node.attribute:
                graphs: list[GraphProto] = [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]
                left += [graph.node for graph in graphs]


def _key(function: Any) -> Key:
    return _domain(function.domain), function.name, getattr(function, "overload", "")


def _called(node: NodeProto) -> Key:
    return _domain(node.domain), node.op_type, getattr(node, "overload", "")


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _count(number: int) -> str:
    return str(number) if number < 10**12 else f"more than 10^{len(str(number)) - 1}"
