"""What ran, and on what, for the fold of a page that a command writes."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def what_ran() -> dict[str, str]:
    """The command as it was typed, without folders of the machine, and versions."""
    from graphws.runtime.environment import versions

    command = command_line(sys.argv)
    return {**({"command": command} if command else {}), **versions()}


def command_line(words: list[str]) -> str:
    """The words that a process was started with as a command; empty where they are another program's.

    >>> command_line(["/usr/bin/graphws", "align", "/data/a.pt", "b c.pt"])
    "graphws align a.pt 'b c.pt'"
    >>> command_line(["/usr/lib/python3/site-packages/graphws/__main__.py", "actions", "net.pt"])
    'graphws actions net.pt'
    >>> command_line(["/usr/bin/pytest", "tests"])
    ''
    """
    from graphws.runtime.request import placeless

    program = Path(words[0]) if words else Path()
    ours = program.stem == "graphws" or (program.name == "__main__.py" and program.parent.name == "graphws")
    return shlex.join(["graphws", *map(placeless, words[1:])]) if ours else ""
