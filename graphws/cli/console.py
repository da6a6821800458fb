"""What a terminal shows: results on stdout, progress and notes on stderr.

Both fall silent or plain by themselves when they are not a terminal, so output can be piped.  Every text passes through
`graphws.printable` here: names and notes from files are shown, never obeyed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from graphws.printable import printable
from graphws.reporter import Reporter

STDOUT = "-"
"""The name of standard output among files."""
_PIPED = 200  # columns, where no terminal says how many there are
MOST_ROWS = 2000
"""Rows of a table that are shown."""
_LINE, _CELL = 20_000, 1_000  # characters that a line and a cell of a table may have
_SHOWN = ("train_loss", "val_loss", "psnr", "r2", "accuracy", "equivariance", "networks_per_second")


class Terminal(Console):
    """A console on which a text is one line, whatever is in it; `lines` is for texts whose line breaks are ours."""

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)  # a name between colons is no picture

    def print(self, *objects: Any, **options: Any) -> None:
        """Shows tables as they are and each text on one line, without markup."""
        shown = [printable(one, most=_LINE) if isinstance(one, str) else one for one in objects]
        super().print(*shown, **{"markup": False, **options})

    def lines(self, text: str, end: str = "\n") -> None:
        """Shows a text of several lines."""
        super().print(printable(text, lines=True), markup=False, end=end)


def output(json: str | None = None) -> Terminal:
    """Where a command's text goes: stdout; stderr where the figures as JSON are to have stdout for themselves."""
    console = Terminal(stderr=json == STDOUT, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _PIPED
    return console


def notes() -> Terminal:
    """Where progress and notes go."""
    return Terminal(stderr=True, highlight=False, soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """A table whose columns of numbers stand on the right; of a long one the first rows, and how many more."""
    made = Table(
        *(_cell(column) for column in columns),
        title=None if title is None else _cell(title),
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    for place, column in enumerate(made.columns):
        cells = [row[place] for row in rows]
        if place and any(cells) and all(cell[:1] in "-0123456789" for cell in cells):
            column.justify = "right"
    for row in rows[:MOST_ROWS]:
        made.add_row(*map(_cell, row))
    if len(rows) > MOST_ROWS:
        made.add_row(f"and {len(rows) - MOST_ROWS:,} more")
    return made


def _cell(text: str) -> str:
    return escape(printable(text, most=_CELL))


class Bars(Reporter):
    """Progress bars with a forecast on stderr; nothing where that is no terminal.

    Args:
        console: Where they go.
        log: Whether, where that is no terminal, a piece of work has a line when it begins and one when it ends: for
            jobs of hours, whose output people keep in a file.
    """

    def __init__(self, console: Terminal | None = None, *, log: bool = False) -> None:
        self.console, self._log = console or notes(), log
        self._progress: Progress | None = None
        self._title, self._last = "", ""

    def note(self, text: str) -> None:
        """A line above the bars."""
        self.console.print(text, markup=False)

    def start(self, title: str, total: int | None, unit: str) -> None:
        """Show a bar; a spinner where nobody knows how much there is to do."""
        self.end()
        self._title, self._last = title, ""
        if not self.console.is_terminal:
            if self._log:
                self.note(title if total is None else f"{title}: up to {total:,} {unit}")
            return
        counted = (MofNCompleteColumn(), TextColumn("{task.fields[unit]}  {task.fields[values]}", markup=False))
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            *(() if total is not None else (SpinnerColumn(),)),
            *((BarColumn(bar_width=24), *counted) if total is not None else ()),
            TimeElapsedColumn(),
            *(() if total is None else (TimeRemainingColumn(),)),
            console=self.console,
            refresh_per_second=4,
            transient=not self._log,
        )
        self._progress.add_task(printable(title, most=_CELL), total=total, unit=printable(unit, most=_CELL), values="")
        self._progress.start()

    def step(self, done: int, values: Mapping[str, float]) -> None:
        """Move the bar."""
        shown = {name: value for name, value in values.items() if name in _SHOWN or name.startswith("val_")}
        self._last = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items())
        if self._progress is not None:
            task = self._progress.tasks[0]
            total = None if task.total is None else max(task.total, done)  # an estimate that was too small
            text = printable(self._last, most=_CELL)
            self._progress.update(task.id, completed=done, total=total, values=text)

    def end(self) -> None:
        """Leave the bar as it stands, or nothing where the command has more to say."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        elif self._last and self._log:
            self.note(f"{self._title}: {self._last}")
        self._last = ""
