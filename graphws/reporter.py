"""How long work tells what it is doing, without printing.

The library is silent: a `Reporter` does nothing.  The command line passes one that draws progress bars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Reporter:
    """Hears what a piece of work does; does nothing with it."""

    def note(self, text: str) -> None:
        """Something happened that is worth a line."""

    def start(self, title: str, total: int | None, unit: str) -> None:
        """Work of `total` units (epochs, networks) begins or goes on; of a size that nobody knows where None."""

    def step(self, done: int, values: Mapping[str, float]) -> None:
        """`done` units are finished, more than `total` where that was an estimate; `values` are the latest figures."""

    def end(self) -> None:
        """The work is over, finished or not."""

    @contextmanager
    def work(self, title: str, total: int | None = None, unit: str = "steps") -> Iterator[Progress]:
        """A piece of work from `start` to `end`, whatever ends it; the value counts its steps.

        >>> with Reporter().work("trying elements", 3, "draws") as progress:
        ...     for _ in range(3):
        ...         progress.advance()
        >>> progress.done
        3
        """
        self.start(title, total, unit)
        try:
            yield Progress(self)
        finally:
            self.end()


class Progress:
    """Counts the finished units of a piece of work, and tells its reporter.

    Attributes:
        done: How many units are finished.
    """

    def __init__(self, reporter: Reporter) -> None:
        self.done = 0
        self._reporter = reporter

    def advance(self) -> None:
        """One more unit is finished."""
        self.done += 1
        self._reporter.step(self.done, {})
