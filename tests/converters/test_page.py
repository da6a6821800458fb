"""The examples on docs/converting.md are right, its rule among them."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from graphws_converters.analysis.engine import Engine
from graphws_converters.rules import RULES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "converting.md"


@pytest.mark.slow
def test_its_sessions_run() -> None:
    before = set(RULES)
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert found.attempted > 35
    assert found.failed == 0
    assert set(RULES) == before


def test_its_rule_is_four_lines() -> None:
    text = PAGE.read_text(encoding="utf-8")
    lines = text[text.index('>>> @rule("renorm")') :].split("\n>>> after")[0].splitlines()
    assert len(lines) == 4


def test_every_word_for_rules_is_one_of_the_engine() -> None:
    table = PAGE.read_text(encoding="utf-8").split("| `e.…` | demands |")[1].split("\n\n")[0]
    words = [word for row in table.splitlines()[2:] for word in re.findall(r"`(\w+)", row.split("|")[1])]
    assert len(words) >= 12
    assert all(callable(getattr(Engine, word, None)) for word in words), words
