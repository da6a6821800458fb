"""Objects that show themselves: a short text at a prompt, HTML in a notebook.

Results hold whole networks, so what Python prints of a dataclass by itself is thousands of characters of tensors.  A
class that is `Shown` says what a person wants to know of it in `__str__`, and its ``repr`` is that text, printable and
of bounded length.  Without a text of its own an object is shown by its fields, tensors by their types and shapes.

A notebook asks an object for HTML.  What draws it stands above everything that is drawn, in `graphws.notebook`, and is
found by name, as converters are: no package below imports it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from enum import Enum
from importlib import import_module
from itertools import islice
from pathlib import PurePath
from typing import Any

from graphws.printable import printable

MOST = 1_500
"""Characters of a ``repr``."""
LINES, LINE = 24, 240
"""Lines of a ``repr``, and characters of one."""
FEW, FIELD = 3, 120
"""Entries of a container, and characters of a field."""
LARGEST = 10**30
"""A whole number that is written out."""
VIEWS = "graphws.notebook.views"
"""The module that makes HTML of objects."""
_PLAIN = (bool, int, float, complex, type(None), Enum, PurePath)


class Shown:
    """Base of what a person gets in hand.

    Law: ``repr`` is `str`, printable and of at most `MOST` characters; a text of one line stands in brackets behind the
    class's name.  A dataclass says ``repr=False``, or its own would come first.

    >>> from dataclasses import dataclass
    >>> @dataclass(repr=False)
    ... class Found(Shown):
    ...     name: str
    ...     figures: dict
    >>> Found("conv1", dict.fromkeys("abcdefgh", 0.5))
    Found(name='conv1', figures={'a': 0.5, 'b': 0.5, 'c': 0.5 and 5 more})
    """

    def __str__(self) -> str:
        return _fields(self) if is_dataclass(self) else type(self).__name__

    def __repr__(self) -> str:
        text, name = str(self), type(self).__name__
        return bounded(text if "\n" in text or text.startswith(name) else f"{name}({text})")

    def _repr_html_(self) -> str | None:
        """HTML for a notebook; None where the text says it all."""
        found: str | None = import_module(VIEWS).html_of(self)
        return found


def bounded(text: str) -> str:
    r"""The beginning of a text, printable: at most `LINES` lines and `MOST` characters.

    >>> print(bounded("\n".join(f"line {k}" for k in range(30))).splitlines()[-1])
    … and 7 more lines
    """
    lines = text.split("\n")
    kept: list[str] = []
    left = MOST - 40
    for line in lines[: LINES if len(lines) <= LINES else LINES - 1]:
        shown = printable(line, most=LINE if len(lines) > 1 else left)
        if len(shown) > left:
            break
        kept.append(shown)
        left -= len(shown) + 1
    rest = len(lines) - len(kept)
    return "\n".join([*kept, f"… and {rest} more lines"] if rest else kept)


def in_brief(value: Any, most: int = FIELD) -> str:
    """A value in at most `most` characters: tensors by type and shape, of containers the first entries.

    >>> in_brief(["conv1", 3, 0.25, None, True])
    "['conv1', 3, 0.25 and 2 more]"
    """
    return printable(_said(value), most=most)


def attributes_in_brief(value: object, names: Sequence[str]) -> str:
    """Some attributes of an object behind the name of its class, each of them `in_brief`."""
    return f"{type(value).__name__}({', '.join(f'{name}={in_brief(getattr(value, name))}' for name in names)})"


def _said(value: Any) -> str:
    if isinstance(value, str):
        return repr(printable(value, most=FIELD))
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    if isinstance(value, int) and abs(value) > LARGEST:
        return f"about 10^{math.log10(abs(value)):.0f}"
    if isinstance(value, _PLAIN):
        return repr(value)
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, Mapping):
        pairs = (f"{in_brief(key)}: {in_brief(item)}" for key, item in value.items())
        return f"{{{_first(pairs, len(value))}}}"
    if isinstance(value, Set):
        return f"[{_first(iter(sorted(in_brief(item) for item in islice(value, MOST))), len(value))}]"
    if isinstance(value, Sequence):
        return f"[{_first((in_brief(item) for item in value), len(value))}]"
    if isinstance(value, Shown):
        return repr(value).split("\n", 1)[0]
    return _fields(value) if is_dataclass(value) and not isinstance(value, type) else f"<{type(value).__name__}>"


def _first(texts: Iterator[str], count: int) -> str:
    shown = ", ".join(islice(texts, FEW))
    return f"{shown} and {count - FEW} more" if count > FEW else shown


def _fields(value: Any) -> str:
    return attributes_in_brief(
        value, [field.name for field in fields(value) if field.repr and not field.name.startswith("_")]
    )
