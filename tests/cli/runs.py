"""Calling ``graphws`` in this process, and runs that several tests look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from graphws.cli import app


def run(*arguments: str | Path) -> Result:
    """``graphws`` with these arguments."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def finished_run(factory: pytest.TempPathFactory, spec: Callable[[Path], Path]) -> Path:
    """A folder in which ``graphws run`` was called once on a spec that is written into it; what it printed is there."""
    place = factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        result = run("--debug", "run", spec(place))
    assert result.exit_code == 0, result.output
    (place / "stdout.txt").write_text(result.stdout)
    (place / "stderr.txt").write_text(result.stderr)
    return place
