"""Long work tells how far it is, and a terminal shows it with a forecast."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from graphws import convert, find_actions
from graphws.actions.reduction import reduce
from graphws.cli.console import Bars, Terminal
from graphws.reporter import Reporter


class Heard(Reporter):
    """Keeps what it hears: each piece of work with its total, how far it came, and whether it ended."""

    def __init__(self) -> None:
        self.works: list[list[object]] = []

    def start(self, title: str, total: int | None, unit: str) -> None:
        self.works.append([title, total, 0, False])

    def step(self, done: int, values: Mapping[str, float]) -> None:
        assert done == int(str(self.works[-1][2])) + 1
        self.works[-1][2] = done

    def end(self) -> None:
        self.works[-1][3] = True

    def work_named(self, title: str) -> list[object]:
        (found,) = [each for each in self.works if each[0] == title]
        return found


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 12), nn.Tanh(), nn.Linear(12, 16))


def test_conversion_tells_its_runs() -> None:
    heard = Heard()
    assert convert(_net(), reporter=heard).verified
    _, total, done, ended = heard.work_named("trying the group on the network")
    assert isinstance(total, int)
    assert isinstance(done, int)
    assert total / 2 <= done <= 2 * total, "an estimate of the runs, no fiction"
    assert ended
    assert all(work[3] for work in heard.works)


def test_reduction_and_actions_tell_their_steps() -> None:
    found, heard = convert(_net()), Heard()
    assert found.weights is not None
    reduce(found.weights, reporter=heard)
    assert heard.work_named("round 1: what does nothing")[1:] == [2, 2, True]
    heard = Heard()
    find_actions(found, "mirror", (1, 4, 4), decoys=2, reporter=heard)
    _, total, done, ended = heard.work_named("looking for mirror")
    assert (total, ended) == (5, True)
    assert done == 4, "reduction, the group, two decoys; the figures end it"


def test_a_failure_ends_the_work() -> None:
    heard = Heard()
    with pytest.raises(ValueError, match="no"), heard.work("x", 3):
        raise ValueError("no")
    assert heard.works == [["x", 3, 0, True]]


def _terminal(is_one: bool) -> Terminal:
    return Terminal(file=io.StringIO(), force_terminal=is_one, width=150, highlight=False)


def _text(console: Terminal) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_bar_has_a_forecast_and_grows_with_its_estimate() -> None:
    console = _terminal(True)
    with Bars(console).work("trying", 2, "runs") as progress:
        for _ in range(3):
            progress.advance()
    shown = _text(console)
    assert "trying" in shown
    assert "3/3" in shown
    assert "-:--:--" in shown or "0:00:00" in shown


def test_work_of_unknown_size_has_a_spinner() -> None:
    console = _terminal(True)
    with Bars(console).work("tracing"):
        pass
    assert "tracing" in _text(console)
    assert "/" not in _text(console).replace("\x1b", "")


@pytest.mark.parametrize(("log", "lines"), [(False, ""), (True, "fitting: up to 5 networks\nfitting: val loss 0.5\n")])
def test_where_there_is_no_terminal(log: bool, lines: str) -> None:
    console = _terminal(False)
    bars = Bars(console, log=log)
    bars.start("fitting", 5, "networks")
    bars.step(5, {"val_loss": 0.5})
    bars.end()
    assert _text(console) == lines
