from __future__ import annotations

import doctest

import pytest
import typer
from typer.main import get_command

from graphws.cli import app, wording
from graphws.cli.wording import in_options, options_of


def test_doctests() -> None:
    assert doctest.testmod(wording).failed == 0


@pytest.mark.parametrize(
    "text",
    [
        "a.yaml:3: activation is missing",  # no keyword
        "the key shape=3 is unknown",  # of no option
        "found.outputs=3",  # of something else
        "--set train.epochs=5",
    ],
)
def test_other_texts_stay(text: str) -> None:
    assert in_options(text, {"activation": "--activation", "outputs": "--outputs", "epochs": "--epochs"}) == text


def test_options_of_commands_and_groups() -> None:
    group = get_command(app)
    convert = group.commands["convert"]  # type: ignore[attr-defined]
    assert options_of(convert)["allow_code"] == "--allow-code"
    assert "source" not in options_of(convert)
    assert options_of(group.commands["zoo"])["omega"] == "--omega"  # type: ignore[attr-defined]
    assert options_of(None) == {}
    assert isinstance(convert, typer.core.TyperCommand)
