"""Where commands write: options, what is looked at before the work begins, and figures as JSON.

One rule for all: a file that exists already is refused before the work, and ``--overwrite`` replaces it.  Folders of
runs and zoos are never replaced: work in them goes on, or is refused by who makes them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from graphws.cli.console import STDOUT, output
from graphws.errors import UsageError
from graphws.files import sweep, write_error
from graphws.finite import finite

if TYPE_CHECKING:
    from graphws.cli.console import Terminal

JsonOption = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        help="Write all figures as JSON; - for standard output, and the text then goes to standard error.",
    ),
]

OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist already.")]


def output_option(text: str, metavar: str = "FILE") -> Any:
    """``-o``, ``--output`` with a help text of its own."""
    return typer.Option("-o", "--output", metavar=metavar, help=text)


def check_files(given: Mapping[str, str | Path | None], *, overwrite: bool = False) -> None:
    """Refuses files that could not be written in the end, before the work begins, and sweeps up after killed writers.

    Args:
        given: What each option names, None where it was not given; ``-`` is standard output.
        overwrite: Whether files that exist are replaced.

    Raises:
        UsageError: Where there is no folder for a file, a folder in its place, or a file that is not to be replaced;
            where the folder cannot be written to, or two options name one file.
    """
    files = {option: Path(path) for option, path in given.items() if path is not None and str(path) != STDOUT}
    met: dict[Path, str] = {}
    for option, path in files.items():
        place = path.absolute()
        if place.is_dir():
            raise UsageError(f"{option} {path}: this is a folder; name a file")
        if not place.parent.is_dir():
            raise UsageError(f"{option} {path}: there is no folder {path.parent}")
        if place.exists() and not overwrite:
            raise UsageError(f"{option} {path}: exists already; give --overwrite to replace it")
        if place in met:
            raise UsageError(f"{option} {path}: is the file of {met[place]}, too")
        met[place] = option
        sweep(place.parent, place.name)
        _check_folder_takes_files(option, path)


def _check_folder_takes_files(option: str, path: Path) -> None:
    """Tries it: whether a folder can be written to depends on more than its mode."""
    try:
        with tempfile.TemporaryFile(dir=path.absolute().parent):
            pass
    except OSError as error:
        raise UsageError(f"{option}: {write_error(path, error)}") from None


def check_folder(option: str, path: Path, *, overwrite: bool = False) -> None:
    """Refuses a folder for several files that could not be written, or that holds something.

    Raises:
        UsageError: Where a file is in its place, its parent is missing, or it is not empty and nothing is replaced.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"{option} {path}: this is a file; name a folder")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise UsageError(f"{option} {path}: the folder is not empty; give --overwrite to replace files in it")
    _check_folder_takes_files(option, path / "file" if path.is_dir() else path)


def write_figures(figures: Mapping[str, Any] | Sequence[Any], where: str | None) -> None:
    """Writes figures as JSON to a file, or to standard output; numbers that JSON has no word for become null.

    Args:
        figures: What a command found.
        where: What ``--json`` named; nothing is written where None.
    """
    from graphws.runtime.files import write_text

    if where is None:
        return
    text = json.dumps(finite(figures), indent=2, allow_nan=False) + "\n"
    if where == STDOUT:
        output().lines(text, end="")
    else:
        write_text(Path(where), text)


def name_files(written: Mapping[str, str | Path | None], console: Terminal) -> None:
    """Says which files were written: a line for each, with what it holds."""
    for what, path in written.items():
        if path is not None and str(path) != STDOUT:
            console.print(f"{what}: {path}")
