"""Arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from graphws.errors import UsageError

SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A spec file, or the name of a shipped spec.")]

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the spec, as in train.epochs=5. Repeatable."),
]


def read_shape(text: str) -> tuple[int, ...]:
    """The shape that --input-shape gives, as in 3,14,14.

    Raises:
        UsageError: On anything but positive whole numbers with commas.
    """
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 0 < int(part) < 1 << 20 for part in parts):
        raise UsageError(f"--input-shape is like 3,14,14: positive numbers with commas; got {text!r}")
    return tuple(int(part) for part in parts)
