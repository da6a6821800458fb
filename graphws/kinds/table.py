"""The closed table of kinds of operations: everything that runs, reads or draws a computation looks here.

Rows are made when they are first asked for.  Two spellings of one function are one row: `kind` knows rows by the names
that graphs use, `spelled` by any name of ATen's.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from graphws.errors import GraphError, nearest
from graphws.kinds import library, own
from graphws.kinds.batched import FORMS
from graphws.kinds.kind import Kind
from graphws.kinds.parts import NO_PART, PARTS


@cache
def _own() -> dict[str, Kind]:
    return {row.name: row for row in own.rows()}


@cache
def _made(name: str) -> Kind | None:
    row = _own().get(name) or library.row(name)
    if row is None:
        return None
    part = PARTS.get(name, NO_PART)
    return replace(row, batched=FORMS.get(name), weight=library.WEIGHTS.get(name), part=part)


@cache
def names() -> frozenset[str]:
    """The name of every row."""
    return frozenset({*_own(), *library.names()})


@cache
def _spellings() -> dict[str, str]:
    return library.spellings() | {other: row.name for row in _own().values() for other in row.spellings}


def kind(name: str) -> Kind:
    """The row of that name.

    Raises:
        GraphError: Where the table has none; the nearest name is in the message.
    """
    row = _made(name) if name in names() else None
    if row is None:
        raise GraphError(f"unknown kind of operation {name!r}" + nearest(name, names()))
    return row


def spelled(name: str) -> Kind | None:
    """The row of an operation of ATen's, by whatever name; None where the table has none."""
    name = _spellings().get(name, name)
    return kind(name) if name in names() and name != "opaque" else None
