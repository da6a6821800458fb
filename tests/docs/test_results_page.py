"""docs/results.md is what the command makes of docs/results."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphws.report.results_page import results_markdown
from graphws.runtime.folder import RunFolder
from graphws.runtime.result_pages import entry_of

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.skipif(not (DOCS / "results").is_dir(), reason="no runs are kept")
def test_the_page_is_what_the_command_makes() -> None:
    """Write it anew with ``graphws results docs/results/* -o docs/results.md``."""
    page = DOCS / "results.md"
    folders = [RunFolder(path) for path in sorted((DOCS / "results").iterdir())]
    assert page.read_text(encoding="utf-8") == results_markdown([entry_of(folder, page) for folder in folders])
