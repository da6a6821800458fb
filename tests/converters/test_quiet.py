"""What torch.export writes while it fails on a module is not shown, unless it is asked for."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from graphws_converters.fronts.errors import TraceFailure
from graphws_converters.fronts.exported import export_program
from graphws_converters.fronts.quiet import LOGGER, quiet_export

TORCH = "torch.fx.experimental.symbolic_shapes"


class Branching(nn.Module):
    """Asks for a number: torch.export cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layer(x)
        return 2 * y if float(y.sum()) > 100 else y


class Lines(logging.Handler):
    """Keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What reaches a handler of a logger of torch."""
    handler = Lines()
    logging.getLogger(TORCH).addHandler(handler)
    yield handler
    logging.getLogger(TORCH).removeHandler(handler)
    logging.getLogger(LOGGER).setLevel(logging.NOTSET)


def _trace() -> None:
    with pytest.raises(TraceFailure):
        export_program(Branching().eval(), (torch.ones(2, 3),), {})


def test_a_failing_export_says_nothing(lines: Lines, capfd: pytest.CaptureFixture[str]) -> None:
    before = [list(handler.filters) for handler in logging.getLogger(TORCH).handlers]
    _trace()
    said = capfd.readouterr()
    assert (said.out, said.err, lines.texts) == ("", "", [])
    assert [list(handler.filters) for handler in logging.getLogger(TORCH).handlers] == before


def test_in_debug_it_says_everything(lines: Lines, capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger(LOGGER).setLevel(logging.DEBUG)
    _trace()
    assert "def forward" in capfd.readouterr().err
    assert lines.texts


def test_afterwards_everything_is_heard_again(lines: Lines, capsys: pytest.CaptureFixture[str]) -> None:
    stream = sys.stderr

    def fails() -> None:
        with quiet_export():
            logging.getLogger(TORCH).warning("unheard")
            sys.stderr.write("unheard")
            raise ValueError("in between")

    with pytest.raises(ValueError, match="in between"):
        fails()
    assert sys.stderr is stream
    logging.getLogger(TORCH).warning("heard")
    assert lines.texts == ["heard"]
    assert "unheard" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mine", "torchvision", "transformers"])
def test_loggers_of_others_are_left_alone(name: str) -> None:
    handler = Lines()
    logger = logging.getLogger(name)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)  # other tests quieten some
    try:
        with quiet_export():
            logger.warning("heard")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert handler.texts == ["heard"]
