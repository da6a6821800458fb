"""``graphws specs``: the specs that come along, listed and copied."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphws.cli.arguments import shipped_names
from graphws.cli.commands import Command
from graphws.cli.console import output, table
from graphws.cli.destinations import JsonOption, OverwriteOption, check_files, name_files, output_option, write_figures
from graphws.errors import UsageError, nearest

app = typer.Typer(
    help="The specs that come along: a list, or one of them copied.",
    invoke_without_command=True,
    rich_markup_mode="markdown",
)


@app.callback()
def list_command(context: typer.Context, as_json: JsonOption = None, overwrite: OverwriteOption = False) -> None:
    """List the specs that come along, which `graphws run`, `check` and `extends:` take by their names."""
    if context.invoked_subcommand is not None:
        return
    from graphws.spec.catalogue import about
    from graphws.spec.shipped import shipped_specs

    check_files({"--json": as_json}, overwrite=overwrite)
    texts = {name: about(name) for name in shipped_specs()}
    write_figures(texts, as_json)
    console = output(as_json)
    console.print(table(["spec", "what it is"], [[name, text.partition(". ")[0]] for name, text in texts.items()]))
    name_files({"figures": as_json}, console)


@app.command("copy", cls=Command)
def copy_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of a shipped spec.", autocompletion=shipped_names)],
    folder: Annotated[Path, output_option("Where to; here by default.", "FOLDER")] = Path(),
    overwrite: OverwriteOption = False,
) -> None:
    """Copy a spec that comes along, with the specs that it extends, to change it."""
    from graphws.runtime.files import write_bytes
    from graphws.spec.catalogue import with_parents
    from graphws.spec.shipped import SUFFIX, shipped_specs

    if name.removesuffix(SUFFIX) not in shipped_specs():
        raise UsageError(f"no shipped spec {name!r}; graphws specs lists them" + nearest(name, shipped_specs()))
    files = with_parents(name)
    if not folder.is_dir():
        raise UsageError(f"--output {folder}: there is no such folder")
    places = {folder / inside: source for inside, source in files.items()}
    for place in places:
        if place.parent.is_dir():
            check_files({"--output": place}, overwrite=overwrite)
    for place, source in places.items():
        place.parent.mkdir(exist_ok=True)
        write_bytes(place, source.read_bytes())
        output().print(str(place))
