"""What is tried beside the rich match, and what is kept."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from graphws.align import Candidate, align, average, classification_loss, compare, halfway
from graphws.align.candidates import best
from graphws.align.correction import comparison_with_parts
from graphws.align.least_norm_gauge import averaging_gauge
from graphws.graph import GroupElement, Monomial, Weights
from graphws.operations import forward, mlp_graph
from tests.align.cases import ATTENTION, MLPS, distance, network, points

RELU = mlp_graph([6, 24, 24, 3], "relu")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def names(weights: Weights, other: Weights) -> list[str]:
    return [str(candidate) for candidate in align(weights, other, generator=rng()).candidates]


def test_the_candidates_of_a_graph_are_those_that_differ_on_it() -> None:
    tanh, gelu = MLPS["deep tanh"], MLPS["gelu, wide and narrow"]
    assert names(network(RELU, 1), network(RELU, 2)) == [
        "rich, matched at unit norm, averaged at least norm",
        "rich, matched at least norm, averaged at least norm",
        "permutation, averaged at least norm",
        "permutation",
        "as they came",
    ]
    assert names(network(tanh, 1), network(tanh, 2)) == ["rich", "permutation", "as they came"]
    assert names(network(gelu, 1), network(gelu, 2)) == ["permutation", "as they came"]
    restricted = align(network(RELU, 1), network(RELU, 2), actions="permutation", generator=rng())
    assert [str(candidate) for candidate in restricted.candidates] == ["permutation", "as they came"]
    by_values = align(network(RELU, 1), network(RELU, 2), method="activations", inputs=points(RELU))
    assert [str(candidate) for candidate in by_values.candidates] == [
        "activations, averaged at least norm",
        "activations",
        "as they came",
    ]


def test_a_moved_copy_ends_the_search() -> None:
    first = network(RELU)
    found = align(first, RELU.group().random(rng(), actions="rich").act(first), generator=rng())
    assert [candidate.matching for candidate in found.candidates] == ["unit norm"]
    assert found.candidates[found.kept].distance < 1e-20


@pytest.mark.parametrize("name", ["relu", "mixed", "deep tanh", "matrix form"])
def test_the_best_by_an_objective_is_kept_and_all_compute_what_they_did(name: str) -> None:
    graph = {**MLPS, **ATTENTION}[name]
    a, b, x = network(graph, 1), network(graph, 2), points(graph)
    seen: list[tuple[float, Weights]] = []

    def objective(moved: Weights) -> float:
        seen.append((float((forward(graph, average(Weights.cat([a, moved])), x) ** 2).mean()), moved))
        return seen[-1][0]

    found = align(a, b, objective=objective, generator=rng())
    assert [candidate.objective for candidate in found.candidates] == [value for value, _ in seen]
    assert found.candidates[found.kept].objective == min(value for value, _ in seen)
    assert torch.equal(found.aligned.flatten(), seen[found.kept][1].flatten())
    for _, moved in seen:
        torch.testing.assert_close(forward(graph, moved, x), forward(graph, b, x), rtol=1e-6, atol=1e-6)
    worst = align(a, b, objective=lambda moved: -objective(moved), generator=rng())
    assert str(worst.candidates[worst.kept]) != str(found.candidates[found.kept])  # the objective decides


def test_without_an_objective_the_nearest_is_kept() -> None:
    found = align(network(RELU, 1), network(RELU, 2), generator=rng())
    assert found.candidates[found.kept].distance < 1.01 * min(candidate.distance for candidate in found.candidates)
    signed = align(network(MLPS["deep tanh"], 1), network(MLPS["deep tanh"], 2), generator=rng())
    assert signed.candidates[signed.kept].distance == min(candidate.distance for candidate in signed.candidates)
    assert signed.candidates[signed.kept].matching == "rich"  # nearer by more than chance
    assert all(candidate.objective is None for candidate in found.candidates)


def test_the_distance_is_that_of_weights_with_the_first_at_least_norm() -> None:
    """By hand on three layers: scales that balance incoming and outgoing squares, each layer divided by its own."""
    a, b = network(RELU, 1), network(RELU, 2)
    found = align(a, b, generator=rng())
    gauge = averaging_gauge(a)
    ours, theirs = gauge.act(a), gauge.act(found.aligned)
    squares = {n: float(x.square().sum()) for n, x in ours.items()}
    layer = {n: squares[f"W{n[-1]}"] + squares[f"b{n[-1]}"] for n in squares}
    gap = sum(float((x - theirs[n]).square().sum()) / layer[n] for n, x in ours.items())
    size = sum(float(x.square().sum() + theirs[n].square().sum()) / layer[n] for n, x in ours.items())
    assert found.candidates[found.kept].distance == pytest.approx(gap / size)
    for k in (1, 2):
        into = ours[f"W{k}"][0].square().sum(1) + ours[f"b{k}"][0].square()
        torch.testing.assert_close(into, ours[f"W{k + 1}"][0].square().sum(0), rtol=1e-6, atol=1e-9)


def test_scales_of_the_networks_given_do_not_change_what_a_mean_computes() -> None:
    """The mean is taken at least norm, whatever scales the two came with."""
    a, b, x = network(RELU, 1), network(RELU, 2), points(RELU)
    scales = {
        name: Monomial(torch.arange(24), torch.rand(24, generator=rng(k), dtype=torch.float64) * 9 + 0.1)
        for k, name in enumerate(("hidden1", "hidden2"))
    }
    moved = GroupElement(RELU, scales).act(a)
    found = [align(one, b, generator=rng()) for one in (a, moved)]
    for one in found:
        assert one.candidates[one.kept].gauge == "least norm"
    rich = [[c.distance for c in one.candidates if "norm" in c.matching] for one in found]
    assert rich[0] == pytest.approx(rich[1])
    outputs = []
    for one in (a, moved):
        kept = align(one, b, generator=rng(), objective=Numbered(1)).aligned
        outputs.append(forward(RELU, average(Weights.cat([one, kept])), x))
    torch.testing.assert_close(*outputs)
    plain = [forward(RELU, average(Weights.cat([one, b])), x) for one in (a, moved)]
    assert float((plain[0] - plain[1]).abs().max()) > 1  # control: as they came it does


class Numbered:
    """Prefers the candidate of a number."""

    def __init__(self, wanted: int) -> None:
        self.left = wanted + 1

    def __call__(self, moved: Weights) -> float:
        self.left -= 1
        return 0.0 if self.left == 0 else 1.0


def test_what_is_kept_of_equals_and_of_what_is_no_number() -> None:
    def one(distance: float, objective: float | None = None) -> Candidate:
        return Candidate("permutation", "as they are", distance, objective)

    assert best([one(0.5), one(0.2), one(0.9)]) == 1
    assert best([one(0.5, 3.0), one(0.2, 4.0), one(0.9, 2.0)]) == 2
    assert best([one(0.5, math.nan), one(0.2, math.inf), one(0.9, 7.0)]) == 2
    assert best([one(0.5, 1.0), one(0.2, 1.0 + 1e-12), one(0.9, 1.0)]) == 1
    assert best([one(0.3), one(0.3)]) == 0
    rich = Candidate("least norm", "least norm", 0.5)
    assert best([rich, one(0.504), one(0.503), one(0.6)]) == 2  # no nearer than chance would bring it
    assert best([rich, one(0.51)]) == 0
    assert best([replace(rich, objective=1.0), one(0.5, 1.1)]) == 0
    assert one(0.5, math.nan).to_dict()["objective"] is None


def separate(seed: int) -> tuple[Weights, Tensor, Tensor]:
    """A network that classifies points by their first coordinate, with neurons in an order of its own."""
    graph = mlp_graph([2, 4, 2], "relu")
    base = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.1], [0.0, -0.1]], dtype=torch.float64)
    read = torch.tensor([[3.0, -3.0, 0.1, 0.0], [-3.0, 3.0, 0.0, 0.1]], dtype=torch.float64)
    order = torch.randperm(4, generator=rng(seed))
    tensors = {"W1": base[order], "b1": torch.zeros(4), "W2": read[:, order], "b2": torch.zeros(2)}
    x = torch.randn(60, 2, generator=rng(9), dtype=torch.float64)
    return Weights(graph, {n: t.double().unsqueeze(0) for n, t in tensors.items()}), x, (x[:, 0] < 0).long()


def test_the_comparison_keeps_the_mean_of_least_loss() -> None:
    (a, x, labels), (b, _, _) = separate(0), separate(1)
    noisy = Weights.unflatten(b.graph, b.flatten() + 0.3 * network(b.graph, 5).flatten())
    found = compare(a, noisy, inputs=x, labels=labels, generator=rng())
    loss = classification_loss(x, labels)
    objectives = [candidate.objective for candidate in found.alignment.candidates]
    assert found.after is not None
    assert found.after.middle == pytest.approx(min(value for value in objectives if value is not None))
    assert halfway(a, loss)(noisy) == pytest.approx(objectives[-1])
    assert found.to_dict()["candidates"][found.alignment.kept]["objective"] == pytest.approx(found.after.middle)
    assert distance(a, compare(a, b, inputs=x, labels=labels, generator=rng()).alignment.aligned) < 1e-9


def test_a_mean_worse_than_its_parts_never_goes_unsaid() -> None:
    x = points(RELU)
    a, b = network(RELU, 1), network(RELU, 2)
    labels = forward(RELU, a, x)[0].argmax(1)
    found = compare(a, b, inputs=x, labels=labels, generator=rng())
    assert found.after is not None
    merged, parts = found.after.middle, (found.after.losses[0], found.after.losses[-1])
    assert merged > min(parts)
    assert found.notes == tuple(comparison_with_parts(merged, parts))
    assert len(found.notes) == 1
    same = compare(a, RELU.group().random(rng(), actions="rich").act(a), inputs=x, labels=labels, generator=rng())
    assert same.notes == ()  # control
    silent = compare(a, b, generator=rng())
    assert silent.notes == (
        "whether the merged network is worse than the networks was not measured: there are no data",
    )


def test_the_sentences_about_a_mean() -> None:
    assert comparison_with_parts(0.3, (0.3, 0.5)) == []
    assert comparison_with_parts(0.4, (0.3, 0.5)) == [
        "the merged network is worse than the best of the networks: loss 0.4 against 0.3"
    ]
    assert comparison_with_parts(0.6, (0.3, 0.5)) == [
        "the merged network is worse than both networks: loss 0.6 against 0.3 to 0.5"
    ]
    assert comparison_with_parts(0.6, (0.3, 0.5, 0.4)) == [
        "the merged network is worse than all 3 networks: loss 0.6 against 0.3 to 0.5"
    ]
    assert comparison_with_parts(0.2, (0.3, 0.5), 0.9) == ["before that its loss was 0.9; now it is 0.2"]
    assert comparison_with_parts(0.2, (0.3, 0.5), 0.1) == ["that raised its loss, from 0.1 to 0.2"]
    for losses in ((math.nan, 0.3, 0.4), (0.3, math.nan, 0.2), (math.inf, 0.1, 0.2)):
        (said,) = comparison_with_parts(losses[0], losses[1:])
        assert said == "the loss of the merged network, or of one of the networks, is not finite"
