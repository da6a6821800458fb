"""Progress in a notebook: a bar in the cell's output, which goes when the work is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from graphws.errors import UsageError
from graphws.printable import printable
from graphws.report.markup import markup
from graphws.reporter import Reporter

LONGEST, FIGURES, EVERY = 300, 4, 0.25
"""Characters of a text, figures beside the bar, and the seconds between two changes of it."""


class NotebookReporter(Reporter):
    """Shows a bar with a forecast for each piece of work, and notes as lines.

    It is what `graphws.convert`, `graphws.find_actions`, `graphws.align.compare`, `graphws.Run.load` and others take as
    ``reporter``.  Nothing but IPython is needed, which every notebook has.

    Args:
        clock: Tells the seconds.

    Raises:
        UsageError: Where there is no IPython.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            from IPython.display import HTML, display
        except ImportError:
            raise UsageError("NotebookReporter shows its bars by IPython, which is not installed here") from None
        self._html, self._display, self._clock = HTML, display, clock
        self._handle: Any = None
        self._title, self._unit = "", ""
        self._total: int | None = None
        self._since = self._drawn = 0.0

    def note(self, text: str) -> None:
        """A line of its own."""
        self._display(self._html(f"<div>{_text(text)}</div>"))

    def start(self, title: str, total: int | None, unit: str) -> None:
        """Show a bar; one that only moves where nobody knows how much there is to do."""
        self.end()
        self._title, self._total, self._unit = title, total, unit
        self._since = self._drawn = self._clock()
        self._handle = self._display(self._html(self._bar(0, {})), display_id=True)

    def step(self, done: int, values: Mapping[str, float]) -> None:
        """Move the bar, a few times a second at most, and at the end."""
        now = self._clock()
        if self._handle is not None and (now - self._drawn >= EVERY or done == self._total):
            self._drawn = now
            self._handle.update(self._html(self._bar(done, values)))

    def end(self) -> None:
        """Take the bar away."""
        if self._handle is not None:
            self._handle.update(self._html(""))
            self._handle = None

    def _bar(self, done: int, values: Mapping[str, float]) -> str:
        figures = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in islice(values.items(), FIGURES)]
        if self._total is None:
            return f"<div>{_text(self._title)} <progress></progress> {_text(', '.join(figures))}</div>"
        total = max(self._total, done)  # an estimate that was too small
        gone = self._drawn - self._since
        left = [f"about {gone / done * (total - done):.0f} s left"] if done and gone >= 1 else []
        said = ", ".join([f"{done:,} of {total:,} {self._unit}", *left, *figures])
        bar = f'<progress value="{done}" max="{max(total, 1)}"></progress>'
        return f"<div>{_text(self._title)} {bar} {_text(said)}</div>"


def _text(text: str) -> str:
    return markup(printable(text, most=LONGEST))
