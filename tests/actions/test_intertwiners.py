from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from graphws.actions.intertwiners.group import Intertwiners
from graphws.actions.intertwiners.measured import check_group, measured_group
from graphws.errors import GraphError, UsageError
from graphws.graph import Action, GroupElement, LinearMap, Monomial, Operation, Weights
from graphws.matching.match import same_map
from graphws.operations import ACTIVATIONS, Activation, action_of, activation, forward, measure_intertwiners
from graphws.operations.builders.attention import AttentionLayer, attention_graph
from graphws.operations.latents import latents

GROUPS = {
    "gelu": Intertwiners.of("gelu", 5),
    "tanh": Intertwiners.of("tanh", 5),
    "relu": Intertwiners.of("relu", 5),
    "power 3": Intertwiners.of("power", 5, 3),
    "power 4": Intertwiners.of("power", 5, 4),
    "identity": Intertwiners.of("identity", 5),
}


def function(name: str) -> Activation:
    kind, *exponent = name.split()
    return activation(kind, exponent=int(exponent[0]) if exponent else None)


def points(width: int) -> Tensor:
    return 2 * torch.randn(40, width, dtype=torch.float64, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("name", list(GROUPS))
def test_elements_of_the_group_commute_with_the_activation(name: str) -> None:
    group, rng = GROUPS[name], torch.Generator().manual_seed(0)
    for _ in range(5):
        element = group.sample(rng)
        assert group.contains(element)
        assert group.defect(function(name), element, points(5)) < 1e-12


@pytest.mark.parametrize("name", [name for name in GROUPS if name != "identity"])
def test_a_random_matrix_does_not(name: str) -> None:
    matrix = LinearMap(torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    assert GROUPS[name].defect(function(name), matrix, points(5)) > 0.1
    assert not GROUPS[name].contains(matrix)


@pytest.mark.parametrize("group", [*GROUPS.values(), Intertwiners(Action.LINEAR, 3, heads=4)], ids=str)
def test_group_laws(group: Intertwiners) -> None:
    rng = torch.Generator().manual_seed(2)
    a, b = group.sample(rng), group.sample(rng)
    x = points(group.extent)
    assert group.contains(group.compose(a, b))
    assert group.contains(group.inverse(a))
    torch.testing.assert_close(group.act(group.compose(a, b), x), group.act(a, group.act(b, x)))
    assert same_map(group.compose(a, group.inverse(a)), group.identity())
    torch.testing.assert_close(group.act(group.identity(), x), x)


def test_membership_says_no() -> None:
    swap = Monomial(torch.tensor([1, 0, 2, 3, 4]), torch.tensor([1.0, -1, 1, 1, 1]).double())
    stretch = Monomial(torch.arange(5), torch.tensor([1.0, 2, 1, 1, 1]).double())
    allowed = {
        name: (group.contains(swap), group.contains(stretch), group.contains(Monomial(torch.tensor([0, 0, 1, 2, 3]))))
        for name, group in GROUPS.items()
    }
    assert allowed == {
        "gelu": (False, False, False),
        "tanh": (True, False, False),
        "relu": (False, True, False),
        "power 3": (True, True, False),
        "power 4": (True, True, False),
        "identity": (True, True, False),
    }
    heads = Intertwiners(Action.LINEAR, 2, heads=2)
    assert not heads.contains(LinearMap(torch.ones(4, 4).double() + torch.eye(4)))
    assert not heads.contains(LinearMap(torch.eye(6).double()))


TRUE = {
    **dict.fromkeys(("relu", "leaky_relu"), Action.SCALING),
    **dict.fromkeys(("tanh", "sine", "hardtanh", "softsign", "tanhshrink"), Action.SIGNED),
    **dict.fromkeys(("sigmoid", "gelu", "gelu_tanh", "silu", "elu", "selu"), Action.PERMUTATION),
    **dict.fromkeys(("softplus", "mish", "hardswish", "relu6"), Action.PERMUTATION),
    "power": Action.MONOMIAL,
    "identity": Action.LINEAR,
}
"""The action of each named activation, from its formula."""


def test_every_named_activation_has_a_true_action() -> None:
    assert set(TRUE) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", TRUE)
def test_named_activations_have_the_action_of_their_formula(name: str) -> None:
    assert ACTIVATIONS[name].action is TRUE[name]
    check_group(ACTIVATIONS[name], TRUE[name], name)


@pytest.mark.parametrize("exponent", [2, 3, 5])
def test_powers_are_confirmed(exponent: int) -> None:
    check_group(activation("power", exponent=exponent), Action.MONOMIAL)
    measured = measure_intertwiners(activation("power", exponent=exponent))
    assert (measured.exponent, measured.even) == (exponent, exponent % 2 == 0)


def test_unknown_activations_are_measured() -> None:
    check_group(torch.erf, Action.SIGNED)
    check_group(lambda x: torch.relu(x) ** 2, Action.SCALING)
    check_group(lambda x: torch.tanh(x) + 0.1 * torch.relu(x), Action.PERMUTATION)
    cosine = measure_intertwiners(torch.cos)
    assert (cosine.action, cosine.even) == (Action.SIGNED, True)
    assert cosine.residuals["sign"] < 1e-12 < 1e-3 < cosine.residuals["positive scale"]


FAR_BOUNDS = {
    "clamp(max=1000)": (("clamp", {"max": 1000.0}), Action.PERMUTATION),
    "clamp(min=-1000)": (("clamp", {"min": -1000.0}), Action.PERMUTATION),
    "hardtanh(0, 1000)": (("hardtanh", {"min_val": 0.0, "max_val": 1000.0}), Action.PERMUTATION),
    "hardtanh(-1000, 1000)": (("hardtanh", {"min_val": -1000.0, "max_val": 1000.0}), Action.SIGNED),
    "threshold(-1000)": (("threshold", {"threshold": -1000.0, "value": 0.0}), Action.PERMUTATION),
}


def pointwise(kind: str, constants: dict[str, float]) -> Callable[[Tensor], Tensor]:
    step = Operation(kind, ("z",), ("x",), constants)  # type: ignore[arg-type]
    return lambda x: step(x)


@pytest.mark.parametrize("name", FAR_BOUNDS)
def test_bounds_far_from_zero_are_seen(name: str) -> None:
    """Between -4 and 4 these are linear or a ReLU; what happens at a thousand decides."""
    (kind, constants), action = FAR_BOUNDS[name]
    assert measure_intertwiners(pointwise(kind, constants)).action is action


def test_constants_decide_the_action() -> None:
    def hardtanh(low: float, high: float) -> Action:
        return action_of(Operation("hardtanh", ("z",), ("x",), {"min_val": low, "max_val": high}))

    assert (hardtanh(-2, 2), hardtanh(-1, 2)) == (Action.SIGNED, Action.PERMUTATION)
    slopes = [action_of(Operation("leaky_relu", ("z",), ("x",), {"negative_slope": s})) for s in (0.2, 1.0, -1.0)]
    assert slopes == [Action.SCALING, Action.LINEAR, Action.MONOMIAL]
    assert action_of(Operation("softmax", ("z",), ("x",))) is Action.PERMUTATION  # not pointwise


EXOTIC = {
    "cosine": (torch.cos, Action.SIGNED, 1.0, True),
    "squared relu": (lambda x: torch.relu(x) ** 2, Action.SCALING, 2.0, False),
    "absolute value": (torch.abs, Action.MONOMIAL, 1.0, True),
    "root": (lambda x: x.sign() * x.abs() ** 0.5, Action.MONOMIAL, 0.5, False),
    "quartic": (lambda x: x**4, Action.MONOMIAL, 4.0, True),
    "step": (torch.sign, Action.MONOMIAL, 0.0, False),
    "doubled": (lambda x: 2 * x, Action.LINEAR, 1.0, False),
    "swish with a kink": (lambda x: torch.nn.functional.silu(x) + torch.relu(x), Action.PERMUTATION, 1.0, False),
}


@pytest.mark.parametrize("name", list(EXOTIC))
def test_measured_groups_commute_with_their_activation(name: str) -> None:
    """Of activations that no table knows: group, exponent and sign of B, on random elements, with a control."""
    sigma, action, exponent, even = EXOTIC[name]
    measured = measure_intertwiners(sigma)
    assert (measured.action, measured.even, measured.exponent) == (action, even, pytest.approx(exponent, abs=1e-6))
    check_group(sigma, action, name)
    group, rng = measured_group(sigma, 5), torch.Generator().manual_seed(0)
    for _ in range(5):
        element = group.sample(rng)
        assert group.defect(sigma, element, points(5)) < 1e-7
        assert group.contains(element)
    larger = {
        Action.SIGNED: Intertwiners(Action.SCALING, 5), Action.SCALING: Intertwiners(Action.SIGNED, 5),
        Action.MONOMIAL: Intertwiners(Action.LINEAR, 5), Action.PERMUTATION: Intertwiners(Action.MONOMIAL, 5),
    }  # fmt: skip
    if action in larger:
        stranger = larger[action].sample(rng)
        assert group.defect(sigma, stranger, points(5)) > 0.05
        assert not group.contains(stranger)


def test_partners_are_a_homomorphism() -> None:
    """B(A A') = B(A) B(A'): what comes out moves by a group too."""
    rng = torch.Generator().manual_seed(3)
    for group in (*GROUPS.values(), Intertwiners(Action.MONOMIAL, 5, exponent=1, even=True)):
        a, b = group.sample(rng), group.sample(rng)
        both = group.compose(group.partner(a), group.partner(b))
        whole = group.partner(group.compose(a, b))
        torch.testing.assert_close(whole.matrix(), both.matrix())


def test_matrices_are_recognised() -> None:
    """A signed permutation written as a matrix belongs to the group of tanh; one with a small leak does not."""
    rng = torch.Generator().manual_seed(4)
    for name in ("gelu", "tanh", "relu", "power 3"):
        group = GROUPS[name]
        matrix = group.sample(rng).matrix()
        assert group.contains(LinearMap(matrix))
        leaking = matrix.clone()
        leaking[0] += 1e-3
        assert not group.contains(LinearMap(leaking))
    assert not GROUPS["tanh"].contains(LinearMap(GROUPS["relu"].sample(rng).matrix()))
    assert not GROUPS["tanh"].contains(LinearMap(torch.zeros(5, 5, dtype=torch.float64)))


def test_heads_carry_the_wreath_product() -> None:
    """GL(d) wr S_h moves what the heads of an attention layer write, and its weights make up for it; no matrix that
    mixes heads does."""
    graph = attention_graph(6, [AttentionLayer(3, 2)], output=4)
    rng = torch.Generator().manual_seed(5)
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng, dtype=torch.float64))
    x = torch.randn(7, 4, 6, generator=rng, dtype=torch.float64)
    group = Intertwiners(Action.LINEAR, 2, heads=3)
    k = group.sample(rng)
    blocks = k.matrix().abs().reshape(3, 2, 3, 2).sum((1, 3))
    element = GroupElement(graph, {"head1": Monomial(blocks.argmax(1)), "value1": k})
    moved = element.act(weights)
    before, after = latents(graph, weights, x)["value1"][0], latents(graph, moved, x)["value1"][0]
    torch.testing.assert_close(after, group.act(k, before))
    torch.testing.assert_close(forward(graph, moved, x), forward(graph, weights, x))
    mixing = LinearMap(torch.randn(6, 6, generator=rng, dtype=torch.float64))
    assert not group.contains(mixing)
    wrong = GroupElement(graph, {"value1": mixing}).act(weights)
    gap = latents(graph, wrong, x)["value1"][0] - group.act(mixing, before)
    assert gap.norm() > 0.1 * before.norm()


def test_a_claim_that_random_elements_refute_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last look: a measurement that is wrong itself does not pass."""
    module = importlib.import_module("graphws.actions.intertwiners.measured")
    right = measure_intertwiners(torch.tanh)
    monkeypatch.setattr(
        module, "measure_intertwiners", lambda function: dataclasses.replace(right, action=Action.SCALING)
    )
    with pytest.raises(GraphError) as error:
        check_group(torch.tanh, Action.SCALING, "saturating")
    assert str(error.value).startswith(
        "activation 'saturating': scaling was measured, but random elements of that group leave a residual of "
    )


def test_a_wrong_statement_is_caught() -> None:
    with pytest.raises(GraphError) as error:
        check_group(torch.nn.functional.gelu, Action.SIGNED, "tanh")
    assert str(error.value) == "activation 'tanh': signed is stated, permutation was measured"


def test_errors_of_users() -> None:
    with pytest.raises(GraphError) as error:
        activation("tanhh")
    assert str(error.value) == "unknown activation 'tanhh'; did you mean 'tanh'?"
    with pytest.raises(UsageError) as error:
        Intertwiners.of("reluu", 3)
    assert str(error.value) == "unknown activation 'reluu'; did you mean 'relu'?"
    with pytest.raises(UsageError) as error:
        Intertwiners(Action.SIGNED, 0)
    assert str(error.value) == "an intertwiner group needs at least one neuron, got 0 in None heads"
    with pytest.raises(UsageError) as error:
        measure_intertwiners(lambda x: x.sum())
    assert str(error.value) == "the activation turns 801 values into shape (): it is not pointwise"
    for strange in (lambda x: x.softmax(0), torch.nn.Dropout(), lambda x: x - x.mean()):
        with pytest.raises(UsageError) as error:
            measure_intertwiners(strange)
        assert str(error.value) == (
            "the activation gives a value that depends on the others or on chance: it is not pointwise"
        )
    with pytest.raises(UsageError) as error:
        measure_intertwiners(torch.ones_like)
    assert str(error.value) == (
        "the activation is constant or not finite between -4 and 4: it has no intertwiners to find"
    )
