"""How the command line fails: one clear line on stderr and an exit code, never a traceback unless asked.

======================================  ==========================================================  =====
what happened                           what is printed                                             code
======================================  ==========================================================  =====
`SpecError`                             its text as it is: every place, line and caret              2
`UsageError`                            ``error: ...``                                              2
any other `GraphwsError`                ``error: ...``                                              1
Ctrl-C                                  how to go on                                                130
`OSError`                               ``error: ...`` with the file and the reason                 1
a closed pipe (``| head``)              nothing                                                     1
an unknown option or command            the usage, then ``error: ...``                              2
anything else                           ``internal error: ...`` and a pointer to ``--debug``        1
======================================  ==========================================================  =====
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from graphws.cli.wording import in_options, options_of
from graphws.errors import GraphwsError, Interrupted, SpecError
from graphws.printable import printable


def explain_failure(error: BaseException, options: Mapping[str, str] | None = None) -> tuple[str, int]:
    """The text to print for an error, and the exit code; only a `SpecError` has several lines.

    Args:
        error: What was raised.
        options: The option of each keyword that the text may name.

    >>> explain_failure(GraphwsError("no zoo here"))
    ('error: no zoo here', 1)
    """
    if isinstance(error, SpecError):
        return printable(str(error), lines=True), error.exit_code
    text, code = _in_a_line(error)
    return printable(in_options(text, options or {})), code


def _in_a_line(error: BaseException) -> tuple[str, int]:
    if isinstance(error, GraphwsError):
        return f"error: {error}", error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; run the same command again to go on from here", Interrupted.exit_code
    if isinstance(error, OSError):
        name = "" if error.filename is None else str(error.filename)
        where = f"{name if len(name) <= 200 else name[:200] + '…'}: " if name else ""
        reason = error.strerror or str(error)
        if error.errno == errno.ENOSPC:
            reason = "the disk is full; free some space and run the same command again"
        return f"error: {where}{reason}", 1
    return f"internal error: {type(error).__name__}: {error} (graphws --debug ... shows where)", 1


def _of_the_parser(error: Any) -> tuple[str, int] | None:
    """What the command line's parser refuses (an unknown option, a missing argument); None for any other error.

    A command that is called with nothing at all shows its help, which the parser does itself.
    """
    context = getattr(error, "ctx", None)
    if not hasattr(error, "format_message"):
        return None
    if context is None or type(error).__name__ == "NoArgsIsHelpError":
        raise error
    usage = f"{context.get_usage()}\nTry '{context.command_path} --help' for help."
    return f"{usage}\nerror: {printable(error.format_message())}", error.exit_code


class GuardedGroup(TyperGroup):
    """A command group that turns every failure of its commands into a line and an exit code.

    With ``--debug`` before the command, the traceback is shown.
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (Exception, KeyboardInterrupt) as error:
            is_an_end = isinstance(error, typer.Exit | typer.Abort)
            is_closed = isinstance(error, OSError) and error.errno == errno.EPIPE
            if is_an_end or is_closed or (ctx.params.get("debug") and not hasattr(error, "format_message")):
                raise
            command = self.commands.get(ctx.invoked_subcommand or "")
            text, code = _of_the_parser(error) or explain_failure(error, options_of(command))
            sys.stderr.write(text + "\n")
            raise typer.Exit(code) from error
