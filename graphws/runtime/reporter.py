"""How the runtime tells what it is doing, without printing.

The library is silent: a `Reporter` does nothing.  The command line passes one that draws progress bars.
"""

from __future__ import annotations

from collections.abc import Mapping


class Reporter:
    """Hears what a run does; does nothing with it."""

    def note(self, text: str) -> None:
        """Something happened that is worth a line."""

    def start(self, title: str, total: int, unit: str) -> None:
        """Work of `total` units (epochs, networks) begins or goes on."""

    def step(self, done: int, values: Mapping[str, float]) -> None:
        """`done` units are finished; `values` are the latest measurements."""

    def end(self) -> None:
        """The work is over, finished or not."""
