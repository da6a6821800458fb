"""The moment-map test finds the action that is there, and refutes planted claims of others."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from graphws.errors import GraphError, VerificationError
from graphws.graph import Action, Axis, NetworkGraph, Parameter, Space, Weights
from graphws.operations import (
    ACTIVATIONS,
    AttentionLayer,
    MeasuredAction,
    attention_graph,
    measure_actions,
    mlp_graph,
    settle_actions,
    verify,
)
from tests.graph import samples


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=rng(7), dtype=torch.float64)


def claim(graph: NetworkGraph, name: str, action: Action) -> NetworkGraph:
    spaces = tuple(replace(s, action=action) if s.name == name else s for s in graph.spaces)
    return replace(graph, spaces=spaces)


def measure(graph: NetworkGraph, weights: Weights, x: Tensor, **options: object) -> dict[str, MeasuredAction]:
    found = measure_actions(graph, weights, x, generator=rng(), **options)  # type: ignore[arg-type]
    return {each.space: each for each in found}


TRUE = {
    **dict.fromkeys(("relu", "leaky_relu"), Action.SCALING),
    **dict.fromkeys(("tanh", "sine", "hardtanh", "softsign", "tanhshrink"), Action.SIGNED),
    **dict.fromkeys(("sigmoid", "gelu", "gelu_tanh", "silu", "elu", "selu"), Action.PERMUTATION),
    **dict.fromkeys(("softplus", "mish", "hardswish", "relu6"), Action.PERMUTATION),
    "power": Action.MONOMIAL,
    "identity": Action.LINEAR,
}
"""The action of each named activation, from its formula."""


def test_every_activation_has_a_true_action() -> None:
    assert set(TRUE) == set(ACTIVATIONS)


@pytest.mark.parametrize("activation", TRUE)
def test_every_activation_has_the_action_of_its_formula(activation: str) -> None:
    graph = mlp_graph([3, 6, 5, 2], activation, omega=3.0, exponent=3)
    weights = samples.random_weights(graph, 1)
    for found in measure(graph, weights, normal(50, 3)).values():
        assert found.found is TRUE[activation]
        assert found.verdict == ("plain" if found.claimed is Action.PERMUTATION else "confirmed")
        assert found.seen == found.size
        powers = {"relu": -1.0, "leaky_relu": -1.0, "identity": -1.0, "power": -3.0}
        after = {"hidden1": "W2.1", "hidden2": "W3.1"}[found.space]
        layer = after[1] == "2"
        writes = ("W1.0", "b1.0") if layer else ("W2.0", "b2.0")
        wanted = ((*((w, 1.0) for w in writes), (after, powers[activation])),) if activation in powers else ()
        assert found.exponents == wanted


INSIDE = {
    Action.MONOMIAL: {Action.SIGNED, Action.SCALING},
    Action.LINEAR: {Action.SIGNED, Action.SCALING, Action.MONOMIAL},
}
FALSE = [
    (activation, action)
    for activation, true in TRUE.items()
    for action in Action
    if activation != "power" and action not in {Action.PERMUTATION, true, *INSIDE.get(true, ())}
]


@pytest.mark.parametrize(("activation", "action"), FALSE)
def test_planted_claims_are_refuted(activation: str, action: Action) -> None:
    graph = claim(mlp_graph([3, 6, 5, 2], activation, omega=3.0), "hidden1", action)
    found = measure(graph, samples.random_weights(graph, 1), normal(50, 3))["hidden1"]
    assert (found.verdict, found.found) == ("refuted", TRUE[activation])


@pytest.mark.parametrize("activation", TRUE)
@pytest.mark.parametrize("claimed", [Action.SIGNED, Action.SCALING, Action.MONOMIAL, Action.LINEAR])
def test_claims_alone_get_the_verdict_of_a_full_measurement(activation: str, claimed: Action) -> None:
    graph = claim(mlp_graph([3, 6, 5, 2], activation, omega=3.0, exponent=3), "hidden1", claimed)
    weights = samples.random_weights(graph, 1)
    full, claims = (measure(graph, weights, normal(50, 3), beyond=beyond)["hidden1"] for beyond in (True, False))
    assert claims.verdict == full.verdict
    assert math.isnan(claims.errors["signs"]) == (claimed is Action.SCALING)
    if claimed is not Action.LINEAR:
        assert math.isnan(claims.errors["matrices"])
        assert claims.found is not Action.LINEAR


def test_a_claim_with_the_wrong_powers_is_refuted() -> None:
    graph = mlp_graph([3, 6, 2], "relu")
    wrong = replace(graph.parameter("b1"), axes=(Axis("hidden1", -1),))
    graph = replace(graph, parameters=tuple(wrong if p.name == "b1" else p for p in graph.parameters))
    found = measure(graph, samples.random_weights(graph, 1), normal(50, 3))
    assert found["hidden1"].verdict == "refuted"
    assert found["hidden1"].exponents == ((("W1.0", 1.0), ("b1.0", 1.0), ("W2.1", -1.0)),)  # what would be right


def test_neurons_that_are_always_on_do_not_pass_for_linear() -> None:
    graph = claim(mlp_graph([3, 6, 5, 2], "relu"), "hidden1", Action.LINEAR)
    weights = samples.random_weights(graph, 1)
    weights = Weights(graph, {**weights.tensors, "b1": weights["b1"].abs() + 20})
    found = measure(graph, weights, normal(50, 3))["hidden1"]
    assert (found.here, found.found, found.verdict) == (Action.LINEAR, Action.SCALING, "refuted")
    careless = measure(graph, weights, normal(50, 3), disturbances=0)["hidden1"]
    assert careless.verdict == "confirmed"  # what a test at these weights alone would say


def test_dead_neurons_confirm_nothing() -> None:
    graph = claim(mlp_graph([3, 6, 5, 2], "relu6"), "hidden1", Action.SCALING)
    weights = samples.random_weights(graph, 1)
    dead = Weights(graph, {**weights.tensors, "b1": weights["b1"] - 50})
    alone = measure(graph, dead, normal(50, 3), disturbances=0)["hidden1"]
    assert (alone.verdict, alone.alive, alone.found) == ("unconfirmed", 0, Action.PERMUTATION)
    assert str(alone) == "hidden1: scaling unconfirmed (0 of 6 elements have gradients)"
    bias = torch.tensor([[0.1, 0.2, -40, -40, 0.3, -40]], dtype=torch.float64)
    some = Weights(graph, {**weights.tensors, "b1": bias})
    found = measure(graph, some, 0.1 * normal(50, 3))["hidden1"]
    assert (found.here, found.found, found.verdict) == (Action.SCALING, Action.PERMUTATION, "refuted")
    assert found.alive == 3


@pytest.mark.parametrize("scores", ["softmax", "linear"])
def test_attention_has_the_linear_groups_that_its_graph_claims(scores: str) -> None:
    layers = [AttentionLayer(4, 3, 6, 3, key_value_heads=2), AttentionLayer(4, 2, 5)]
    graph = attention_graph(4, layers, 3, bias=True, positions=7, scores=scores)  # type: ignore[arg-type]
    weights = samples.random_weights(graph, 1).map(lambda t: 0.3 * t)
    found = measure(graph, weights, normal(10, 7, 4))
    assert {name for name, each in found.items() if each.verdict == "confirmed"} == {
        "model1", "value1", "query1", "model2", "value2"
    }  # fmt: skip
    assert found["head2"].found is Action.PERMUTATION
    assert found["query1"].idle == (("bK1.0",) if scores == "softmax" else ())
    whole = Space("value2", 8, action=Action.LINEAR)
    mixed = replace(graph, spaces=tuple(whole if s.name == "value2" else s for s in graph.spaces))
    false = measure(mixed, Weights(mixed, weights.tensors), normal(10, 7, 4))["value2"]
    assert (false.verdict, false.found) == ("refuted", Action.MONOMIAL)  # matrices that mix heads are no symmetry


class Gated(nn.Module):
    """A gated layer between two linear maps, with or without a norm in front of the reader."""

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.up, self.gate, self.down = nn.Linear(3, 6), nn.Linear(3, 6), nn.Linear(6, 2)
        self.norm = nn.LayerNorm(6) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(self.norm(self.up(x) * nn.functional.silu(self.gate(x))))
        return out


def gated(norm: bool) -> tuple[NetworkGraph, Weights, Callable[[Weights], Tensor]]:
    torch.manual_seed(0)
    module = Gated(norm).double()
    if isinstance(module.norm, nn.LayerNorm):
        nn.init.normal_(module.norm.bias)
    axes = {"up.weight": "h x*", "up.bias": "h", "gate.weight": "h^0 x*", "gate.bias": "h^0", "down.weight": "y h*"}
    axes |= {"down.bias": "y"} | ({"norm.weight": "h", "norm.bias": "h"} if norm else {})
    spaces = (Space("x", 3, "free"), Space("h", 6, action=Action.MONOMIAL), Space("y", 2, "free"))
    graph = NetworkGraph(spaces, tuple(Parameter(n, axes[n]) for n in module.state_dict()))  # type: ignore[arg-type]
    weights, x = Weights.from_state_dict(graph, module.state_dict()), normal(40, 3)

    def run(candidate: Weights) -> Tensor:
        out: Tensor = functional_call(module, {name: t[0] for name, t in candidate.items()}, (x,))
        return out.unsqueeze(0)

    return graph, weights, run


def test_any_module_is_measured_through_a_run_function() -> None:
    graph, weights, run = gated(norm=False)
    (found,) = measure_actions(graph, weights, generator=rng(), run=run)
    assert (found.verdict, found.found) == ("confirmed", Action.MONOMIAL)
    assert found.exponents == ((("up.weight.0", 1.0), ("up.bias.0", 1.0), ("down.weight.1", -1.0)),)
    verify(graph, weights, generator=rng(), run=run, actions="rich")
    graph, weights, run = gated(norm=True)
    (found,) = measure_actions(graph, weights, generator=rng(), run=run)
    assert (found.verdict, found.found) == ("refuted", Action.PERMUTATION)
    assert found.exponents == ((("down.weight.1", -1.0), ("norm.weight.0", 1.0), ("norm.bias.0", 1.0)),)  # absorbed


def test_settling_takes_back_what_is_not_confirmed() -> None:
    graph, weights, run = gated(norm=True)
    settled = settle_actions(graph, measure_actions(graph, weights, generator=rng(), run=run))
    assert str(settled.space("h")) == "h: set, 6, permutation"
    assert settled.space("h").reason == "monomial refuted by the moment-map test"
    again = Weights(settled, weights.tensors)
    verify(settled, again, generator=rng(), run=run, actions="rich")
    with pytest.raises(VerificationError):
        verify(graph, weights, generator=rng(), run=run, actions="rich")
    true = mlp_graph([3, 6, 2], "relu")
    measured = measure_actions(true, samples.random_weights(true, 1), normal(50, 3), generator=rng())
    assert settle_actions(true, measured) == true
    dead = claim(true, "hidden1", Action.MONOMIAL)
    half = settle_actions(dead, measure_actions(dead, samples.random_weights(dead, 1), normal(50, 3), generator=rng()))
    assert half.space("hidden1").action is Action.SCALING


def test_float32_is_judged_by_its_own_tolerance() -> None:
    graph = mlp_graph([3, 6, 5, 2], ["relu", "tanh"])
    weights = samples.random_weights(graph, 1, dtype=torch.float32)
    found = measure(graph, weights, normal(50, 3).float())
    assert [each.verdict for each in found.values()] == ["confirmed", "confirmed"]
    assert [each.found for each in found.values()] == [Action.SCALING, Action.SIGNED]


def test_several_networks_are_measured_at_once_and_spaces_chosen() -> None:
    graph = mlp_graph([3, 6, 5, 2], ["relu", "tanh"])
    found = measure(graph, samples.random_weights(graph, 3), normal(20, 3), spaces=["hidden2"])
    assert [*found] == ["hidden2"]
    assert found["hidden2"].verdict == "confirmed"
    assert str(found["hidden2"]).startswith("hidden2: signed confirmed (signs ")


def test_errors() -> None:
    graph = mlp_graph([3, 4, 2], "relu")
    weights = samples.random_weights(graph, 1)
    with pytest.raises(VerificationError, match=r"^nothing to measure: give `inputs`, or `run`$"):
        measure_actions(graph, weights, generator=rng())
    with pytest.raises(GraphError, match=r"^space 'output' is free: nothing acts on it$"):
        measure_actions(graph, weights, normal(4, 3), generator=rng(), spaces=["output"])
    with pytest.raises(GraphError, match=r"^no space 'hiden1' in this graph; did you mean 'hidden1'\?$"):
        measure_actions(graph, weights, normal(4, 3), generator=rng(), spaces=["hiden1"])
    with pytest.raises(VerificationError, match=r"^the outputs hold NaN or infinity: nothing can be measured there$"):
        measure_actions(graph, weights, normal(4, 3) / 0, generator=rng())
    with pytest.raises(
        VerificationError,
        match=r"^the outputs do not depend differentiably on the weights: nothing can be measured$",
    ):
        measure_actions(graph, weights, generator=rng(), run=lambda candidate: normal(1, 4, 2))
