"""The intermediate representation: what a network computes, as a list of tensor operations.

Every front end (``torch.export``, the recorder) writes a `Program`; the rules read nothing else.  Operations are those
of PyTorch's ATen library, their arguments bound to the names of the operation's schema, without overloads and in
functional form: ``relu_`` is ``relu``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

Tag = Literal["pointwise", "reduction", "random"]
"""What PyTorch's own tags say of an operation: what kind it is, where no rule knows its name; whether it may draw."""

NUMBERS = frozenset({"item", "_local_scalar_dense", "is_nonzero", "equal"})
"""Operations that hand numbers to Python."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tensor lies in memory.

    Attributes:
        strides: From one element to the next along each axis.
        offset: Where it begins in its storage.
    """

    strides: tuple[int, ...]
    offset: int


def layout_of(tensor: Tensor) -> Layout | None:
    """The layout of a tensor; None where it has none that is known."""
    if tensor.layout != torch.strided:
        return None
    strides, offset = tuple(tensor.stride()), tensor.storage_offset()
    known = all(isinstance(number, int) for number in (*strides, offset))
    return Layout(strides, int(offset)) if known else None


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """One tensor of a run.

    Attributes:
        shape: Its sizes.
        dtype: Its type.
        layout: How it lies in memory.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    layout: Layout | None = None

    def numel(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)


_STILLING = ("train", "training", "dropout", "dropout_p", "p")
"""Arguments that keep an operation from drawing where they are 0 or false."""


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One operation.

    Attributes:
        op: Name in the ATen library, without overload: ``linear``.
        arguments: By name of the schema; tensors are `Value`, possibly inside lists.
        outputs: The tensors that it writes, None for results that are no tensors.
        tags: What PyTorch says of the operation.
        place: Path of the module that ran it; empty where the front end cannot tell.
    """

    op: str
    arguments: Mapping[str, Any]
    outputs: tuple[Value | None, ...]
    tags: frozenset[Tag] = frozenset()
    place: str = ""

    def is_still(self) -> bool:
        """Whether an operation that may draw random numbers does not: a dropout in eval mode, or of 0."""
        return any(self.arguments.get(name, 1) in (False, 0) for name in _STILLING)

    def values(self) -> Iterator[Value]:
        """The tensors that it reads."""
        yield from values_in(self.arguments.values())


@dataclass(eq=False, slots=True)
class Program:
    """What a module computes.

    Attributes:
        nodes: The operations in order.
        parameters: Tensors of the state dict that may be permuted, by key: parameters and floating buffers.
        constants: Tensors that stay: other buffers, literals.
        inputs: What the caller gives.
        outputs: What the caller gets.
        reads: Tensors whose numbers Python got by an operation: ``item``, ``nonzero``.
        escaped: Tensors whose numbers Python got without one: ``numpy``, ``repr``.
        front: Which front end wrote it.
    """

    nodes: list[Node] = field(default_factory=list)
    parameters: dict[str, Value] = field(default_factory=dict)
    constants: dict[Value, Tensor] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    reads: list[Value] = field(default_factory=list)
    escaped: list[Value] = field(default_factory=list)
    front: str = ""

    def from_data(self, *, whole: bool = True, settled: Collection[Value] = ()) -> set[Value]:
        """The tensors that depend on inputs or parameters.

        Args:
            whole: Whether whole numbers and truth values among the inputs count.
            settled: Results of operations that are the same for almost all inputs: they do not count.
        """
        inputs = [x for x in self.inputs if whole or x.dtype.is_floating_point or x.dtype.is_complex]
        found = {*inputs, *self.parameters.values()}
        for node in self.nodes:
            if any(value in found for value in node.values()):
                found.update(value for value in node.outputs if value is not None and value not in settled)
        return found

    def drawing(self) -> list[str]:
        """The operations that draw random numbers, each once."""
        return list(dict.fromkeys(node.op for node in self.nodes if "random" in node.tags and not node.is_still()))

    def numbers_read(self, *, whole: bool = True, settled: Collection[Value] = ()) -> list[Value]:
        """The tensors that depend on inputs or parameters and whose numbers Python got, each once; see `from_data`."""
        known = self.from_data(whole=whole, settled=settled)
        return [value for value in dict.fromkeys([*self.escaped, *self.reads]) if value in known]


def values_in(arguments: object) -> Iterator[Value]:
    """Every `Value` inside nested lists."""
    if isinstance(arguments, Value):
        yield arguments
    elif not isinstance(arguments, str | bytes | Tensor) and hasattr(arguments, "__iter__"):
        for item in arguments:
            yield from values_in(item)


def tags_of(op: Any) -> frozenset[Tag]:
    """The tags of an operation of PyTorch that the rules use."""
    found: list[Tag] = []
    if op.namespace != "aten":
        return frozenset()
    if torch.Tag.pointwise in op.tags:
        found.append("pointwise")
    if getattr(torch.Tag, "reduction", None) in op.tags:
        found.append("reduction")
    if torch.Tag.nondeterministic_seeded in op.tags:
        found.append("random")
    return frozenset(found)


def may_share_memory(name: str) -> bool:
    """Whether what an operation gives may lie in the memory of what it reads: it is a view, or has a form in place."""
    packets = [getattr(torch.ops.aten, form) for form in (name, name + "_") if hasattr(torch.ops.aten, form)]
    schemas = [getattr(packet, overload)._schema for packet in packets for overload in packet.overloads()]
    return any(given.alias_info is not None for schema in schemas for given in schema.returns)


def base_name(op: Any) -> str:
    """An operation's name without overload and the underscore of its in-place form; ATen's without its namespace."""
    name: str = op._schema.name.removeprefix("aten::")
    return name.rstrip("_") if not name.startswith("__") else name


def bind(op: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by the names of the operation's schema, defaults filled in."""
    bound = {}
    for k, argument in enumerate(op._schema.arguments):
        if k < len(args):
            bound[argument.name] = args[k]
        elif argument.name in kwargs:
            bound[argument.name] = kwargs[argument.name]
        elif argument.has_default_value():
            bound[argument.name] = argument.default_value
    return bound
