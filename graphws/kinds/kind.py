"""What a kind of operation is: what it reads, its constants and their types, its function, what it does to axes.

>>> from graphws.kinds import kind
>>> print(kind("leaky_relu"))
leaky_relu(self, negative_slope: number = 0.01)
>>> import torch
>>> kind("leaky_relu")(torch.tensor([-1.0, 2.0]), negative_slope=0.5)
tensor([-0.5000,  2.0000])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from graphws.errors import GraphError, nearest
from graphws.kinds.attributes import REQUIRED, Attribute, AttributeType, checked
from graphws.kinds.parts import NO_PART, Part
from graphws.shown import Shown

Axes = Literal["keeps", "pools", "mixes", "moves", "pads", "makes"]
"""What a kind does to the axes of what it reads.

* ``keeps``: every entry is made from the entry (or the row) at the same place;
* ``pools``: some axes are summed up and go;
* ``mixes``: entries along some axes are made from all entries along them;
* ``moves``: the same entries, in another arrangement;
* ``pads``: the same entries in the same places, with others around them;
* ``makes``: entries that depend on sizes and constants alone.
"""


@dataclass(frozen=True, repr=False)
class Operand(Shown):
    """A tensor that a kind reads, or a list of them.

    Attributes:
        name: What the function calls it.
        optional: Whether it may be left out.
        many: 0 for one tensor, else a list: its length, or -1 for any length.
    """

    name: str
    optional: bool = False
    many: int = 0


@dataclass(frozen=True)
class AttributeField:
    """A constant of a kind: its type, and the value that it has where nothing is said (`REQUIRED`: there is none)."""

    type: AttributeType
    default: Any = REQUIRED


@dataclass(frozen=True, eq=False, repr=False)
class Kind(Shown):
    """One row of the table of kinds.

    Attributes:
        name: By which graphs name it.
        operands: The tensors that it reads, in order.
        attributes: Its constants.  A name that is an operand too (``other`` of an addition) is a number or a tensor.
        function: From operands (in order, None where left out) and attributes by name to a tensor, or several; None for
            what cannot be run.
        axes: See `Axes`.
        pointwise: Whether it is one function of one number, applied to every entry.
        spellings: Other names of the same function in PyTorch's ATen library.
        context: Whether the function also takes ``dtype`` and ``device`` (those of the weights): it makes tensors.
        shape_of: Operands of which only the shape, type or device counts, and no number.
        weight: The operand that is its weight, and the axis of it that says what is written; the others are read.
        from_aten: Whether the row was made of an operation of ATen's, and calls its arguments as ATen does.
        part: What it is among the layers of a network, see `graphws.kinds.parts`.
        batched: The function for a batch of networks at once, see `graphws.kinds.batched`; None where vmap will do.
    """

    name: str
    operands: tuple[Operand, ...]
    attributes: Mapping[str, AttributeField]
    function: Callable[..., Any] | None
    axes: Axes
    pointwise: bool = False
    spellings: tuple[str, ...] = ()
    context: frozenset[str] = field(default_factory=frozenset)
    from_aten: bool = False
    shape_of: frozenset[str] = field(default_factory=frozenset)
    weight: tuple[str, int] | None = None
    batched: Callable[..., Any] | None = None
    part: Part = NO_PART

    def __call__(self, /, *operands: Any, **attributes: Any) -> Any:
        """The function, on operands in order and attributes by name (one of which may be called ``self``)."""
        if self.function is None:
            raise GraphError(f"operation {self.name!r} cannot be run")
        return self.function(*operands, **attributes)

    def checked(self, attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
        """The attributes, each of its type.

        Raises:
            GraphError: On an unknown one, a wrong type, or one that is missing and has no default.
        """
        found = {}
        for name, value in attributes.items():
            if name not in self.attributes:
                raise GraphError(
                    f"operation {self.name!r}: unknown attribute {name!r}" + nearest(name, self.attributes)
                )
            found[name] = checked(self.attributes[name].type, value, f"operation {self.name!r}: attribute {name!r}")
        names = {operand.name for operand in self.operands}
        for name, entry in self.attributes.items():
            if entry.default is REQUIRED and name not in found and name not in names:
                raise GraphError(f"operation {self.name!r}: needs the attribute {name!r} ({entry.type})")
        return found

    def slots(self, attributes: Mapping[str, Attribute]) -> tuple[Operand, ...]:
        """The operands that inputs fill, in order: those that no attribute stands for."""
        return tuple(operand for operand in self.operands if operand.name not in attributes)

    def arranged(self, inputs: Sequence[Any], attributes: Mapping[str, Attribute]) -> dict[str, Any]:
        """Inputs by the names of the operands that they fill; lists as lists, ``""`` and what is missing left out.

        Raises:
            GraphError: On too few or too many inputs.
        """
        slots, left = self.slots(attributes), list(inputs)
        singles = sum(max(slot.many, 1) for slot in slots if slot.many >= 0)
        open_ended = any(slot.many < 0 for slot in slots)
        found: dict[str, Any] = {}
        for slot in slots:
            if slot.many:
                count = slot.many if slot.many > 0 else max(0, len(inputs) - singles)
                found[slot.name], left = [None if x == "" else x for x in left[:count]], left[count:]
            elif left:
                taken = left.pop(0)
                if not (isinstance(taken, str) and taken == ""):
                    found[slot.name] = taken
            number = self.attributes.get(slot.name)
            needed = not slot.optional or (number is not None and number.default is REQUIRED)
            if slot.name not in found and needed:
                raise GraphError(f"operation {self.name!r}: got {len(inputs)} inputs, {slot.name!r} is missing")
        if left or (open_ended and len(inputs) < singles):
            wanted = ", ".join(slot.name for slot in slots)
            raise GraphError(f"operation {self.name!r}: got {len(inputs)} inputs for {wanted or 'no operand'}")
        return found

    def __str__(self) -> str:
        parts = [f"*{o.name}" if o.many else f"{o.name}?" if o.optional else o.name for o in self.operands]
        parts += [
            f"{name}: {entry.type}" + ("" if entry.default is REQUIRED else f" = {entry.default}")
            for name, entry in self.attributes.items()
        ]
        return f"{self.name}({', '.join(parts)})"


Tensors = Tensor | tuple[Tensor, ...] | list[Tensor]
"""What a kind's function gives."""
