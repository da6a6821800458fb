"""The rule table: what is known about each operation of PyTorch's ATen library.

A rule for a new operation is a function with a decorator, and a line in a test::

    @rule("cosine_similarity")
    def cosine_similarity(e: Engine, call: Call) -> Result:
        meeting = e.pointwise([call["x1"], call["x2"]])
        return e.reduce(meeting, [call.get("dim", 1)], keep=False)

It gets the arguments by the names of the operation's schema, tensors among them as `Abstract` (or `Stacked`; see
`Engine.plain`), and gives an `Abstract` for each output.  Unless it says ``powers=True``, everything that it touches is
taken to be unscalable, so a newcomer needs to know nothing about signs and scales.

An operation without a rule is *pointwise* or a *reduction* where PyTorch's tags say so; else all that it touches
becomes free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from graphws_converters.algebra.tensors import Abstract, Stacked
from graphws_converters.analysis.engine import Engine
from graphws_converters.analysis.ir import Node, Value

Result = Abstract | Stacked | list[Any]


class NotCovered(Exception):
    """A rule does not cover this call: whatever it touches becomes free."""


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """One call of an operation.

    Attributes:
        node: The operation.
        arguments: By name; tensors as `Abstract` or `Stacked`.
        shapes: Shape of each output.
        taken_apart: Axes of the first output from which later operations only pick single elements or parts.
        fixed: What a tensor holds that depends on no data; None for others.
        read: Names of the arguments that a rule has asked for.
    """

    node: Node
    arguments: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    taken_apart: Callable[[], set[int]] = field(default=set)
    fixed: Callable[[Value], Tensor | None] = field(default=lambda _: None)
    read: set[str] = field(default_factory=set)

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or the default where it is absent or None."""
        self.read.add(name)
        found = self.arguments.get(name)
        return default if found is None else found

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return self.shapes[0]

    def axis(self, name: str = "dim", default: int = -1) -> int:
        """An axis of the first output, counted from the front."""
        return int(self.get(name, default)) % max(len(self.shape), 1)

    def tensors(self) -> list[Any]:
        """All tensors among the arguments, those inside lists too."""
        self.read.update(self.arguments)
        return self._tensors(self.arguments)

    def places(self, index: object, size: int) -> Tensor | None:
        """Indices into an axis, where they are constant; from the front."""
        found = self.fixed(index) if isinstance(index, Value) else None
        if found is None or found.is_floating_point() or found.is_complex():
            return None
        if found.dtype in (torch.bool, torch.uint8):
            return found.nonzero()[:, 0] if found.ndim == 1 else None
        return found.long() % max(size, 1)

    def shape_of(self, name: str) -> None:
        """Says that of an argument only the shape counts."""
        self.read.add(name)

    def unread(self) -> list[Any]:
        """The tensors among the arguments that the rule did not ask for."""
        return self._tensors(name for name in self.arguments if name not in self.read)

    def _tensors(self, names: Iterable[str]) -> list[Any]:
        found = []
        for value in (self.arguments[name] for name in names):
            found += [v for v in (value if isinstance(value, list | tuple) else [value]) if is_tensor(v)]
        return found


Rule = Callable[[Engine, Call], Result]


@dataclass(frozen=True, eq=False, slots=True)
class Entry:
    """A rule, and whether it states the relations of powers itself."""

    apply: Rule
    powers: bool


RULES: dict[str, Entry] = {}
"""Every rule by the name of its operation; filled when `graphws_converters.rules` is imported."""


def rule(*names: str, powers: bool = False) -> Callable[[Rule], Rule]:
    """Registers a rule.

    Args:
        names: ATen names, without overload and trailing underscore.
        powers: The rule states by itself how powers are related; else nothing that it touches can be scaled.
    """

    def register(function: Rule) -> Rule:
        for name in names:
            assert name not in RULES, f"two rules for {name!r}"
            RULES[name] = Entry(function, powers)
        return function

    return register


def is_tensor(value: object) -> bool:
    """Whether an argument is a tensor."""
    return isinstance(value, Abstract | Stacked)
