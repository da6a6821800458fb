"""Arguments that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from graphws.errors import UsageError
from graphws.files import sweep

SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="A spec file, or the name of a shipped spec.")]

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


def check_files(given: Mapping[str, Path | None]) -> None:
    """Refuses files that could not be written in the end, before the work begins, and sweeps up after killed writers.

    Args:
        given: What each option names, None where it was not given.

    Raises:
        UsageError: Where there is no folder for a file, or a folder in its place.
    """
    for option, path in given.items():
        if path is not None and path.is_dir():
            raise UsageError(f"{option} {path}: this is a folder; name a file")
        if path is not None and not path.absolute().parent.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {path.parent}")
        if path is not None:
            sweep(path.absolute().parent, path.name)
