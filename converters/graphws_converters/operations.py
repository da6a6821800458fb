"""The computation as symbols: one operation for each node of a program, by its ATen name.

Such a graph shows what runs; it is run by its own module.  Values are called ``x0``, ``x1``, … in the order of the
program, constants ``c0``, …; a tensor of the state dict that became several parameters is read as all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from graphws.graph import Operation
from graphws.graph.operation import Attribute
from graphws_converters.analysis.ir import Node, Program, Value, values_in


def operations(
    program: Program, parameters: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[Operation, ...], tuple[str, ...], tuple[str, ...]]:
    """Operations, inputs and outputs of a graph.

    Args:
        program: The program.
        parameters: For each key of the state dict the names of its parameters.
    """
    names: dict[Value, tuple[str, ...]] = {
        value: parameters[key] for key, value in program.parameters.items() if key in parameters
    }
    names |= {value: (f"x{k}",) for k, value in enumerate(program.inputs)}
    found: list[Operation] = []
    for value in program.constants:
        names.setdefault(value, (f"c{len(found)}",))
        found.append(Operation("constant", (), names[value]))
    count = len(program.inputs)
    for node in program.nodes:
        outputs = [value for value in node.outputs if value is not None]
        for value in outputs:
            if value not in names:
                names[value] = (f"x{count}",)
                count += 1
        written = tuple(name for value in outputs for name in names[value])
        read = tuple(name for value in node.values() for name in names[value])
        found.append(Operation(node.op, read, written, tuple(_attributes(node).items())))
    inputs = tuple(name for value in program.inputs for name in names[value])
    given = tuple(dict.fromkeys(name for value in program.outputs for name in names[value]))
    return tuple(found), inputs, given


def _attributes(node: Node) -> dict[str, Attribute]:
    """The constants of a node: numbers and texts as they are, lists of numbers as text."""
    found: dict[str, Attribute] = {}
    for name, value in node.arguments.items():
        kept = _attribute(value)
        if kept is not None:
            found[name] = kept
    return found


def _attribute(value: Any) -> Attribute | None:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple) and value and not any(True for _ in values_in(value)):
        return ",".join(map(str, value))
    return None
