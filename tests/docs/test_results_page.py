"""docs/results.md and docs/paper-i.md are what the command makes of the runs that are kept beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphws.report.results_page import results_markdown
from graphws.runtime.folder import RunFolder
from graphws.runtime.result_pages import entry_of
from graphws.trainings.result_page import read_results

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", ["results", "paper-i"])
def test_the_page_is_what_the_command_makes(name: str) -> None:
    """Write it anew with ``graphws results docs/NAME/* -o docs/NAME.md``."""
    if not (DOCS / name).is_dir():
        pytest.skip("no runs are kept")
    page = DOCS / f"{name}.md"
    folders = [RunFolder(path) for path in sorted((DOCS / name).iterdir())]
    made = results_markdown([entry_of(folder, page, read_results) for folder in folders])
    assert page.read_text(encoding="utf-8") == made
