"""What pages say of the command that wrote them, and what graph pages call the model."""

from __future__ import annotations

import doctest

import pytest

from graphws.cli import picturing, ran


@pytest.mark.parametrize("module", [ran, picturing])
def test_the_examples_in_docstrings_are_right(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert found.attempted
    assert not found.failed


def test_another_program_is_not_taken_for_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/pytest", "tests"])
    assert "command" not in ran.what_ran()
    monkeypatch.setattr("sys.argv", ["/usr/bin/graphws", "actions", "/home/me/net.pt"])
    found = ran.what_ran()
    assert found["command"] == "graphws actions net.pt"
    assert found["torch"]
