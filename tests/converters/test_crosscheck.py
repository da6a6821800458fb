"""Export and recorder are held against each other, and what differs is said."""

from __future__ import annotations

import pytest
import torch

from graphws_converters.fronts.errors import TraceFailure
from graphws_converters.gate import crosscheck
from graphws_converters.modules.conversion import convert_module
from graphws_converters.rules import RULES
from graphws_converters.rules.registry import Entry
from tests.converters.architectures import build


def _note(name: str) -> str:
    module, inputs = build(name)
    return convert_module(module, inputs, generator=torch.Generator().manual_seed(1)).notes[-1]


def test_where_both_agree_it_is_said() -> None:
    assert _note("LSTM") == "cross-checked: the recorder finds the same spaces and actions"


def test_where_they_differ_the_first_difference_is_said() -> None:
    """The recorder cannot tell which entries a write in place changed, and frees them all."""
    assert _note("write into a slice") == (
        "cross-check: the recorder finds 10^0.0 relabellings instead of 10^4.2; "
        "they differ first at 'first.weight[0]': cut into other blocks instead of (set 4 permutation, free 4)"
    )


def test_a_smaller_group_of_one_front_end_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder sees a linear layer where it is taken apart: without that rule it frees both sides."""
    whole = crosscheck.record_program

    def without_a_rule(*args: object) -> object:
        program = whole(*args)  # type: ignore[arg-type]
        monkeypatch.setitem(RULES, "linear", Entry(_refuses, powers=False))
        return program

    monkeypatch.setattr(crosscheck, "record_program", without_a_rule)
    assert _note("ViT").startswith("cross-check: the recorder finds 10^")


def _refuses(*_: object) -> object:
    raise ValueError


def test_a_network_that_the_recorder_cannot_follow_is_not_cross_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> object:
        raise TraceFailure("recorder: no")

    monkeypatch.setattr(crosscheck, "record_program", fails)
    assert _note("LSTM") == "not cross-checked: recorder: no"
