"""The intermediate representation: what a network computes, as a list of tensor operations.

Every front end (``torch.export``, the recorder) writes a `Program`; the rules read nothing else.  Operations are those
of PyTorch's ATen library, their arguments bound to the names of the operation's schema, without overloads and in
functional form: ``relu_`` is ``relu``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

Tag = Literal["pointwise", "reduction"]
"""What PyTorch's own tags say of an operation that no rule knows by name."""

NUMBERS = frozenset({"item", "_local_scalar_dense", "is_nonzero", "equal"})
"""Operations that hand numbers to Python."""


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """One tensor of a run.

    Attributes:
        shape: Its sizes.
        dtype: Its type.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype


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
        reads: Tensors whose numbers Python got, and by which call: ``item``, ``numpy``.
        front: Which front end wrote it.
    """

    nodes: list[Node] = field(default_factory=list)
    parameters: dict[str, Value] = field(default_factory=dict)
    constants: dict[Value, Tensor] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    reads: list[tuple[str, Value]] = field(default_factory=list)
    front: str = ""

    def from_data(self) -> set[Value]:
        """The tensors that depend on inputs or parameters."""
        found = {*self.inputs, *self.parameters.values()}
        for node in self.nodes:
            if any(value in found for value in node.values()):
                found.update(value for value in node.outputs if value is not None)
        return found

    def numbers_read(self) -> list[Value]:
        """The tensors that depend on inputs or parameters and whose numbers Python got, each once."""
        known = self.from_data()
        return [value for value in dict.fromkeys(value for _, value in self.reads) if value in known]


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
    if torch.Tag.pointwise in op.tags:
        found.append("pointwise")
    if getattr(torch.Tag, "reduction", None) in op.tags:
        found.append("reduction")
    return frozenset(found)


def base_name(op: Any) -> str:
    """An operation's name without namespace, overload and the underscore of its in-place form."""
    name: str = op._schema.name.split("::")[1]
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
