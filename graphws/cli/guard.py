"""How the command line fails: one clear line on stderr and an exit code, never a traceback unless asked.

======================================  ==========================================================  =====
what happened                           what is printed                                             code
======================================  ==========================================================  =====
`SpecError`                             its text as it is: every place, line and caret              2
`UsageError`                            ``error: ...``                                              2
any other `GraphwsError`                ``error: ...``                                              1
Ctrl-C                                  how to go on                                                1
`OSError`                               ``error: ...`` with the file and the reason                 1
anything else                           ``internal error: ...`` and a pointer to ``--debug``        1
======================================  ==========================================================  =====
"""

from __future__ import annotations

import errno
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from graphws.errors import GraphwsError, SpecError
from graphws.printable import printable


def explain_failure(error: BaseException) -> tuple[str, int]:
    """The text to print for an error, and the exit code; only a `SpecError` has several lines.

    >>> explain_failure(GraphwsError("no zoo here"))
    ('error: no zoo here', 1)
    """
    if isinstance(error, SpecError):
        return printable(str(error), lines=True), error.exit_code
    text, code = _in_a_line(error)
    return printable(text), code


def _in_a_line(error: BaseException) -> tuple[str, int]:
    if isinstance(error, GraphwsError):
        return f"error: {error}", error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run the same command again to go on from here", 1
    if isinstance(error, OSError):
        name = "" if error.filename is None else str(error.filename)
        where = f"{name if len(name) <= 200 else name[:200] + '…'}: " if name else ""
        reason = error.strerror or str(error)
        if error.errno == errno.ENOSPC:
            reason = "the disk is full; free some space and run the same command again"
        return f"error: {where}{reason}", 1
    return f"internal error: {type(error).__name__}: {error} (graphws --debug ... shows where)", 1


class GuardedGroup(TyperGroup):
    """A command group that turns every failure of its commands into a line and an exit code.

    Errors that the command line parser reports itself (unknown option, missing argument) pass through: it prints the
    usage and exits with 2. With ``--debug`` before the command, the traceback is shown.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            is_the_parsers_own = isinstance(error, (typer.Exit, typer.Abort)) or hasattr(error, "show")
            if is_the_parsers_own or ctx.params.get("debug"):
                raise
            text, code = explain_failure(error)
            sys.stderr.write(text + "\n")
            raise typer.Exit(code) from error
