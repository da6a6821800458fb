from __future__ import annotations

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "pictures.md"


def test_the_page_on_pictures_tells_the_truth() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert results.failed == 0
    assert results.attempted == 4
    picture = PAGE.parent / "images" / "transformer-page.png"
    assert f"images/{picture.name}" in PAGE.read_text(encoding="utf-8")
    assert picture.stat().st_size < 200_000
