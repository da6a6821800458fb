"""Files that went wrong, on purpose: random edits of bytes, of JSON documents and of protobuf messages."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from graphws.errors import GraphwsError

NUMBERS = [0, 1, -1, 2, 3, 7, 64, 255, 2**14, 2**24, 2**31 - 1, 2**31, 2**40, 2**53, 2**62, 2**63 - 1, -(2**63)]
TEXTS = ["", "a", "../x", "/etc/passwd", "\0", "a\nb", "é\u202e", "x" * 3000, "0.weight", "F32", "gelu", "__class__"]
LONGEST = 1500
"""Characters that a message may have: a file must not fill a screen with what it says."""


def survives(call: Callable[[], object]) -> bool:
    """Whether a call came to an end; a refusal is an error for readers, in one line, or the test fails."""
    try:
        call()
    except GraphwsError as error:
        text = str(error)
        assert 0 < len(text) <= LONGEST, text[:LONGEST]
        assert len(text.splitlines()) == 1, text
        return False
    return True


@st.composite
def bytes_like(draw: st.DrawFn, seed: bytes) -> bytes:
    """A few bytes changed, lost, inserted or said twice."""
    content = bytearray(seed)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        length = draw(st.sampled_from([1, 1, 2, 4, 8, 16]))
        match draw(st.sampled_from(["bit", "write", "insert", "delete", "repeat", "cut"])):
            case "bit" if content:
                content[place] ^= 1 << draw(st.integers(0, 7))
            case "write":
                content[place : place + length] = draw(_pieces(length))
            case "insert":
                content[place:place] = draw(_pieces(length))
            case "delete":
                del content[place : place + length]
            case "repeat":
                other = draw(st.integers(0, max(len(content) - 1, 0)))
                content[place:place] = content[other : other + 4 * length]
            case _:
                del content[max(place, len(content) - 64) :]
    return bytes(content)


def _pieces(length: int) -> st.SearchStrategy[bytes]:
    numbers = st.sampled_from(NUMBERS).map(lambda n: (n % 2 ** (8 * length)).to_bytes(length, "little"))
    return numbers | st.binary(min_size=length, max_size=length)


def _odd() -> st.SearchStrategy[Any]:
    """A value that nobody expects there."""
    plain = st.sampled_from([None, True, False, 1.5, -0.0, 1e308, float("nan"), float("inf"), 10**30, [], {}, [[]]])
    nested = st.sampled_from([{"a": {"b": [1]}}, [0, 2**62], [-1], ["F32", 1], [1] * 70])
    return plain | nested | st.sampled_from(NUMBERS) | st.sampled_from(TEXTS)


@st.composite
def json_like(draw: st.DrawFn, seed: Any) -> Any:
    """A document in which a few values are replaced, lost, renamed or said twice."""
    document = copy.deepcopy(seed)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(document))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        others = [other[k] for other, k in places]
        match draw(st.sampled_from(["replace", "replace", "replace", "delete", "swap", "rename", "add"])):
            case "replace":
                holder[key] = draw(_odd())
            case "delete":
                del holder[key]
            case "swap":
                holder[key] = copy.deepcopy(draw(st.sampled_from(others)))
            case "rename" if isinstance(holder, dict):
                holder[draw(st.sampled_from(TEXTS))] = holder.pop(key)
            case _ if isinstance(holder, dict):
                holder[draw(st.sampled_from(TEXTS))] = draw(_odd())
            case _:
                holder.append(draw(_odd()))
    return document


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with every key or position in it."""
    keys = list(document) if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else []
    for key in keys:
        yield document, key
        yield from _places(document[key])


@st.composite
def message_like(draw: st.DrawFn, seed: Any) -> Any:
    """A protobuf message in which a few fields are replaced, lost or said twice."""
    message = type(seed)()
    message.CopyFrom(seed)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_fields(message))
        if not places:
            break
        holder, field = draw(st.sampled_from(places))
        value = getattr(holder, field.name)
        if not _repeats(value):
            if field.message_type is not None or draw(st.integers(0, 4)) == 0:
                holder.ClearField(field.name)
            else:
                with contextlib.suppress(ValueError):  # no number of this enumeration
                    setattr(holder, field.name, draw(_scalar(value)))
            continue
        place = draw(st.integers(0, len(value) - 1))
        match draw(st.sampled_from(["delete", "repeat", "replace", "replace"])):
            case "delete":
                del value[place]
            case "repeat":
                value.append(value[place])
            case _ if field.message_type is None:
                value[place] = draw(_scalar(value[place]))
            case _:
                value[place].Clear()
    return message


def _fields(message: Any) -> Iterator[tuple[Any, Any]]:
    """Every message with every field that it has."""
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is not None:
            for inner in value if _repeats(value) else [value]:
                yield from _fields(inner)


def _repeats(value: Any) -> bool:
    return hasattr(value, "append")


def _scalar(old: Any) -> st.SearchStrategy[Any]:
    """Another value of the same type."""
    if isinstance(old, str):
        kinds = ["x", "y", "h", "W", "Relu", "MatMul", "Loop", "If", "Constant", "Reshape", "Gather", "axis", "axes"]
        return st.sampled_from([*(text for text in TEXTS if len(text) < 100), *kinds])
    if isinstance(old, bytes):
        return st.binary(max_size=64) | st.just(old[:-1])
    if isinstance(old, float):
        return st.sampled_from([0.0, -1.0, 1e30, float("nan"), float("inf")])
    small = [n for n in NUMBERS if -(2**31) <= n < 2**31]
    return st.sampled_from([*small, 4, 5, 9, 10, 11, 16]) | st.integers(-3, 12)
