"""The verdict on θ: identifiable, weakly identifiable, not so, or open."""

from __future__ import annotations

import pytest
import torch

from graphws.actions.identifiability import identifiability
from graphws.actions.reduction import reduce
from graphws.graph import Weights
from graphws.operations import forward, mlp_graph
from tests.actions.redundancy import plant, random_mlp


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def word(weights: Weights) -> str:
    return identifiability(weights).standing.word


def copied(copies: list[int], shares: list[float], signs: list[float] | None = None, activation: str = "tanh"):
    """A network of 3 inputs and 2 outputs in which hidden neurons are copies, read by shares that add up to 1."""
    count = max(copies) + 1
    small = Weights.unflatten(mlp_graph([3, count, 2], activation), normal(1, 3 * count + count + 2 * count + 2))
    sign, share, of = torch.tensor(signs or [1.0] * len(copies)), torch.tensor(shares), torch.tensor(copies)
    sign, share = sign.double(), share.double()
    graph = mlp_graph([3, len(copies), 2], activation)
    weights = Weights(
        graph,
        {
            "W1": small["W1"][:, of] * sign[:, None],
            "b1": small["b1"][:, of] * sign,
            "W2": small["W2"][:, :, of] * (share * sign),
            "b2": small["b2"],
        },
    )
    x = normal(20, 3, seed=1)
    torch.testing.assert_close(forward(graph, weights, x), forward(small.graph, small, x))
    return weights


def appendix_b(activation: str) -> Weights:
    graph = mlp_graph([2, 2, 1], activation, bias=False)
    first = torch.tensor([[[1.0, 1.0], [2.0, 3.0]]], dtype=torch.float64)
    return Weights(graph, {"W1": first, "W2": torch.tensor([[[-2.0, 0.0]]], dtype=torch.float64)})


@pytest.mark.parametrize(
    ("activation", "before", "after"),
    [
        ("tanh", "not weakly identifiable", "weakly identifiable"),
        ("power", "not weakly identifiable", "weakly identifiable"),
        ("gelu", "not weakly identifiable", "open"),
        ("relu", "not weakly identifiable", "open"),
        ("sigmoid", "open", "open"),  # σ(0) is not 0, and paper I asks for that
    ],
)
def test_appendix_b(activation: str, before: str, after: str) -> None:
    """θ₀ is not weakly identifiable, and θ₀′ of the same function is, wherever a theorem covers the activation."""
    theta = appendix_b(activation)
    assert word(theta) == before
    assert word(reduce(theta).equivalent()) == after


def test_the_words_of_the_verdict() -> None:
    theta = appendix_b("tanh")
    assert str(identifiability(theta).standing) == (
        "not weakly identifiable: neuron 1 of hidden1 is written, though nothing reads it: "
        "without it the function is the same (remark 5.2)"
    )
    report = identifiability(reduce(theta).equivalent())
    assert "verdict: weakly identifiable: the image of an identifiable submodel (hidden1 1 of 2)\n" in str(report)
    assert report.licence.startswith("an exact symmetry of this function acts on every layer")
    assert report.to_dict()["standing"]["word"] == "weakly identifiable"
    power = identifiability(reduce(appendix_b("power")).equivalent())
    assert power.standing.reason.endswith("; if the power is large enough for these widths")
    assert str(identifiability(random_mlp([3, 4, 2], "tanh", rng(0))).standing) == "identifiable"


@pytest.mark.parametrize(
    ("copies", "shares", "signs", "expected"),
    [
        ([0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], None, "weakly identifiable"),
        ([0, 0, 1, 1], [1.0, 0.0, 0.0, 1.0], None, "weakly identifiable"),
        ([0, 1, 1, 0], [0.3, 0.7, 0.3, 0.7], [1.0, -1.0, 1.0, -1.0], "weakly identifiable"),
        ([0, 0, 0], [2.0, -1.5, 0.5], None, "weakly identifiable"),
        ([0, 1, 1, 0], [1.0, 0.0, 1.0, 0.0], [1.0, -1.0, 1.0, 1.0], "weakly identifiable"),
        ([0, 0, 1], [1.0, 0.0, 1.0], None, "not weakly identifiable"),
        ([0, 0, 1, 1], [0.3, 0.7, 0.6, 0.4], None, "open"),  # γ would have to change shares
        ([0, 0, 1], [0.5, 0.5, 1.0], None, "not weakly identifiable"),  # no γ exchanges 2 copies with 1
    ],
)
def test_copies(copies: list[int], shares: list[float], signs: list[float] | None, expected: str) -> None:
    assert word(copied(copies, shares, signs)) == expected


def test_why_copies_of_unequal_number_are_not_weakly_identifiable() -> None:
    """An exact symmetry that exchanges two neurons, one of which has a copy, acts on no layer by a signed permutation.

    So the conclusion of theorem 4.1 fails, and its premise must not be said to hold.
    """
    graph = mlp_graph([2, 3, 1], "tanh")
    rows = torch.tensor([[[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]]], dtype=torch.float64)
    last = torch.tensor([[[0.5, 0.5, 1.0]]], dtype=torch.float64)
    theta = Weights(graph, {"W1": rows, "b1": torch.zeros(1, 3).double(), "W2": last, "b2": torch.zeros(1, 1).double()})
    x = normal(30, 2)
    torch.testing.assert_close(forward(graph, theta, x.flip(1)), forward(graph, theta, x))
    h, moved = torch.tanh(x @ rows[0].T), torch.tanh(x.flip(1) @ rows[0].T)
    distances = (moved[:, :, None] - h[:, None, :]).norm(dim=0)
    assert int((distances < 1e-9).any(0).sum()) == 3  # each neuron's values are found again …
    assert int((distances < 1e-9).sum(1)[2]) == 2  # … but two of them where there was one
    assert word(theta) == "not weakly identifiable"
    assert identifiability(theta).standing.reason.startswith("neurons of hidden1 have from 1 to 2 copies")


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_an_unread_copy_is_no_idle_neuron(activation: str) -> None:
    """Without a theorem the verdict is open, and not that θ is not weakly identifiable."""
    assert word(copied([0, 0, 1, 1], [1.0, 0.0, 0.0, 1.0], None, activation)) == "open"
    weights = copied([0, 0, 1, 1], [1.0, 0.0, 0.0, 1.0], None, activation)
    weights["b1"][0, 1] += 0.1
    assert word(weights) == "not weakly identifiable"


def test_copies_that_readers_split_differently_are_left_open() -> None:
    weights = copied([0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5])
    shift = 0.1 * normal(2, seed=7)
    weights["W2"][0, :, 0] += shift
    weights["W2"][0, :, 1] -= shift
    assert word(weights) == "open"
    assert identifiability(weights).licence.startswith("not at this θ")


@pytest.mark.parametrize(
    ("planted", "expected"),
    [
        ({"unread": 2}, "not weakly identifiable"),
        ({"constant": 1}, "not weakly identifiable"),
        ({}, "identifiable"),
    ],
)
def test_planted_networks(planted: dict[str, int], expected: str) -> None:
    core = random_mlp([3, 6, 6, 2], "tanh", rng(0))
    weights = plant(core, 2, "tanh", rng(1), **planted) if planted else core
    assert word(weights) == expected
    assert word(reduce(weights).weights) == "identifiable"


def test_a_silent_neuron_that_is_read_is_open_and_cleared_is_weakly_identifiable() -> None:
    weights = random_mlp([3, 4, 2], "tanh", rng(0)).map(lambda x: x.clone())
    weights["W1"][0, 1], weights["b1"][0, 1] = 0.0, 0.0
    assert word(weights) == "open"
    weights["W2"][0, :, 1] = 0.0
    assert word(weights) == "weakly identifiable"
    weights["b1"][0, 1] = 0.3
    assert word(weights) == "not weakly identifiable"


def test_linear_networks() -> None:
    graph = mlp_graph([4, 3, 3, 4], "identity", bias=False)
    weights = Weights.unflatten(graph, normal(1, graph.numel))
    assert word(weights) == "identifiable"
    weights["W1"][0, 2] = weights["W1"][0, :2].sum(0)
    assert word(weights) == "open"
    assert word(reduce(weights).equivalent()) == "weakly identifiable"


def test_single_precision_follows_its_rounding() -> None:
    weights = copied([0, 0, 1, 1], [0.3, 0.7, 0.3, 0.7])
    assert word(weights.to(dtype=torch.float32)) == "weakly identifiable"
    uneven = copied([0, 0, 1, 1], [0.3, 0.7, 0.301, 0.699])
    assert word(uneven.to(dtype=torch.float32)) == "open"
