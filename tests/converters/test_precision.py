"""The gate sees as sharply as the numbers allow, for each space and each output on its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from graphws.checkpoints.network_file import load_network, save_network
from graphws.errors import VerificationError
from graphws.graph import Action
from graphws.operations.intertwiners import measure_intertwiners
from graphws.operations.verify import relative_change
from graphws_converters.analysis import rearrangements
from graphws_converters.analysis.engine import Engine
from graphws_converters.gate.outputs import change, every, opened
from graphws_converters.gate.precision import InFloat64, runs_in_float64
from graphws_converters.modules.conversion import convert_module
from graphws_converters.rules import RULES
from graphws_converters.rules.registry import Call, Entry, Result
from tests.converters.networks import seeded


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _x() -> Tensor:
    return torch.randn(4, 5, generator=_rng(3)).double()


class Net(nn.Module):
    """Two layers with something in between, and something done with the outputs."""

    def __init__(self, out: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(5, 8), nn.Linear(8, 3), out

    def forward(self, x: Tensor) -> Tensor:
        h = torch.sigmoid(self.a(x))
        return self.out(self.b(h), h, x)


@pytest.fixture
def blind_roll(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong rule: a shift that forgets that it knows the order."""

    def wrong(e: Engine, call: Call) -> Result:
        return e.tensor(e.plain(call["self"]).legs)

    monkeypatch.setitem(RULES, "roll", Entry(wrong, powers=True))
    monkeypatch.setattr(rearrangements, "_MOVING", rearrangements._MOVING - {"roll"})


def _convert(out: Callable[[Tensor, Tensor, Tensor], Tensor]) -> str:
    return convert_module(seeded(lambda: Net(out)).double(), _x(), generator=_rng()).verdict


@pytest.mark.usefixtures("blind_roll")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_cast_elsewhere_loosens_nothing(dtype: torch.dtype) -> None:
    """An error of a few tenths of a percent, beside a cast of something else."""
    with pytest.raises(VerificationError, match=r"\(allowed 1e-08\)"):
        _convert(lambda y, h, x: y + 0.003 * h.roll(1, -1)[:, :3] + (0 * x[:, :3]).to(dtype).to(x.dtype))


def test_a_cast_is_left_out_and_a_module_that_insists_keeps_it() -> None:
    x = torch.full((2,), 1 / 3, dtype=torch.float64)
    with InFloat64():
        assert torch.equal(x.half().double(), x)
        assert torch.equal(x.bfloat16() + torch.zeros(2, dtype=torch.float32), x)

    def insists() -> None:
        assert x.half().dtype == torch.float16

    assert runs_in_float64(lambda: x.half())
    assert not runs_in_float64(insists)
    assert _convert(lambda y, h, x: y.half().double()).startswith("VERIFIED (error ")


@pytest.mark.usefixtures("blind_roll")
def test_a_branch_too_small_for_the_tolerance_is_seen_by_its_own_control() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d = nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(5, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.sigmoid(self.a(x))) + 1e-10 * self.d(torch.sigmoid(self.c(x)).roll(1, -1))

    verdict = convert_module(seeded(Two).double(), _x(), generator=_rng()).verdict
    assert verdict.startswith("UNVERIFIED (space 'c' alone changes the outputs by ")
    assert verdict.endswith(": rounding is all that can be seen)")


@pytest.mark.usefixtures("blind_roll")
def test_a_branch_behind_a_gate_that_starts_small_is_tried_wide_open() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d = nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(5, 6), nn.Linear(6, 3)
            self.gate = nn.Parameter(torch.full((3,), 1e-12))

        def forward(self, x: Tensor) -> Tensor:
            return self.b(torch.sigmoid(self.a(x))) + self.gate * self.d(torch.sigmoid(self.c(x)).roll(1, -1))

    found = None
    try:
        found = convert_module(seeded(Gated).double(), _x(), generator=_rng())
    except VerificationError:
        return
    assert not found.verified


def test_a_space_that_no_output_depends_on_is_named() -> None:
    found = convert_module(
        seeded(lambda: Net(lambda y, h, x: torch.softmax(y[:, :1], -1) + x[:, :1])).double(), _x(), generator=_rng()
    )
    assert not found.verified


@pytest.mark.usefixtures("blind_roll")
def test_complex_outputs_are_compared_with_both_their_parts() -> None:
    with pytest.raises(VerificationError, match="the first space at fault is 'a'"):
        _convert(lambda y, h, x: torch.complex(y, h.roll(1, -1)[:, :3]))
    assert _convert(lambda y, h, x: torch.complex(y, y.cos())).startswith("VERIFIED")
    one = torch.tensor([1 + 1j, 2 + 3j])
    assert relative_change(one, one) == 0
    assert relative_change(one, one.real + 0j) > 1


def test_every_output_is_compared_on_its_own() -> None:
    large, small = torch.tensor([1e6, -1e6]), torch.tensor([1.0, 2.0])
    assert change((large, small), (large, 2 * small)) > 1
    assert change((large, 1e-12 * small), (large, 2e-12 * small)) < 1e-8
    assert change((large,), (large, small)) == change((large,), (large[:1],)) == math.inf
    assert math.isnan(change((small,), (small * math.nan,)))
    assert change((torch.tensor([0, 1]),), (torch.tensor([1, 0]),)) > 1
    numbers = every({"a": 1.5, "b": [True, "AB", None], "c": small})
    assert [x.tolist() for x in numbers] == [1.5, True, [65, 66], [1.0, 2.0]]
    assert opened((1, None, "text", torch.float32)) == (1, None, "text", torch.float32)


_UNARY = {
    "relu": {}, "leaky_relu": {"negative_slope": 0.2}, "tanh": {}, "sin": {}, "asinh": {}, "atan": {}, "erf": {},
    "hardtanh": {}, "hardshrink": {}, "softshrink": {}, "tanhshrink": {}, "abs": {}, "square": {}, "neg": {},
}  # fmt: skip
_SIGNED, _SCALING = {Action.PERMUTATION, Action.SIGNED}, {Action.PERMUTATION, Action.SCALING}
_WITHIN = {
    Action.PERMUTATION: {Action.PERMUTATION}, Action.SIGNED: _SIGNED, Action.SCALING: _SCALING,
    Action.MONOMIAL: {*_SIGNED, *_SCALING, Action.MONOMIAL}, Action.LINEAR: set(Action),
}  # fmt: skip
"""The actions that are part of another."""


@pytest.mark.parametrize("name", _UNARY)
def test_no_rule_claims_more_than_its_function_lets_through(name: str) -> None:
    """The rule's claim against the function itself, at points far from 0 too."""
    function = getattr(torch, name, None) or getattr(nn.functional, name)

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.softmax(self.b(function(self.a(x), *_UNARY[name].values())), -1)

    found = convert_module(seeded(One).double(), _x(), generator=_rng())
    claimed = next(space.action for space in found.graph.spaces if space.moves)
    allowed = measure_intertwiners(lambda t: function(t, *_UNARY[name].values())).action
    assert claimed in _WITHIN[allowed], (claimed, allowed)


@pytest.mark.parametrize("bound", ["clamp", "half", "int"])
def test_a_bound_that_no_example_reaches_breaks_scales(bound: str) -> None:
    bounds: dict[str, Callable[[Tensor], Tensor]] = {
        "clamp": lambda h: h.clamp(max=1000.0),
        "half": lambda h: h.half().double(),
        "int": lambda h: h + h.int(),
    }

    class One(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(bounds[bound](torch.relu(self.a(x))))

    for inputs in (_x(), None):
        found = convert_module(seeded(One).double(), inputs, generator=_rng())
        assert [space.action for space in found.graph.spaces if space.moves] == [Action.PERMUTATION]
        assert found.verified


def test_functions_know_their_bounds() -> None:
    assert measure_intertwiners(lambda t: torch.relu(t).clamp(max=1000)).action is Action.PERMUTATION


class _Half(nn.Module):
    """Two ways to the outputs, of which one carries nothing."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(5, 8), nn.Linear(5, 8), nn.Linear(8, 3), nn.Linear(8, 3)
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.sigmoid(self.a(x))) + self.share * self.d(torch.sigmoid(self.b(x)))


def test_the_verdict_counts_spaces_that_no_output_shows(tmp_path: Path) -> None:
    nets = seeded(lambda: _Half(1.0)).double(), seeded(lambda: _Half(0.0)).double()
    whole, half = (convert_module(net, _x(), generator=_rng()) for net in nets)
    assert whole.verification is not None
    assert half.verification is not None
    assert (whole.verification.unseen, half.verification.unseen) == (0, 1)
    assert "nothing seen" not in whole.verdict
    assert half.verdict.endswith("3 draws, rich, nothing seen of 1 space)")
    save_network(half, tmp_path / "net.safetensors")
    assert load_network(tmp_path / "net.safetensors", effort=0).verification == half.verification
