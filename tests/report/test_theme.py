"""Colours are legible in both themes, and no two series look alike."""

from __future__ import annotations

import doctest
import math
import re

import pytest

from graphws.report import actions_figures, names, theme
from graphws.report.theme import MARKERS, PAGE, SERIES, Shade, contrast, marker, series, text_on


@pytest.mark.parametrize("which", ["light", "dark"])
def test_series_stand_out_from_the_paper_and_texts_are_read(which: str) -> None:
    paper, panel = getattr(PAGE["paper"], which), getattr(PAGE["panel"], which)
    for shade in (*SERIES, PAGE["line"]):
        assert contrast(getattr(shade, which), paper) >= 3, shade
    for name in ("ink", "faint", "link", "good", "doubt"):
        assert min(contrast(getattr(PAGE[name], which), ground) for ground in (paper, panel)) >= 4.5, name


@pytest.mark.parametrize("area", [*actions_figures.COLOURS.values(), *(shade.light for shade in SERIES)])
def test_texts_on_areas_are_read(area: str) -> None:
    assert contrast(text_on(area), area) >= 4


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#123456", "#123456") == 1


def test_series_return_late_and_patterns_differ() -> None:
    assert math.gcd(len(MARKERS), len(SERIES)) == 1
    assert len({(marker(k), series(k)) for k in range(len(MARKERS) * len(SERIES))}) == len(MARKERS) * len(SERIES)
    assert len(set(actions_figures.PATTERNS.values())) == len(actions_figures.PATTERNS)
    assert not set(actions_figures.COLOURS.values()) & {shade.light for shade in theme.figure_colours().values()}


def test_every_colour_of_the_style_sheets_is_a_variable_of_the_theme() -> None:
    from graphws.report.graph.page import graph_page
    from graphws.report.page import Page, Table, html
    from tests.report.graph_samples import transformer

    for page in (html(Page("a", "", Table((), []))), graph_page(transformer(2))):
        used = set(re.findall(r"var\(--([\w-]+)", page)) - {"width"}
        assert used <= set(PAGE)
        for name, shade in PAGE.items():
            assert page.count(f"--{name}: {shade.dark};") >= 2
    assert isinstance(PAGE["ink"], Shade)


def test_the_examples_in_docstrings_are_right() -> None:
    found = doctest.testmod(names)
    assert found.attempted
    assert not found.failed
