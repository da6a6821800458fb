from __future__ import annotations

import doctest

from graphws import finite


def test_doctests() -> None:
    assert doctest.testmod(finite).failed == 0


def test_whole_numbers_and_texts_stay() -> None:
    assert finite.finite([True, 7, "inf", None, -float("inf")], digits=2) == [True, 7, "inf", None, None]
