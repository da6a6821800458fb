"""What a terminal shows: results on stdout, progress and notes on stderr.

Both fall silent or plain by themselves when they are not a terminal, so output can be piped.  Every text passes through
`graphws.printable` here: names and notes from files are shown, never obeyed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from graphws.runtime.reporter import Reporter

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


def output() -> Terminal:
    """Where results go."""
    console = Terminal(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _PIPED
    return console


def _notes() -> Terminal:
    """Where progress goes."""
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


@contextmanager
def working(text: str, console: Terminal | None = None) -> Iterator[None]:
    """Says on stderr what goes on for how long; where that is no terminal, a line when it begins."""
    console = console or _notes()
    if not console.is_terminal:
        console.print(f"{text} ...", markup=False)
        yield
        return
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as shown:
        shown.add_task(printable(text, most=_CELL))
        yield


class Bars(Reporter):
    """Progress bars on stderr; where that is no terminal, a line when a piece of work begins and when it ends."""

    def __init__(self, console: Terminal | None = None) -> None:
        self.console = console or _notes()
        self._progress: Progress | None = None
        self._title, self._last = "", ""

    def note(self, text: str) -> None:
        """A line above the bars."""
        self.console.print(text, markup=False)

    def start(self, title: str, total: int, unit: str) -> None:
        """Show a bar."""
        self._title, self._last = title, ""
        if not self.console.is_terminal:
            self.note(f"{title}: up to {total:,} {unit}")
            return
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}  {task.fields[values]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            refresh_per_second=4,
        )
        self._progress.add_task(printable(title, most=_CELL), total=total, unit=printable(unit, most=_CELL), values="")
        self._progress.start()

    def step(self, done: int, values: Mapping[str, float]) -> None:
        """Move the bar."""
        shown = {name: value for name, value in values.items() if name in _SHOWN or name.startswith("val_")}
        self._last = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items())
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=done, values=printable(self._last, most=_CELL))

    def end(self) -> None:
        """Leave the bar as it stands."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        elif self._last:
            self.note(f"{self._title}: {self._last}")
