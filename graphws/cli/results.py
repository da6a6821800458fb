"""``graphws results``: a page of what runs found, beside what papers report.

Imports of the runtime are inside the function: they take seconds, which ``--help`` and mistakes should not cost.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from graphws.cli.arguments import check_files
from graphws.cli.console import output
from graphws.runtime.files import write_text


def results_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs, or copies that --keep made.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE.md", help="Write the page as Markdown.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write the page as one HTML document.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option("--keep", metavar="FOLDER", help="Copy what the page needs of each run there, to make it again."),
    ] = None,
) -> None:
    """Write a page of results from run folders: tables, the paper's figures, times, and the command of each run.

    Without an option the page is printed.
    """
    from graphws.report.results_page import results_html, results_markdown
    from graphws.runtime.folder import RunFolder
    from graphws.runtime.result_pages import entry_of
    from graphws.runtime.result_pages import keep as keep_runs

    check_files({"--out": out, "--html": html})
    folders = [RunFolder(path) for path in runs]
    if keep is not None:
        folders = keep_runs(folders, keep)
    entries = [entry_of(folder, out) for folder in folders]
    if out is not None:
        write_text(out, results_markdown(entries))
    if html is not None:
        write_text(html, results_html(entries))
    if out is None and html is None and keep is None:
        output().lines(results_markdown(entries), end="")
    for path in filter(None, (out, html, keep)):
        output().print(f"{path}: {len(folders)} {'run' if len(folders) == 1 else 'runs'}")
