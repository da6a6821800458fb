"""The gate: a wrong rule is caught and the space at fault is named; a gate that shows nothing says so."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphws.checkpoints.conversion import Hints
from graphws.errors import UsageError, VerificationError
from graphws.graph import NetworkGraph, Parameter, Space, Weights
from graphws_converters.analysis.engine import Engine
from graphws_converters.gate.controls import halves
from graphws_converters.gate.gate import Outcome, disturb, gate, tolerance_of
from graphws_converters.gate.outputs import Run
from graphws_converters.modules.conversion import convert_module
from graphws_converters.rules import RULES
from graphws_converters.rules.registry import Call, Entry, Result


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Rolled(nn.Module):
    """The middle layer's neurons are read shifted by one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(3, 6), nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.sigmoid(self.middle(torch.sigmoid(self.first(x)))).roll(1, -1))


@pytest.fixture
def rolled() -> Rolled:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Rolled()


def test_a_wrong_rule_is_caught_and_its_space_is_named(rolled: Rolled, monkeypatch: pytest.MonkeyPatch) -> None:
    right = convert_module(rolled, torch.randn(4, 3), generator=_rng())
    assert [str(s) for s in right.graph.spaces if s.size == 8] == ["middle: set, 8, permutation"]
    assert any(p.storage is not None and p.storage.orders for p in right.graph.parameters)

    def wrong(e: Engine, call: Call) -> Result:
        return e.tensor(e.plain(call["self"]).legs)

    monkeypatch.setitem(RULES, "roll", Entry(wrong, powers=True))
    message = (
        r"^a random element changes the outputs by \S+ \(allowed 1e-08\); the first space at fault is 'middle' "
        r"\(middle: set, 8, permutation\): alone it changes them by \S+$"
    )
    with pytest.raises(VerificationError, match=message):
        convert_module(rolled, torch.randn(4, 3), generator=_rng())


@pytest.mark.parametrize(
    ("action", "stand_in"), [("signed", "tanh"), ("scaling", "relu"), ("monomial", "square"), ("linear", "neg")]
)
def test_a_wrong_claim_about_signs_scales_or_matrices_is_caught(
    action: str, stand_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sigmoid taken for another function: permutations pass, what is claimed beyond them does not."""
    module = nn.Sequential(nn.Linear(3, 6), nn.Sigmoid(), nn.Linear(6, 2), nn.Flatten(), nn.Softmax(-1))
    right = convert_module(module, torch.randn(4, 3), generator=_rng())
    assert [str(space) for space in right.graph.spaces if space.moves] == ["0: set, 6, permutation"]
    monkeypatch.setitem(RULES, "sigmoid", RULES[stand_in])
    with pytest.raises(VerificationError, match=rf"the first space at fault is '0' \(0: set, 6, {action}\): alone it "):
        convert_module(module, torch.randn(4, 3), generator=_rng())


class Heads(nn.Module):
    """Three heads of four dimensions; a softmax looks across heads, dimension by dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(3, 12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.into(x).reshape(-1, 3, 4).softmax(1).reshape(-1, 12))


def test_a_wrong_nesting_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its barrier, each head would permute its dimensions on its own: a wreath product that is not there."""
    right = convert_module(Heads(), torch.randn(4, 3), generator=_rng())
    assert right.verified
    assert right.graph.group().factors == ("S_3", "S_4")

    def wrong(e: Engine, call: Call) -> Result:
        return e.tensor(e.plain(call["self"]).legs)

    monkeypatch.setitem(RULES, "softmax", Entry(wrong, powers=False))
    message = r"the first space at fault is 'into/head' \(into/head: nested in into/heads, 4, permutation\): alone it"
    with pytest.raises(VerificationError, match=message):
        convert_module(Heads(), torch.randn(4, 3), generator=_rng())


class Deep(nn.Module):
    """Sixteen hidden layers, of which one has an order."""

    def __init__(self, ordered: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(5, 5) for _ in range(17))
        self.ordered = ordered

    def forward(self, x: Tensor) -> Tensor:
        for k, layer in enumerate(self.layers):
            x = nn.functional.gelu(layer(x))
            x = x.roll(1, -1) if k == self.ordered else x
        return x


@pytest.mark.parametrize("ordered", [0, 10, 15])
def test_bisection_finds_the_space_at_fault(ordered: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(e: Engine, call: Call) -> Result:
        return e.tensor(e.plain(call["self"]).legs)

    monkeypatch.setitem(RULES, "roll", Entry(wrong, powers=True))
    runs: list[int] = []
    module = Deep(ordered)
    with torch.no_grad():
        for k, layer in enumerate(module.layers):
            layer.weight.copy_(1.4 * torch.linalg.qr(torch.randn(5, 5, generator=_rng(k)))[0])
            layer.bias.copy_(torch.rand(5, generator=_rng(k)))

    def counted(graph: NetworkGraph, weights: Weights, run: Run, generator: torch.Generator, **rest: Any) -> Outcome:
        def counting(candidate: Weights) -> Tensor:
            runs.append(1)
            return run(candidate)

        return gate(graph, weights, counting, generator, **rest)

    monkeypatch.setattr("graphws_converters.modules.conversion.gate", counted)
    with pytest.raises(VerificationError, match=rf"the first space at fault is 'layers\.{ordered}' "):
        convert_module(module, torch.randn(4, 5, generator=_rng()), generator=_rng(5))
    assert len(runs) <= 4 + 4 + 1, "outputs, the element, rounding, outputs again, bisection over 16 spaces, the space"


class Half(nn.Module):
    """Insists on its own type."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError("float32 only")
        return self.last(torch.softmax(self.first(x), -1))


def test_the_tolerance_follows_the_coarsest_type() -> None:
    assert tolerance_of([torch.float64, torch.int64]) == 1e-8
    assert tolerance_of([torch.float64, torch.float32]) == pytest.approx(1.2e-5, rel=0.01)
    assert tolerance_of([torch.bfloat16]) == 5e-2
    result = convert_module(Half(), torch.randn(4, 3), generator=_rng())
    assert result.verification is not None
    assert 1e-9 < result.verification.error < 1.2e-5


def test_nothing_to_see_is_not_called_verified() -> None:
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return 0 * self.last(torch.sigmoid(self.first(x))) + 1

    verdict = convert_module(Constant(), torch.randn(4, 3), generator=_rng()).verdict
    assert verdict == (
        "UNVERIFIED (leaving a parameter behind changes the outputs by 0.0e+00 only: too little to tell)"
    )

    class Infinite(Constant):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) / 0

    verdict = convert_module(Infinite(), torch.randn(4, 3), generator=_rng()).verdict
    assert verdict == "UNVERIFIED (the outputs are not finite numbers on these inputs)"


class Scaled(nn.Module):
    """A network whose outputs are multiplied by a parameter, or by a number."""

    def __init__(self, factor: float, learned: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)
        self.factor = nn.Parameter(torch.tensor([factor])) if learned else factor

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.factor * self.last(torch.sigmoid(self.first(x)))
        return y


def test_outputs_that_are_all_zero_show_nothing() -> None:
    verdict = convert_module(Scaled(0.0, learned=False), torch.randn(4, 3), generator=_rng()).verdict
    assert verdict == "UNVERIFIED (all outputs are zero: there is nothing to measure a change by)"


def test_outputs_that_start_at_zero_are_tried_at_disturbed_weights() -> None:
    found = convert_module(Scaled(0.0, learned=True), torch.randn(4, 3), generator=_rng()).verification
    assert found is not None
    assert found.control < 1e3


def test_a_wrong_claim_is_seen_where_outputs_start_at_zero() -> None:
    """Of two factors that a claim exchanges one is 0: at the start the outputs are zeros, and after it they are not."""
    graph = NetworkGraph((Space("hidden", 8),), (Parameter("a", "hidden", "weight"), Parameter("b", "hidden", "bias")))
    weights = Weights(graph, {"a": torch.zeros(1, 8, dtype=torch.float64), "b": torch.rand(1, 8, dtype=torch.float64)})

    def ordered(network: Weights) -> Tensor:
        return (network["a"] * torch.arange(8.0)).sum(1) * network["b"].sum()

    with pytest.raises(VerificationError):
        gate(graph, weights, ordered, _rng(), tolerance=1e-8)


def test_a_bias_left_behind_is_no_control() -> None:
    """Outputs that only two biases of a space make: whether its weights follow cannot be seen."""
    graph = NetworkGraph(
        (Space("input", 3, "free"), Space("hidden", 8)),
        (Parameter("W", "hidden input*"), Parameter("b", "hidden", "bias"), Parameter("c", "hidden", "bias")),
    )
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=_rng(), dtype=torch.float64))

    def run(network: Weights) -> Tensor:
        return (network["b"] * network["c"]).sum(1)

    def wider(network: Weights) -> Tensor:
        return run(network) + (network["W"].sum(2) * network["b"]).sum(1)

    blind = gate(graph, weights, run, _rng(), tolerance=1e-8)
    assert blind.verification is None
    assert re.fullmatch(r"leaving a parameter behind changes the outputs by \S+ only: too little to tell", blind.reason)
    assert gate(graph, weights, wider, _rng(), tolerance=1e-8).verification is not None


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 8, 49])
def test_halves_part_any_two(count: int) -> None:
    parts = [set(half) for half in halves([True] * count)]
    assert len(parts) <= count.bit_length()
    assert all(any((a in half) != (b in half) for half in parts) for a in range(count) for b in range(a))


@pytest.mark.parametrize("count", [4, 40])
def test_halves_part_spaces_of_few_elements_whatever_lies_between(count: int) -> None:
    few = [k % 3 == 0 for k in range(count)]
    parts = [set(half) for half in halves(few)]
    assert len(parts) == max(2, (sum(few) - 1).bit_length())
    marked = [k for k in range(count) if few[k]]
    assert all(any((a in half) != (b in half) for half in parts) for a in marked for b in marked if a != b)
    assert len(halves([False] * count)) == 2


@pytest.mark.parametrize("spaces", [2, 3, 6])
def test_claims_that_hold_only_together_are_not_verified(spaces: int) -> None:
    """Spaces of two elements, which every element exchanges: all at once they leave a product of all alone."""
    names = [f"s{k}" for k in range(spaces)]
    parameters = tuple(Parameter(f"{tensor}{n}", n, "weight") for tensor in "vw" for n in names)
    graph = NetworkGraph(tuple(Space(n, 2) for n in names), parameters)
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=_rng(), dtype=torch.float64))

    def products(network: Weights) -> Tensor:
        return torch.stack([network[f"v{n}"] * network[f"w{n}"] for n in names])

    def together(network: Weights) -> Tensor:
        return products(network).prod(0).sum(1)

    def apart(network: Weights) -> Tensor:
        return products(network).sum(0).sum(1)

    found = gate(graph, weights, together, _rng(), tolerance=1e-8)
    assert found.verification is None
    assert re.match(r"space 's\d' alone changes the outputs by \S+, all spaces at once do not", found.reason)
    assert gate(graph, weights, apart, _rng(), tolerance=1e-8).verification is not None


def test_a_source_without_gradients_is_run_instead() -> None:
    graph = NetworkGraph(
        (Space("hidden", 8),), (Parameter("a", "hidden", "weight"), Parameter("b", "hidden", "weight"))
    )
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=_rng(), dtype=torch.float64))

    def detached(network: Weights) -> Tensor:
        return (network["a"].detach() * network["b"].detach()).sum(1)

    assert gate(graph, weights, detached, _rng(), tolerance=1e-8).verification is not None


def test_disturbed_weights_keep_what_is_positive(rolled: Rolled) -> None:
    module = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.Linear(6, 2))
    result = convert_module(module, torch.randn(4, 3), generator=_rng())
    assert isinstance(result.weights, Weights)
    shaken = result.weights.map(torch.clone)
    disturb(shaken, _rng())
    assert bool((shaken["1.running_var"] > 0).all())
    assert not torch.equal(shaken["1.running_var"], result.weights["1.running_var"])
    assert torch.equal(shaken["1.num_batches_tracked"], result.weights["1.num_batches_tracked"])
    assert shaken["1.running_mean"].unique().numel() == 6, "zeros would hide mistakes"
    assert result.run is not None
    outcome = gate(result.graph, result.weights, result.run, _rng(), tolerance=1e-3, draws=1)
    assert outcome.verification is not None


def test_what_users_can_get_wrong() -> None:
    cases = [
        (
            nn.Linear(3, 2),
            torch.zeros(4, 5),
            None,
            r"^the module cannot be run on these inputs: torch\.export: .*; recorder: ",
        ),
        (nn.LazyLinear(3), torch.zeros(4, 5), None, r"^parameter 'weight' has no numbers yet: run the module once"),
        (
            nn.Linear(3, 2),
            torch.zeros(4, 3),
            "logits",
            r"^the module has no output 'logits': it returns only one$",
        ),
    ]
    for module, inputs, output, message in cases:
        with pytest.raises(UsageError, match=message):
            convert_module(module, inputs, generator=_rng(), hints=Hints(outputs=output))
    assert re.match("UNVERIFIED", convert_module(nn.Linear(3, 2), torch.zeros(4, 3), generator=_rng()).verdict)


def test_one_of_several_outputs() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            hidden = torch.sigmoid(self.first(x))
            return {"hidden": hidden, "logits": self.last(hidden)}

    both = convert_module(Pair(), torch.randn(4, 3), generator=_rng())
    assert not any(space.moves for space in both.graph.spaces)
    one = convert_module(Pair(), torch.randn(4, 3), generator=_rng(), hints=Hints(outputs="logits"))
    assert one.verified
    assert [space.size for space in one.graph.spaces if space.moves] == [6]
    with pytest.raises(UsageError, match=r"^the module has no output 'logit'; did you mean 'logits'\?$"):
        convert_module(Pair(), torch.randn(4, 3), generator=_rng(), hints=Hints(outputs="logit"))
