"""Networks made to deceive: none is called VERIFIED where the claim is false."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.errors import UsageError
from graphws_converters.analysis.engine import Engine
from graphws_converters.gate.outputs import change, every, opened
from graphws_converters.gate.purity import changed_by, generators_used
from graphws_converters.modules.conversion import convert_module
from graphws_converters.rules import RULES
from graphws_converters.rules.registry import Call, Entry, Result
from scripts.trust.conversions import LEAST, Task, falsity, kinds_of
from scripts.trust.conversions import tried as tried_by_the_script
from tests.converters import traps

FOUND = [
    "branch by repr", "branch by allclose", "branch by repeats", "branch by bincount", "branch by pieces",
    "branch by classes", "branch by arange", "branch by number of a size", "code: operation called relu",
    "code: operation in place called tanh", "code: written in a list", "code: data of another", "code: scan",
    "code: cond", "code: strides of the first",
    "output: text", "output: sparse", "output: quantised", "position by embedding bag", "position by repeats",
    "position by scatter to one place", "random: rare dropout", "random: own seed", "random: python",
    "random: numpy and its seed", "state: calls are counted in a global list", "state: a generator of numpy",
    "state: a tensor is written",
]  # fmt: skip
"""What was VERIFIED once, or ended in an error that is none for readers."""
ELSEWHERE = {"random numbers that matter rarely", "a state that changes"}
"""Kinds whose harm inputs do not show."""


def _outcome(name: str, front: str) -> str:
    return tried_by_the_script(Task(traps.TRAPS[name].kind, name, front, 0))[1]


@pytest.mark.parametrize(("name", "front"), [*itertools.product(FOUND, ["auto", "recorder"])])
def test_what_deceived_once_does_so_no_more(name: str, front: str) -> None:
    assert _outcome(name, front) != "false"


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*traps.TRAPS} - {*FOUND}))
def test_no_trap_is_verified_falsely(name: str) -> None:
    assert {_outcome(name, front) for front in ("auto", "recorder")} <= {"refused", "UNVERIFIED", "smaller group",
                                                                        "with a note", "true"}  # fmt: skip


COMPILED = "code: cond"
"""What `torch.cond` gives here has depended on what the process compiled before; the gate's answer to it is tested."""


@pytest.fixture(autouse=True)
def _fresh_compiler() -> None:
    """`torch.cond` compiles what it is given, and refuses after a few others in the same process."""
    torch._dynamo.reset()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", sorted({trap.kind for trap in traps.TRAPS.values()} - ELSEWHERE))
def test_every_trap_breaks_what_its_plain_twin_may_claim(kind: str) -> None:
    claims = {}
    for name, trap in traps.TRAPS.items():
        if trap.kind == kind and name != COMPILED:
            if trap.activation not in claims:
                rng = torch.Generator().manual_seed(0)
                claims[trap.activation] = convert_module(trap.plain(), traps.example(), generator=rng, front="recorder")
            given = [*kinds_of((traps.example(),)), *((x,) for x in traps.ringing(trap.build()))]
            assert falsity(claims[trap.activation], trap.build(), given) > LEAST, name


def test_generators_are_watched_and_left_as_they_were() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)["state"]["pos"]
    assert generators_used(lambda: functional.dropout(torch.ones(3), 0.1, True)) == ["torch"]
    assert generators_used(lambda: torch.manual_seed(3)) == ["torch"]
    assert generators_used(lambda: (random.random(), np.random.rand())) == ["random", "numpy"]
    assert generators_used(lambda: functional.dropout(torch.ones(3), 0.1, False)) == []
    after = torch.get_rng_state(), random.getstate(), np.random.get_state(legacy=False)["state"]["pos"]
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_what_a_run_changes_is_named() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.seen, self.last = nn.BatchNorm1d(3), {"calls": [0]}, torch.zeros(0)

        def forward(self, x: Tensor) -> Tensor:
            self.last = 2 * x
            return self.norm(x)

    module, x = Counter(), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    assert changed_by(module.eval(), lambda: module(x)) == "", "what is kept is the same each time"
    assert changed_by(module.train(), lambda: module(x)) == "norm.running_mean"

    def counting() -> None:
        module.eval().seen["calls"][0] += 1

    assert changed_by(module, counting) == "seen.'calls'.0"


def test_small_columns_and_texts_are_compared_on_their_own() -> None:
    y = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    large = y * torch.tensor([1e4, 1.0, 1.0])
    assert change((large,), (large + torch.tensor([0, 0.01, 0]) * y[:, :1],)) > 1e-3
    assert change((large,), (large * (1 + 1e-13),)) < 1e-12
    assert change(every("abc"), every("abd")) > 0.1
    assert change(every("abc"), every("ab")) == float("inf")
    assert change(every("abc"), every("abc")) == 0
    with pytest.raises(
        UsageError, match=r"^cannot compare an output of layout sparse_coo: return a dense one, or name"
    ):
        opened((y, y.to_sparse()))


def test_an_argument_that_a_rule_leaves_out_has_an_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(e: Engine, call: Call) -> Result:
        return e.tensor(e.plain(call["self"]).legs)

    module = traps.Net(lambda net, x: net.b(torch.lerp(net.hidden(x), net.hidden(x).tanh(), 0.5)), torch.sigmoid)
    monkeypatch.setitem(RULES, "lerp", Entry(forgetful, powers=True))
    found = convert_module(module, traps.example(), generator=torch.Generator().manual_seed(0))
    assert not any(space.moves for space in found.graph.spaces)
    assert "lerp: a rule that leaves it out" in {space.reason for space in found.graph.spaces}


def test_a_branch_on_the_type_is_one_path() -> None:
    """The gate runs in float64, the network as it came does something else."""

    def typed(net: traps.Net, x: Tensor) -> Tensor:
        h = net.hidden(x)
        return net.b(h if h.dtype == torch.float64 else h.cumsum(-1))

    def verdict(module: nn.Module) -> str:
        return convert_module(
            module.float(), traps.example().float(), generator=torch.Generator().manual_seed(0)
        ).verdict

    said = "UNVERIFIED (one path seen: in the type that the network came in, cumsum runs more or less often)"
    assert verdict(traps.Net(typed, torch.tanh)) == said
    assert verdict(traps.TRAPS["code: data of another"].plain()).startswith("VERIFIED")
