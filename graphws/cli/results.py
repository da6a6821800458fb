"""``graphws results``: a page of what runs found, beside what papers report.

Imports of the runtime are inside the function: they take seconds, which ``--help`` and mistakes should not cost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphws.cli.arguments import Overrides, ScaleOption
from graphws.cli.console import output
from graphws.cli.destinations import OverwriteOption, check_files, output_option
from graphws.cli.experiments import start
from graphws.errors import UsageError
from graphws.runtime.files import write_text


def results_command(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|SPEC...",
            help="Folders of runs, or copies that --keep made; specs, or names of shipped ones, which are run first.",
        ),
    ],
    overrides: Overrides = None,
    scale: ScaleOption = None,
    out: Annotated[Path | None, output_option("Write the page as Markdown.", "FILE.md")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the page as one HTML document.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="FOLDER", help="Copy what the page needs of each run there, to make it again."),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a page of results from runs: tables, the paper's figures, times, and the command of each run.

    A spec of which a finished run is under runs/ is not run again. Without an option the page is printed.
    """
    from graphws.report.results_page import results_html, results_markdown
    from graphws.runtime.folder import RunFolder
    from graphws.runtime.job import finished_run
    from graphws.runtime.result_pages import entry_of
    from graphws.runtime.result_pages import keep as keep_runs
    from graphws.spec import load_spec
    from graphws.trainings.result_page import read_results

    check_files({"--output": out, "--html": html}, overwrite=overwrite)
    specs = [name for name in runs if _is_spec(name)]
    if (overrides or scale) and not specs:
        raise UsageError("--set and --scale belong to specs, which are run first; runs are as they are")
    wanted = {name: load_spec(name, overrides or (), scale) for name in specs}  # all mistakes before the first run
    done = {}
    for name, spec in wanted.items():
        known = finished_run(spec)
        done[name] = start(name, overrides, scale, None) if known is None else known.path
    folders = [RunFolder(done[name] if name in done else Path(name)) for name in runs]
    if keep is not None:
        folders = keep_runs(folders, keep)
    entries = [entry_of(folder, out, read_results) for folder in folders]
    if out is not None:
        write_text(out, results_markdown(entries))
    if html is not None:
        write_text(html, results_html(entries))
    if out is None and html is None and keep is None:
        output().lines(results_markdown(entries), end="")
    for path in filter(None, (out, html, keep)):
        output().print(f"{path}: {len(folders)} {'run' if len(folders) == 1 else 'runs'}")


def _is_spec(name: str) -> bool:
    """Whether an argument is a spec: a file, or the name of a shipped one where no folder has it."""
    from graphws.spec import find_shipped

    return Path(name).is_file() or (not Path(name).exists() and find_shipped(name) is not None)
