"""Bars in a notebook, on a display that only remembers."""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

import pytest

from graphws.errors import UsageError
from graphws.notebook import NotebookReporter
from tests.notebook import objects


class Screen:
    """What `IPython.display` offers, without a notebook."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, thing: str, display_id: bool | None = None) -> Screen | None:
        self.shown.append(thing)
        return self if display_id else None

    def update(self, thing: str) -> None:
        self.shown.append(thing)


class Clock:
    """A clock that only moves when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen, module = Screen(), ModuleType("IPython.display")
    given: dict[str, Any] = {"HTML": str, "display": screen.display}
    vars(module).update(given)
    monkeypatch.setitem(sys.modules, "IPython", ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return screen


def test_a_bar_moves_and_goes(screen: Screen) -> None:
    clock = Clock()
    reporter = NotebookReporter(clock)
    with reporter.work("matching", 4, "networks") as progress:
        assert screen.shown == ['<div>matching <progress value="0" max="4"></progress> 0 of 4 networks</div>']
        progress.advance()  # too soon to be drawn
        clock.now += 10
        reporter.step(2, {"val_loss": 0.12345})
        clock.now += 5
        reporter.step(5, {})
    assert screen.shown[1:] == [
        '<div>matching <progress value="2" max="4"></progress> 2 of 4 networks, about 10 s left, val loss 0.1235</div>',
        '<div>matching <progress value="5" max="5"></progress> 5 of 5 networks, about 0 s left</div>',
        "",
    ]


def test_work_of_unknown_size_and_notes(screen: Screen) -> None:
    reporter = NotebookReporter(Clock())
    reporter.start("<script>\x1b", None, "steps")
    reporter.note("<b>a zoo is fitted again")
    reporter.end()
    reporter.step(3, {})
    assert screen.shown == [
        "<div>&lt;script&gt;\\x1b <progress></progress> </div>",
        "<div>&lt;b&gt;a zoo is fitted again</div>",
        "",
    ]


def test_searches_are_heard(screen: Screen) -> None:
    """What takes a reporter takes this one."""
    clock = Clock()

    def ticking() -> float:
        clock.now += 1
        return clock.now

    import graphws

    graphws.find_actions(objects.networks(1), "flip", (2, 3), output="invariant", reporter=NotebookReporter(ticking))
    assert re.fullmatch(
        r"<div>looking for flip <progress value=\"0\" max=\"6\"></progress> 0 of 6 steps</div>", screen.shown[0]
    )
    assert "about " in screen.shown[2]
    assert screen.shown[-1] == ""


def test_without_ipython_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(UsageError, match=r"^NotebookReporter shows its bars by IPython, which is not installed here$"):
        NotebookReporter()
