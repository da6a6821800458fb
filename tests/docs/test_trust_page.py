"""docs/trust.md shows the figures that its scripts wrote, and names a command for each."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from scripts.trust.__main__ import PARTS
from scripts.trust.figures import PAGE, Figures, kept, written


@pytest.mark.parametrize("part", PARTS)
def test_every_table_is_what_its_script_wrote(part: str) -> None:
    page, figures = PAGE.read_text("utf-8"), kept()
    assert figures[part].command.startswith(f"python -m scripts.trust {part} --number ")
    assert all(len(row) == len(figures[part].columns) for row in figures[part].rows)
    assert written(page, figures) == page
    other = replace(figures[part], rows=[*figures[part].rows, ["more"] * len(figures[part].columns)])
    assert written(page, {part: other}) != page


def test_nothing_but_the_tables_is_written() -> None:
    page = "before\n<!-- a -->\nold\n<!-- end of a -->\nafter\n<!-- b -->\n<!-- end of b -->\n"
    made = written(page, {"a": Figures("command", ["x", "y"], [[1234, "z"]])})
    assert re.sub(r"(?s)<!-- a -->.*<!-- end of a -->", "", made) == "before\n\nafter\n<!-- b -->\n<!-- end of b -->\n"
    assert "`command`\n\n| x | y |\n| --- | --- |\n| 1,234 | z |\n" in made
