from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner

from graphws.cli.guard import GuardedGroup, explain_failure
from graphws.errors import GraphwsError, SpecError, UsageError, ZooError


def _app(error: BaseException) -> typer.Typer:
    app = typer.Typer(cls=GuardedGroup, pretty_exceptions_enable=False)

    @app.callback()
    def options(debug: bool = False) -> None:
        pass

    @app.command("fail")
    def fail() -> None:
        raise error

    return app


CASES: list[tuple[BaseException, int, str]] = [
    (UsageError("no such thing"), 2, "error: no such thing\n"),
    (
        SpecError("a.yaml:3:1: unknown key 'poolng'\n  poolng: max\n  ^"),
        2,
        "a.yaml:3:1: unknown key 'poolng'\n  poolng: max\n  ^\n",
    ),
    (ZooError("zoos/a: no such zoo"), 1, "error: zoos/a: no such zoo\n"),
    (KeyboardInterrupt(), 130, "interrupted; run the same command again to go on from here\n"),
    (
        OSError(errno.ENOSPC, "No space left on device", "/x/y"),
        1,
        "error: /x/y: the disk is full; free some space and run the same command again\n",
    ),
    (
        FileNotFoundError(errno.ENOENT, "No such file or directory", "a.pt"),
        1,
        "error: a.pt: No such file or directory\n",
    ),
    (RuntimeError("boom"), 1, "internal error: RuntimeError: boom (graphws --debug ... shows where)\n"),
]


@pytest.mark.parametrize(("error", "code", "text"), CASES)
def test_every_failure_is_a_line_and_a_code(error: BaseException, code: int, text: str) -> None:
    result = CliRunner().invoke(_app(error), ["fail"])
    assert (result.exit_code, result.stderr, result.stdout) == (code, text, "")


@pytest.mark.parametrize("error", [RuntimeError("boom"), GraphwsError("boom")])
def test_debug_lets_the_traceback_through(error: Exception) -> None:
    result = CliRunner().invoke(_app(error), ["--debug", "fail"])
    assert result.exception is error


@pytest.mark.parametrize("arguments", [["nothing"], ["fail", "--what"], ["fail", "left", "over"]])
def test_mistakes_in_the_command_itself_are_the_parsers(arguments: list[str]) -> None:
    result = CliRunner().invoke(_app(RuntimeError("never reached")), arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.stderr


def test_codes_follow_the_errors_own() -> None:
    class Odd(GraphwsError):
        exit_code = 7

    assert explain_failure(Odd("x")) == ("error: x", 7)


def test_exits_pass_through() -> None:
    make: Callable[[], BaseException] = lambda: typer.Exit(5)  # noqa: E731
    assert CliRunner().invoke(_app(make()), ["fail"]).exit_code == 5
