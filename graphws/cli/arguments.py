"""Arguments that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from graphws.errors import UsageError


def shipped_names(incomplete: str) -> list[str]:
    """Names of shipped specs that begin so, for a shell that completes."""
    from graphws.spec.shipped import shipped_specs

    return [name for name in shipped_specs() if name.startswith(incomplete)]


SpecArgument = Annotated[
    str,
    typer.Argument(
        metavar="SPEC",
        help="A spec file, or the name of a shipped spec (graphws specs lists them).",
        autocompletion=shipped_names,
    ),
]

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the spec, as in train.epochs=5. Repeatable."),
]

ScaleOption = Annotated[
    str | None, typer.Option("--scale", metavar="NAME", help="Which of the spec's scales to take, as in --scale small.")
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
