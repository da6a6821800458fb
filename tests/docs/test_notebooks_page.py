"""The examples on docs/notebooks.md are right."""

from __future__ import annotations

import doctest
import inspect
import re
from pathlib import Path

from graphws import Run, convert, find_actions
from graphws.actions.reduction import reduce
from graphws.align import align, compare
from graphws.shown import MOST

PAGE = Path(__file__).resolve().parents[2] / "docs" / "notebooks.md"


def test_its_sessions_run() -> None:
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert found.attempted == 5
    assert found.failed == 0


def test_what_it_says_is_so() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"at most {MOST:,} characters" in text
    for function in (convert, Run.load, find_actions, reduce, align, compare):
        assert "reporter" in inspect.signature(function).parameters
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert len(targets) == 3
    assert all((PAGE.parent / target).exists() for target in targets)
