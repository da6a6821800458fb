"""The commands and their help."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from importlib import metadata
from typing import Annotated, Any

import typer

from graphws import __version__
from graphws.cli import (
    actions,
    align,
    converting,
    experiments,
    graphs,
    predicting,
    reduce,
    results,
    shipped,
    specs,
    zoos,
)
from graphws.cli.commands import ANALYSIS, LEARNING, NETWORKS, Command
from graphws.cli.console import output
from graphws.cli.guard import GuardedGroup

app = typer.Typer(
    name="graphws",
    cls=GuardedGroup,
    help="Learn on the weights of neural networks: typed graphs, their symmetry, and message passing that respects it.",
    epilog="`graphws COMMAND --help` says more; `graphws specs` lists the specs that come along.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _tell_version(wanted: bool) -> None:
    """Says which version this is, and ends the command."""
    if wanted:
        output().print(f"graphws {__version__} (Python {platform.python_version()}, torch {metadata.version('torch')})")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, and what torch.export says of a trace.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_tell_version, help="Print the version, and torch's."),
    ] = False,
) -> None:
    """Options before the command; the guard reads them, and converters ask their logger."""
    logging.getLogger("graphws_converters").setLevel(logging.DEBUG if debug else logging.NOTSET)


COMMANDS: dict[str, dict[str, Callable[..., Any]]] = {
    NETWORKS: {
        "convert": converting.convert_command,
        "inspect": graphs.inspect_command,
    },
    LEARNING: {
        "run": experiments.run_command,
        "train": experiments.train_command,
        "eval": experiments.eval_command,
        "predict": predicting.predict_command,
        "export": predicting.export_command,
        "results": results.results_command,
        "check": specs.check_command,
        "explain": specs.explain_command,
        "schema": specs.schema_command,
    },
    ANALYSIS: {
        "actions": actions.actions_command,
        "align": align.align_command,
        "reduce": reduce.reduce_command,
    },
}
"""The commands of each job, in the order of the help."""

for panel, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, cls=Command, rich_help_panel=panel)(command)
app.add_typer(zoos.app, name="zoo", rich_help_panel=LEARNING)
app.add_typer(shipped.app, name="specs", rich_help_panel=LEARNING)
