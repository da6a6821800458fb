"""Export and recorder are held against each other, and what differs is said."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from graphws.checkpoints.conversion import Conversion
from graphws_converters.analysis.ir import Program
from graphws_converters.fronts import Front, choose, recorder
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
        "they differ first at 'first.weight[0]': cut into other blocks instead of (set 4 signed, free 4)"
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


class _OfTwoMinds(nn.Module):
    """The same function in two ways: an exported program sums what comes before, too, and takes it away again."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(3, 5), nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.sigmoid(self.into(x))
        if torch.compiler.is_exporting():
            hidden = hidden + 0 * hidden.cumsum(1)
        return self.out(hidden)


def _converted(front: Front = "auto") -> Conversion:
    torch.manual_seed(2)
    rng = torch.Generator().manual_seed(1)
    return convert_module(_OfTwoMinds().double(), torch.randn(4, 3, generator=rng).double(), generator=rng, front=front)


def test_a_larger_group_of_the_recorder_is_tried_and_kept() -> None:
    assert _converted("export").graph.log10_order() == 0
    found = _converted()
    assert found.verified
    assert found.graph.group().factors == ("S_5",)
    assert found.runs is not None
    assert found.runs.batch == "any"
    assert found.notes[-1] == "torch.export alone finds 10^0.0 relabellings, the recorder 10^2.1: these passed"


def test_a_larger_group_that_the_gate_refuses_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recorder that forgets an operation claims too much; the exported group stays."""
    recorded = recorder.record_program

    def forgetful(*args: object) -> Program:
        program = recorded(*args)  # type: ignore[arg-type]
        for node in program.nodes:
            if node.op == "sigmoid":
                program.nodes.remove(node)
                inside, outside = next(node.values()), node.outputs[0]
                program.nodes = [
                    replace(n, arguments={k: inside if v is outside else v for k, v in n.arguments.items()})
                    for n in program.nodes
                ]
        return program

    monkeypatch.setattr(crosscheck, "record_program", forgetful)
    monkeypatch.setattr(choose, "record_program", forgetful)
    found = _converted()
    assert found.graph.log10_order() == 0
    assert any(note.startswith("the recorder's larger group was refused: a random element") for note in found.notes)
