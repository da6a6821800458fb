"""The commands and their help."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from graphws.cli import actions, align, converting, experiments, graphs, predicting, reduce, results, specs, zoos
from graphws.cli.guard import GuardedGroup

app = typer.Typer(
    name="graphws",
    cls=GuardedGroup,
    help="Learn on the weights of neural networks: typed graphs, their symmetry, and message passing that respects it.",
    epilog="A spec is a YAML file, or the name of a shipped one: digits-inr, sine-frequency, ...",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, and what torch.export says of a trace.")
    ] = False,
) -> None:
    """Options before the command; the guard reads them, and converters ask their logger."""
    logging.getLogger("graphws_converters").setLevel(logging.DEBUG if debug else logging.NOTSET)


app.command("run")(experiments.run_command)
app.command("train")(experiments.train_command)
app.command("eval")(experiments.eval_command)
app.command("results")(results.results_command)
app.command("predict")(predicting.predict_command)
app.command("export")(predicting.export_command)
app.add_typer(zoos.app, name="zoo")
app.command("check")(specs.check_command)
app.command("schema")(specs.schema_command)
app.command("explain")(specs.explain_command)
app.command("convert")(converting.convert_command)
app.command("inspect")(graphs.inspect_command)
app.command("actions")(actions.actions_command)
app.command("align")(align.align_command)
app.command("reduce")(reduce.reduce_command)
