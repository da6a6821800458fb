"""The examples on docs/actions.md are right."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "actions.md"


@pytest.mark.slow
def test_its_session_runs() -> None:
    found = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert found.attempted == 77
    assert found.failed == 0
