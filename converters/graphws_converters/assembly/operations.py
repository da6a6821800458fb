"""The computation as symbols: one operation for each node of a program, whole, so that the file runs by itself.

Every node is written under its row of `graphws.kinds`, with all its arguments; what no row describes is ``opaque``, and
the reason is kept.  Values are called ``x0``, ``x1``, … in the order of the program, constants ``c0``, …; a tensor of
the state dict that became several parameters, or one of another shape, is put together by a step ``stored``.

A trace knows one size of batch.  Where a second program of the same steps was traced at another, sizes in which the two
differ are written as expressions in ``n``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph import Constant, NetworkGraph, Operation, Parameter, Value
from graphws.graph.constant import MOST
from graphws.kinds import kind
from graphws.kinds.attributes import DTYPES, WEIGHTS, size
from graphws.kinds.spellings import FIRST_ONLY, canonical
from graphws_converters.algebra.orders import inverse
from graphws_converters.analysis import ir
from graphws_converters.analysis.interpreter import needed

_LAID_OUT = frozenset({"layout", "device", "pin_memory", "memory_format", "non_blocking", "generator", "copy"})
"""Arguments that say where and how memory is laid out."""


@dataclass(frozen=True)
class Batch:
    """A second program of the same steps, traced with another length of the batch.

    Attributes:
        first: Length of the batch in the program that is written.
        second: In the other.
        program: The other.
    """

    first: int
    second: int
    program: ir.Program

    def size(self, here: int, there: int) -> int | str:
        """A size that is `here` in one program and `there` in the other.

        Raises:
            Fixed: Where no whole multiple of the batch explains it.
        """
        if here == there:
            return here
        times, rest = divmod(there - here, self.second - self.first)
        if rest or times < 1:
            raise Fixed(f"a size is {here} for {self.first} and {there} for {self.second} inputs")
        return size(times, here - times * self.first)


class Fixed(Exception):
    """Why the size of the batch cannot be told apart from other sizes."""


@dataclass(eq=False)
class _Writing:
    program: ir.Program
    batch: Batch | None
    dtype: torch.dtype
    names: dict[ir.Value, str] = field(default_factory=dict)
    steps: list[Operation] = field(default_factory=list)
    constants: list[Constant] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    bytes: int = 0
    count: int = 0


@dataclass(frozen=True)
class Written:
    """A computation as a graph holds it, and the value of each output of the program.

    Attributes:
        operations: The steps.
        inputs: Names of the inputs.
        outputs: Names of the outputs, each once.
        constants: What the steps need besides.
        values: The inputs, described.
        leaves: For each output of the program its name.
        names: For each value of the program its name.
        described: Every value with its shape.
    """

    operations: tuple[Operation, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: tuple[Constant, ...]
    values: tuple[Value, ...]
    leaves: tuple[str, ...]
    names: Mapping[ir.Value, str]
    described: tuple[Value, ...]


def written(
    program: ir.Program, parameters: Mapping[str, Sequence[Parameter]], graph: NetworkGraph, dtype: torch.dtype,
    batch: Batch | None = None,
) -> Written:  # fmt: skip
    """The operations of a program.

    Args:
        program: The program.
        parameters: For each key of the state dict its parameters.
        graph: The graph of these parameters, without operations.
        dtype: Type of the weights when the program was traced; what has it follows the weights later.
        batch: The same program at another length of the batch, if there is one.

    Raises:
        Fixed: Where the second program does not explain the first.
    """
    work = _Writing(program, batch, dtype)
    for k, value in enumerate(program.inputs):
        work.names[value] = f"x{k}"
        other = batch.program.inputs[k] if batch else value
        work.values.append(Value(f"x{k}", tuple(_sizes(work, value.shape, other.shape)), (), _type(work, value.dtype)))
    work.count = len(program.inputs)
    nodes = needed(program)
    others: Sequence[ir.Node | None] = [None] * len(nodes)
    if batch is not None:
        others = needed(batch.program)
        if [node.op for node in nodes] != [node.op for node in others if node is not None]:
            raise Fixed("at another length of the batch other steps are run")
    read = {value for node in nodes for value in node.values()} | set(program.outputs)
    for key, value in program.parameters.items():
        if value in read and key in parameters:
            _parameter(work, value, key, parameters[key], graph)
    for value in program.constants:
        if value in read:
            _constant(work, value)
    for node, twin in zip(nodes, others, strict=True):
        _node(work, node, twin, read)
    leaves = tuple(work.names[value] for value in program.outputs)
    inputs = tuple(work.names[value] for value in program.inputs)
    return Written(tuple(work.steps), inputs, tuple(dict.fromkeys(leaves)), tuple(work.constants),
                   tuple(work.values), leaves, work.names, tuple(_described(work, nodes, others)))  # fmt: skip


def _described(work: _Writing, nodes: Sequence[ir.Node], others: Sequence[ir.Node | None]) -> Iterator[Value]:
    yield from work.values
    steps = {name for operation in work.steps for name in operation.outputs}
    seen: set[str] = set()
    for node, twin in zip(nodes, others, strict=True):
        pairs = zip(node.outputs, node.outputs if twin is None else twin.outputs, strict=False)
        for value, other in pairs:
            if value is None or other is None or value.dtype not in DTYPES.values():
                continue
            if (name := work.names[value]) in steps and name not in seen:
                seen.add(name)
                yield Value(name, tuple(_sizes(work, value.shape, other.shape)), (), _type(work, value.dtype))


def _sizes(work: _Writing, here: Sequence[int], there: Sequence[int]) -> Iterator[int | str]:
    if len(here) != len(there):
        raise Fixed("at another length of the batch a tensor has other axes")
    for a, b in zip(here, there, strict=True):
        yield work.batch.size(a, b) if work.batch else a


def _type(work: _Writing, dtype: torch.dtype) -> str:
    return WEIGHTS if dtype == work.dtype else str(dtype).removeprefix("torch.")


def _parameter(work: _Writing, value: ir.Value, key: str, parts: Sequence[Parameter], graph: NetworkGraph) -> None:
    """A tensor of the state dict: its parameter, or a step that puts it together."""
    orders = parts[0].storage.orders if parts[0].storage else ()
    if len(parts) == 1 and graph.shape(parts[0].name) == value.shape and not orders:
        work.names[value] = parts[0].name
        return
    name = work.names[value] = f"{key}~"
    blocks = sorted(parts, key=lambda part: part.storage.block or () if part.storage else ())
    attributes = _arrangement(blocks, graph, value.shape)
    if attributes is None:
        _opaque(work, [part.name for part in parts], [name], "stored", "its blocks stand in no grid")
        return
    moved = [(axis, order) for axis, order in enumerate(orders) if order]
    names = [f"{name}{k}" for k in range(len(moved))] + [name]
    work.steps.append(Operation("stored", tuple(p.name for p in blocks), (names[0],), tuple(attributes.items())))
    for (axis, order), given, made in zip(moved, names[:-1], names[1:], strict=True):
        place = _fixed(work, torch.tensor(inverse(order)))
        work.steps.append(Operation("index_select", (given, place), (made,), (("dim", axis),)))


def _arrangement(
    parts: Sequence[Parameter], graph: NetworkGraph, shape: tuple[int, ...]
) -> dict[str, tuple[int, ...]] | None:
    """How blocks make a tensor: constants of `graphws.kinds.own.stored`; None where they stand in no grid."""
    storages = [part.storage for part in parts if part.storage is not None]
    if len(storages) != len(parts):
        return None
    each = [_groups(graph.shape(p.name), s.block_shape) for p, s in zip(parts, storages, strict=True)]
    merges = [merged for merged in each if merged is not None]
    columns = _groups(storages[0].seen, shape)
    if len(merges) != len(parts) or columns is None:
        return None
    shared = len(set(merges)) == 1
    found: dict[str, tuple[int, ...]] = {"merges": merges[0] if shared else tuple(n for row in merges for n in row)}
    if len(parts) > 1:
        edges = [set(column) for column in zip(*(s.block or () for s in storages), strict=True)]
        grid = tuple(len(column) for column in edges)
        if math.prod(grid) != len(parts):
            return None
        found["grid"] = grid
    if columns != (1,) * len(shape):
        found["columns"] = columns
    return found


def _groups(fine: Sequence[int], coarse: Sequence[int]) -> tuple[int, ...] | None:
    """How many neighbouring sizes of one shape make each size of another; None where they do not."""
    counts, at = [], 0
    for length in coarse:
        size, start = 1, at
        while (size < length or (size and not length)) and at < len(fine):
            size, at = size * fine[at], at + 1
        if size != length:
            return None
        counts.append(at - start)
    if any(size != 1 for size in fine[at:]):
        return None
    if at < len(fine) and counts:
        counts[-1] += len(fine) - at
    return tuple(counts)


def _constant(work: _Writing, value: ir.Value) -> None:
    work.names[value] = _fixed(work, work.program.constants[value])


def _fixed(work: _Writing, tensor: Tensor) -> str:
    """The name of a new constant."""
    name = f"c{len(work.constants)}"
    work.bytes += tensor.numel() * tensor.element_size()
    try:
        if work.bytes > MOST:
            raise GraphError(f"the constants have more than {MOST} bytes")
        if tensor.is_meta:
            raise GraphError("a constant on the meta device has no numbers")
        work.constants.append(Constant(name, tensor, tensor.dtype == work.dtype and tensor.is_floating_point()))
    except GraphError as error:
        _opaque(work, [], [name], "constant", str(error))
    return name


def _opaque(work: _Writing, inputs: Sequence[str], outputs: Sequence[str], op: str, why: str) -> None:
    attributes = {"name": op[:100], "why": why[:300]}
    work.steps.append(Operation("opaque", tuple(inputs), tuple(outputs), tuple(attributes.items())))


def _node(work: _Writing, node: ir.Node, twin: ir.Node | None, read: set[ir.Value]) -> None:
    outputs = [value for value in node.outputs if value is not None]
    if not outputs:
        return
    for value in outputs:
        if value not in work.names:
            work.names[value] = f"x{work.count}"
            work.count += 1
    names = tuple(work.names[value] for value in outputs)
    single = not any(value in read for value in outputs[1:])
    try:
        call = canonical(node.op, node.arguments, single=single)
        if call is None:
            raise GraphError("the table of kinds has no such call")
        op, arguments = call
        others = canonical(twin.op, twin.arguments, single=single) if twin is not None else None
        operation = _operation(work, op, arguments, others[1] if others else None)
        work.steps.append(
            Operation(op, operation[0], names[:1] if single and node.op in FIRST_ONLY else names, operation[1])
        )
    except GraphError as error:
        _opaque(work, [work.names[value] for value in node.values()], names, node.op, str(error))


def _operation(
    work: _Writing, op: str, arguments: Mapping[str, Any], others: Mapping[str, Any] | None
) -> tuple[tuple[str, ...], tuple[tuple[str, Any], ...]]:
    """Inputs and attributes of a call."""
    row = kind(op)
    operands = {operand.name: operand for operand in row.operands}
    attributes: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in _LAID_OUT or value is None or (name in operands and _has_tensors(value)):
            continue
        if name not in row.attributes:
            if name in operands or value is False:
                continue
            raise GraphError(f"argument {name!r} is not known to the table of kinds")
        found = _attribute(work, value, others[name] if others is not None else value)
        if found != _plain(row.attributes[name].default):
            attributes[name] = found
    if op == "reshape":
        attributes["shape"] = _open_ended(attributes["shape"], arguments["self"])
    attributes = row.checked(attributes)
    inputs: list[str] = []
    for slot in row.slots(attributes):
        value = arguments.get(slot.name)
        inputs += (
            [_name(work, item) for item in value]
            if slot.many and value is not None
            else ([] if slot.many else [_name(work, value)])
        )
    if not any(slot.many for slot in row.operands):
        while inputs and not inputs[-1]:
            inputs.pop()
    return tuple(inputs), tuple(attributes.items())


def _open_ended(shape: tuple[int | str, ...], given: ir.Value) -> tuple[int | str, ...]:
    """The shape of a flattened tensor with its last length left open, so that no size is fixed that need not be."""
    flattens = len(shape) < len(given.shape) and -1 not in shape and isinstance(shape[-1], int)
    return (*shape[:-1], -1) if flattens and all(given.shape) else shape


def _plain(default: Any) -> Any:
    return tuple(default) if isinstance(default, list) else default


def _name(work: _Writing, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, ir.Value):
        return work.names[value]
    raise GraphError(f"a {type(value).__name__} stands where a tensor is read")


def _has_tensors(value: Any) -> bool:
    return isinstance(value, ir.Value) or (
        isinstance(value, list | tuple) and any(isinstance(item, ir.Value) for item in value)
    )


def _attribute(work: _Writing, here: Any, there: Any) -> Any:
    """A constant as graphs hold it; `there` is what stands in its place at the other length of the batch."""
    if isinstance(here, list | tuple):
        if not isinstance(there, list | tuple) or len(here) != len(there):
            raise Fixed("at another length of the batch a step has other constants")
        return tuple(_attribute(work, a, b) for a, b in zip(here, there, strict=True))
    if isinstance(here, torch.dtype):
        if here not in DTYPES.values():
            raise GraphError(f"type {here} is not kept")
        return _type(work, here)
    if isinstance(here, bool) or not isinstance(here, int):
        if here != there and not (isinstance(here, float) and math.isnan(here)):
            raise Fixed("at another length of the batch a step has other constants")
        if isinstance(here, bool | float | str):
            return here
        if isinstance(here, Tensor) and here.numel() == 1:
            return here.item()
        raise GraphError(f"a constant of type {type(here).__name__} is not kept")
    return work.batch.size(here, there) if work.batch else here
