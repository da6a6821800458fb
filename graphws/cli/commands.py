"""How commands are taken in and listed: names of options that have changed, and help by job."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from graphws.cli.console import notes

NETWORKS, LEARNING, ANALYSIS = "Networks", "Zoos and training", "Analysis"
"""The jobs under which ``graphws --help`` lists commands."""

RENAMED = {"--out": "--output", "--run": "--folder"}
"""Options of version 0.1 that have another name, and the name; taken until version 0.3."""


class Command(TyperCommand):
    """A command that takes options by their former names, and says what they are called now."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments that no option took."""
        own = {name for parameter in self.params for name in parameter.opts}
        return super().parse_args(ctx, [_present(word, own) for word in args])


def _present(word: str, own: set[str]) -> str:
    """A word of the command line, its option under its present name."""
    name, equals, value = word.partition("=")
    present = RENAMED.get(name)
    if present is None or name in own or present not in own:
        return word
    notes().print(f"note: {name} is now called {present}")
    return present + equals + value
