"""Two ways to write a row of the table: a Python function, or the name of an operation of PyTorch's ATen library.

A function's positional arguments are its operands (``*xs`` a list of them, a default of None an optional one), its
keyword-only arguments its attributes; the annotation tells the type.

An ATen row takes all of that from the operation's own schemas.  The name is written in this package's source; what a
file says is only ever compared with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.kinds.attributes import DTYPES, REQUIRED, AttributeType
from graphws.kinds.kind import AttributeField, Axes, Kind, Operand

_ANNOTATIONS: dict[str, AttributeType] = {
    "bool": "bool",
    "int": "int",
    "float": "number",
    "str": "text",
    "str | None": "dtype",
    "tuple[int, ...]": "ints",
}


def from_function(
    function: Callable[..., Any],
    axes: Axes,
    *,
    name: str | None = None,
    pointwise: bool = False,
    spellings: Sequence[str] = (),
    shape_of: Sequence[str] = (),
) -> Kind:
    """The row of a function with operands first and attributes by keyword."""
    operands, attributes = [], {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            default = REQUIRED if parameter.default is parameter.empty else parameter.default
            attributes[parameter.name] = AttributeField(_ANNOTATIONS[str(parameter.annotation)], default)
        else:
            several = -1 if parameter.kind is parameter.VAR_POSITIONAL else 0
            operands.append(Operand(parameter.name, parameter.default is None, several))

    def run(*given: Any, **constants: Any) -> Any:
        flat = [x for item in given for x in (item if isinstance(item, list) else [item])]
        return function(*flat, **constants)

    made = name or function.__name__
    counted = frozenset(shape_of)
    return Kind(made, tuple(operands), attributes, run, axes, pointwise, tuple(spellings), shape_of=counted)


_TYPES: dict[str, AttributeType] = {
    "bool": "bool",
    "int": "int",
    "float": "number",
    "number": "number",
    "str": "text",
    "Scalar": "number",
}
_CONTEXT = {"device"}
_DROPPED = {"layout", "pin_memory", "memory_format", "non_blocking", "generator", "device"}
"""Where and how memory is laid out is the runner's affair."""


def from_aten(
    name: str,
    axes: Axes,
    *,
    called: str | None = None,
    pointwise: bool = False,
    spellings: Sequence[str] = (),
    lists: dict[str, int] | None = None,
) -> Kind:
    """The row of an operation of ATen, made of all its functional overloads.

    Args:
        name: The operation.
        axes: What it does to axes.
        called: The row's name, where it is another.
        pointwise: Whether it is one function of one number.
        spellings: Other operations of ATen that are the same function.
        lists: Lengths of lists of tensors, where an operation has several lists.
    """
    overloads = _functional(name)
    operands: dict[str, Operand] = {}
    attributes: dict[str, AttributeField] = {}
    context: set[str] = set()
    for overload in overloads:
        for argument in overload._schema.arguments:
            text = str(argument.type)
            if argument.name in _DROPPED:
                context |= {argument.name} & _CONTEXT
                continue
            if "Tensor" in text:
                many = (lists or {}).get(argument.name, -1) if text.startswith("List") else 0
                absent = text.startswith("Optional") or argument.has_default_value()
                old = operands.get(argument.name)
                everywhere = len(overloads) == 1 or all(_has_tensor(o, argument.name) for o in overloads)
                optional = absent or not everywhere or (old is not None and old.optional)
                operands[argument.name] = Operand(argument.name, optional, many)
                continue
            kind = _type(argument)
            default = argument.default_value if argument.has_default_value() else REQUIRED
            if kind == "dtype" and default is not REQUIRED:
                default = None  # schemas number their types
            if default is REQUIRED and not all(_demands(o, argument.name) for o in overloads):
                default = None
            if argument.name in attributes:
                old_field = attributes[argument.name]
                kind = kind if old_field.type == kind else _wider(old_field.type, kind)
                default = old_field.default if old_field.default not in (None, REQUIRED) else default
            attributes[argument.name] = AttributeField(kind, default)
    call = _Call(name, tuple(overloads))
    return Kind(
        called or name,
        tuple(operands.values()),
        attributes,
        lambda *given, **constants: call(tuple(operands), given, constants),
        axes,
        pointwise,
        (*(() if called is None else (name,)), *spellings),
        frozenset(context),
        from_aten=True,
        shape_of=frozenset(operands if axes == "makes" else ("other",) if name.endswith("_as") else ()),
    )


def _functional(name: str) -> list[Any]:
    """The overloads that write into nothing and read no named axes."""
    packet = getattr(torch.ops.aten, name)
    found = []
    for overload in (getattr(packet, each) for each in packet.overloads() if each != "sublist"):
        schema = overload._schema
        texts = [str(argument.type) for argument in schema.arguments]
        writes = any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)
        named = any(
            a.name in ("dimname", "names") or "Dimname" in t for a, t in zip(schema.arguments, texts, strict=True)
        )
        tensors = any("Tensor" in str(result.type) for result in schema.returns)
        odd = any(t in ("complex", "t", "List[t]", "Any", "List[str]") for t in texts) or _of_names(schema)
        if not writes and not named and tensors and not odd:
            found.append(overload)
    return found


def _of_names(schema: Any) -> bool:
    """Whether axes are asked for by name, which schemas show as texts called ``dim``."""
    return any(a.name in ("dim", "dims", "start_dim", "end_dim") and "str" in str(a.type) for a in schema.arguments)


def _demands(overload: Any, name: str) -> bool:
    """Whether an overload cannot do without an argument."""
    return any(a.name == name and not a.has_default_value() and not _nullable(a) for a in overload._schema.arguments)


def _has_tensor(overload: Any, name: str) -> bool:
    return any(a.name == name and "Tensor" in str(a.type) for a in overload._schema.arguments)


def _type(argument: Any) -> AttributeType:
    if argument.name in ("dtype", "out_dtype"):
        return "dtype"
    text = str(argument.type)
    if text.startswith("Optional["):
        text = text.removeprefix("Optional[").removesuffix("]")
    if text.startswith("List["):
        inner = text.removeprefix("List[").removesuffix("]")
        return f"{_TYPES[inner]}s"  # type: ignore[return-value]
    return _TYPES[text]


def _wider(first: AttributeType, second: AttributeType) -> AttributeType:
    """A type that holds both."""
    if {first, second} == {"text", "ints"}:
        return "ints or text"
    if {first, second} == {"text", "number"}:
        return "number or text"
    order: tuple[AttributeType, ...] = ("bool", "int", "number", "text", "bools", "ints", "numbers", "texts")
    return max(first, second, key=order.index)


def aten(name: str, arguments: Mapping[str, Any]) -> Any:
    """What an operation of ATen gives for arguments by the names of its schema; for comparison with rows of the table.

    Raises:
        GraphError: Where no form of it takes them.
    """
    given = {k: v for k, v in arguments.items() if v is not None and (k not in _DROPPED or k in _CONTEXT)}
    return _Call(name, tuple(_functional(name)))((), (), given)


class _Call:
    """Calls the overload that the arguments at hand fit; which one depends on their names and types alone."""

    def __init__(self, name: str, overloads: tuple[Any, ...]) -> None:
        self.name, self.overloads = name, overloads
        self.chosen: dict[tuple[tuple[str, type, bool], ...], tuple[Any, tuple[_Slot, ...]]] = {}

    def __call__(self, names: tuple[str, ...], given: Sequence[Any], constants: dict[str, Any]) -> Any:
        present = {name: x for name, x in zip(names, given, strict=False) if x is not None} | constants
        sorts = tuple((name, type(x), _told_apart(x)) for name, x in present.items())
        if sorts not in self.chosen:
            self.chosen[sorts] = self._choose(present)
        overload, slots = self.chosen[sorts]
        positional, keywords = [], {}
        for slot in slots:
            value = present.get(slot.name, slot.default)
            if slot.dtype and isinstance(value, str):
                value = DTYPES[value]
            if isinstance(value, tuple):
                value = value[0] if slot.single else list(value)
            elif slot.several and value is not None and not isinstance(value, list):
                value = [value]
            if slot.keyword:
                keywords[slot.name] = value
            else:
                positional.append(value)
        return overload(*positional, **keywords)

    def _choose(self, present: Mapping[str, Any]) -> tuple[Any, tuple[_Slot, ...]]:
        for overload in self.overloads:
            arguments = overload._schema.arguments
            known = {argument.name: argument for argument in arguments}
            extra = set(present) - set(known)
            if extra - _CONTEXT or not all(_fits(known[k], v) for k, v in present.items() if k in known):
                continue
            if any(a.name not in present and not a.has_default_value() and not _nullable(a) for a in arguments):
                continue
            return overload, tuple(_slot(argument) for argument in arguments)
        shown = ", ".join(f"{k}: {type(v).__name__}" for k, v in present.items())
        raise GraphError(f"operation {self.name!r}: no form of it takes ({shown})")


@dataclass(frozen=True)
class _Slot:
    """An argument of an overload: how a value gets there."""

    name: str
    default: Any
    keyword: bool
    several: bool
    single: bool
    dtype: bool


def _slot(argument: Any) -> _Slot:
    default = argument.default_value if argument.has_default_value() else None
    text, dtype = str(argument.type), argument.name in ("dtype", "out_dtype")
    return _Slot(argument.name, default, argument.kwarg_only, text.startswith("List["), text == "int", dtype)


def _told_apart(value: Any) -> bool:
    """What besides its type decides which overload a value fits: lists of tensors, and tuples of one."""
    return _of_tensors(value) if isinstance(value, list) else isinstance(value, tuple) and len(value) == 1


def _of_tensors(value: list[Any]) -> bool:
    return any(isinstance(x, Tensor) or x is None for x in value)


def _nullable(argument: Any) -> bool:
    return str(argument.type).startswith("Optional[")


def _fits(argument: Any, value: Any) -> bool:
    """Whether a value is of an argument's type, as far as overloads need telling apart."""
    text = str(argument.type)
    if isinstance(value, Tensor):
        return text in ("Tensor", "Optional[Tensor]")
    if isinstance(value, list) and _of_tensors(value):
        return "List[" in text and "Tensor" in text
    if "Tensor" in text:
        return value is None
    if isinstance(value, tuple | list):  # a list of one may stand for the number
        return "List[" in text or (text == "int" and len(value) == 1)
    if "List[" in text:  # one number may stand for a list of one
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, float):
        return "int" not in text or argument.name in ("dtype",)
    if isinstance(value, str):
        return "str" in text or argument.name in ("dtype", "out_dtype")
    return True
