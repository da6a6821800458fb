"""Constants of operations: their types, how they are checked, and sizes that follow the batch.

An attribute is a truth value, a number, a text, or a tuple of such.  A whole number may be written as a *size*, an
expression in ``n``, the length of the first axis of the network's first input: ``n``, ``4*n``, ``n+1``, ``4*n-2``.

>>> checked("ints", "1,2", "stride")
(1, 2)
>>> resolved(("3*n", -1), 5)
(15, -1)
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, Literal

import torch

from graphws.errors import GraphError, nearest

Scalar = bool | int | float | str
Attribute = Scalar | tuple[Scalar, ...]
AttributeType = Literal[
    "bool", "bools", "int", "ints", "number", "numbers", "text", "texts", "dtype", "ints or text", "number or text"
]

WEIGHTS: Final = "weights"
"""The type that a tensor has where it follows that of the weights."""
DTYPES: Final = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.complex32, torch.complex64, torch.complex128),
        *(torch.bool, torch.int8, torch.int16, torch.int32, torch.int64),
        *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
        *(torch.float8_e4m3fn, torch.float8_e5m2),
    )
}
"""Types of tensors by name."""
MOST = 1024
"""How many entries a tuple may have."""
_NOT_FINITE = ("inf", "-inf", "nan")
_SIZE = re.compile(r"(?:(?P<times>[0-9]{1,9})\*)?n(?P<plus>[+-][0-9]{1,12})?")


class Required:
    """Stands where an attribute has no default."""

    def __repr__(self) -> str:
        return "required"


REQUIRED: Final = Required()


def checked(kind: AttributeType, value: object, place: str) -> Attribute:
    """A value as the type asks for it: lists become tuples, ``"1,2"`` two numbers, ``"-inf"`` a number.

    Raises:
        GraphError: On any other value; `place` begins the message.
    """
    if kind == "ints or text":
        kind = "text" if isinstance(value, str) and re.fullmatch("[a-z]+", value) else "ints"
    if kind == "number or text":
        kind = "text" if isinstance(value, str) and value not in _NOT_FINITE else "number"
    if kind in ("bools", "ints", "numbers", "texts"):
        single: AttributeType = kind[:-1]  # type: ignore[assignment]
        parts = value.split(",") if isinstance(value, str) and kind != "texts" else value
        if not isinstance(parts, list | tuple):
            parts = [parts]
        if len(parts) > MOST:
            raise GraphError(f"{place}: {len(parts)} entries, at most {MOST} are allowed")
        return tuple(_single(single, part, place) for part in parts)
    return _single(kind, value, place)


def _single(kind: AttributeType, value: object, place: str) -> Scalar:
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "int":
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and _SIZE.fullmatch(value):
            return value
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
            return int(value)
    if kind == "number":
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, str) and value in _NOT_FINITE:
            return float(value)
        if isinstance(value, str) and _SIZE.fullmatch(value):
            return value
        if isinstance(value, str) and re.fullmatch(r"-?[0-9.]{1,25}(e-?[0-9]{1,3})?", value):
            return float(value)
    if kind == "text" and isinstance(value, str):
        return value
    if kind == "dtype" and isinstance(value, str):
        if value == WEIGHTS or value in DTYPES:
            return value
        raise GraphError(f"{place}: unknown type {value!r}" + nearest(value, DTYPES))
    raise GraphError(f"{place}: must be {_WORDS[kind]}, got {_shown(value)}")


_WORDS = {"bool": "true or false", "int": "a whole number", "number": "a number", "text": "a text", "dtype": "a type"}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def resolved(value: Any, n: int) -> Any:
    """An attribute with sizes worked out for a batch of n."""
    if isinstance(value, tuple):
        return tuple(resolved(part, n) for part in value)
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    return int(match["times"] or 1) * n + int(match["plus"] or 0)


def size(times: int, plus: int) -> int | str:
    """The expression times·n + plus; a number where it does not depend on n."""
    if times == 0:
        return plus
    return ("n" if times == 1 else f"{times}*n") + (f"{plus:+d}" if plus else "")


def follows_batch(value: object) -> bool:
    """Whether a constant depends on n."""
    parts = value if isinstance(value, tuple) else (value,)
    return any(isinstance(part, str) and _SIZE.fullmatch(part) is not None for part in parts)


def written(value: Attribute) -> object:
    """An attribute as JSON holds it: numbers that are not finite as text."""
    if isinstance(value, tuple):
        return [written(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
