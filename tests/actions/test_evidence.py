"""Relabelled decoys, what noise makes of a perfect action, and networks that break a symmetry at one layer."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from graphws.actions import find_actions
from graphws.actions.decoys.relabelled import RELABELLINGS, relabelled_errors
from graphws.actions.groups.naming import named_symmetry
from graphws.actions.groups.placing import place
from graphws.actions.measures.needs import needed_shares
from graphws.actions.measures.noise import noise_figures
from graphws.actions.pictures.joined_axes import picture_view
from graphws.actions.planted.networks import Planted, plant
from graphws.actions.problem import Problem, pose
from graphws.actions.search.search import Candidate, search
from graphws.converting import convert
from graphws.graph import Monomial, Weights
from graphws.matching import families
from graphws.operations import mlp_graph
from tests.actions.planting import rng

SHAPE = (1, 6, 6)


def planted(widths: Sequence[int], activation: str = "tanh", output: str = "same", seed: int = 0) -> Planted:
    graph = mlp_graph(widths, activation)
    symmetry = named_symmetry("mirror", SHAPE, output, outputs=widths[-1])
    return plant(graph, place(graph, symmetry, SHAPE), rng(seed))


def probes(points: int = 100) -> Tensor:
    return torch.randn(points, 36, generator=rng(5), dtype=torch.float64)


def posed(weights: Weights, output: str = "same", data: Tensor | None = None) -> tuple[Problem, Candidate]:
    symmetry = named_symmetry("mirror", SHAPE, output, outputs=weights.graph.extent("output"))
    problem = pose(weights, symmetry, SHAPE, data)
    return problem, search(problem, generator=rng())


def replaced(weights: Weights, at: int, seed: int = 0) -> Weights:
    """Weights with those of one layer drawn anew, of the same size."""
    old = weights[f"W{at}"]
    drawn = torch.randn(old.shape, generator=rng(seed), dtype=old.dtype) * old.square().mean().sqrt()
    return Weights(weights.graph, {**weights.tensors, f"W{at}": drawn})


def by_hand(rows: Tensor, bias: Tensor, order: Tensor, shares: Tensor) -> float:
    """(Σ s_i (1 - cos(w_i, ± w_p(i) k)))^½ under the best permutation p and signs; k permutes columns."""
    products = (rows @ rows[:, order].mT + bias.outer(bias)).abs()
    p = torch.as_tensor(linear_sum_assignment(products.numpy(), maximize=True)[1])
    signs = (rows @ rows[:, order].mT + bias.outer(bias)).sign()[torch.arange(len(p)), p]
    images = signs.unsqueeze(1) * rows[p][:, order]
    cosines = torch.cosine_similarity(rows, images)
    return float((shares * (1 - cosines)).sum()) ** 0.5


def test_errors_under_relabellings_are_those_of_the_definition() -> None:
    """Of a first layer: rows against rows whose pixels a conjugate of the mirror permutes, best matched, by hand."""
    case = planted([36, 12, 36])
    noisy = case.noisy(0.1, rng(1))
    problem, best = posed(noisy)
    found = relabelled_errors(problem, best, ["hidden1", "output"], generator=rng(2))
    mirror = torch.arange(36).reshape(6, 6).flip(1).flatten()
    rows, bias = problem.view["W1"][0], problem.view["b1"][0]
    shares = needed_shares(problem, families(problem.graph)[0], problem.moments)
    assert found["hidden1"].error == pytest.approx(by_hand(rows, bias, mirror, shares))
    draw, errors = rng(2), []
    for _ in range(RELABELLINGS):
        order = torch.randperm(36, generator=draw)
        shuffle = Monomial(order)
        conjugate = shuffle.compose(Monomial(mirror)).compose(shuffle.inverse())
        errors.append(by_hand(rows, bias, conjugate.perm, shares))
    # a conjugate is its own inverse, so a cycle and its inverse are equally good maps, and may differ in shares
    torch.testing.assert_close(torch.tensor(found["hidden1"].decoys), torch.tensor(sorted(errors)), rtol=1e-3, atol=0)
    assert found["hidden1"].error < 0.2 < 0.5 < found["hidden1"].least
    assert found["output"].p_value == 1 / (1 + RELABELLINGS)


def test_p_values_of_layers_that_know_nothing_are_spread_evenly() -> None:
    """First layers drawn at random: at most 1 of 20 has p ≤ 0.05 in the long run; 40 give a mean of about one half."""
    values = []
    for seed in range(40):
        weights = replaced(planted([36, 8, 36], seed=seed).weights, 1, seed)
        problem, best = posed(weights)
        values.append(relabelled_errors(problem, best, ["hidden1"], generator=rng(seed))["hidden1"].p_value)
    assert sum(value <= 0.05 for value in values) <= 6
    assert sum(values) / len(values) > 0.4


def test_few_elements_have_few_relabellings() -> None:
    graph = mlp_graph([4, 8, 3], "tanh")
    symmetry = named_symmetry("mirror", (1, 2, 2), "invariant", outputs=3)
    case = plant(graph, place(graph, symmetry, (1, 2, 2)), rng())
    problem = pose(case.weights, symmetry, (1, 2, 2))
    best = search(problem, generator=rng())
    found = relabelled_errors(problem, best, ["hidden1"], generator=rng())["hidden1"]
    assert len(found.decoys) == 2  # four numbers pair off in three ways
    assert found.p_value == pytest.approx(1 / 3)


def test_what_is_not_moved_cannot_be_relabelled() -> None:
    """Behind invariant neurons the group does nothing, so nothing can be said of what reads them."""
    weights = planted([36, 12, 10, 3], output="invariant").weights
    rows = weights["W1"].reshape(1, 12, 6, 6)
    trivial = Weights(weights.graph, {**weights.tensors, "W1": ((rows + rows.flip(-1)) / 2).flatten(2)})
    network = replaced(replaced(trivial, 2, 1), 3, 2)
    problem, best = posed(network, "invariant")
    assert set(relabelled_errors(problem, best, ["hidden1", "hidden2", "output"], generator=rng())) == {"hidden1"}
    for data in (None, probes()):
        found = find_actions(network, "mirror", SHAPE, "invariant", data=data, decoys=2)
        assert found.verdict.outcome == "exact action"
        assert found.verdict.trivial == ("hidden1", "hidden2")
        assert found.verdict.text.endswith(" It is the trivial one: it moves no neuron.")


@pytest.mark.parametrize("width", [1, 9])
def test_an_action_that_is_trivial_from_a_layer_on(width: int) -> None:
    """Pairs of neurons that are read alike: behind them nothing moves, be it a bottleneck of one neuron or nine."""
    case = planted([36, 16, 36])
    graph = mlp_graph([36, 16, width, 8, 3], "tanh")
    rho = case.actions[1]["hidden1"]
    draw = rng(4)
    tensors = {p.name: torch.randn(1, *graph.shape(p.name), generator=draw).double() for p in graph.parameters}
    tensors |= {name: case.weights[name] for name in ("W1", "b1")}
    tensors["W2"] = (tensors["W2"] + rho.apply(tensors["W2"], 2, -1)) / 2
    for data in (None, probes()):
        found = find_actions(Weights(graph, tensors), "mirror", SHAPE, "invariant", data=data, decoys=2)
        assert found.verdict.outcome == "exact action"
        assert found.verdict.trivial == ("hidden2", "hidden3")
        assert found.verdict.text.endswith(" It acts trivially from hidden2 on: no neuron moves there.")


@pytest.mark.parametrize("level", [0.0, 0.05])
@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("output", ["same", "invariant"])
def test_a_symmetry_is_claimed_up_to_the_layer_that_breaks_it(output: str, data: bool, level: float) -> None:
    widths = [36, 20, 18, 22, 36 if output == "same" else 10]
    case = planted(widths, "relu", output, seed=3)
    weights = case.noisy(level, rng(1)) if level else case.weights
    for at in (2, 3, 4):
        found = find_actions(
            replaced(weights, at), "mirror", SHAPE, output, data=probes() if data else None, decoys=2
        ).verdict
        places = ["hidden1", "hidden2", "hidden3", "output"]
        outcomes = [{**found.layers, **found.ends}[space] for space in places]
        assert found.outcome == "action in part"
        assert outcomes[: at - 1] == [("found" if level else "exact")] * (at - 1)
        assert outcomes[at - 1] in ("none", "linear only")
        assert found.breaks_at[0] == places[at - 1]
        assert f"up to {places[at - 2]}, " in found.text
        assert f"breaks at {places[at - 1]}" in found.text
        if output == "invariant":
            assert not {"exact", "found"} & set(outcomes[at - 1 :])


def test_behind_the_break_outputs_say_how_layers_act() -> None:
    weights = replaced(planted([36, 24, 24, 24, 36], seed=1).weights, 2)
    found = find_actions(weights, "mirror", SHAPE, decoys=2)
    assert found.verdict.ends["output"] in ("exact", "found")
    assert found.verdict.layers["hidden3"] in ("exact", "found")
    assert {"hidden3", "output"} <= set(found.verdict.by_outputs)
    drawn = replaced(replaced(weights, 3, 5), 4, 6)  # nothing is left behind the break
    again = find_actions(drawn, "mirror", SHAPE, decoys=2)
    assert again.verdict.by_outputs == ()


def test_noise_that_explains_an_error_and_what_does_not() -> None:
    """Errors of a noisy planted network are those that the noise makes; one bias that is shifted is no noise."""
    graph = mlp_graph([36, 24, 24, 24, 36], "relu")
    case = plant(graph, place(graph, named_symmetry("mirror", SHAPE), SHAPE), rng(2), rich=False)
    data = probes(200)
    problem, best = posed(case.noisy(0.1, rng(1)), data=data)
    figures = noise_figures(problem, best.maps, generator=rng())
    assert figures.perfect is not None
    assert figures.perfect < 1e-12
    found = find_actions(case.noisy(0.1, rng(1)), "mirror", SHAPE, data=data, decoys=2)
    assert found.verdict.outcome == "action found"
    assert found.end_to_end is not None
    assert figures.end_to_end == pytest.approx(found.end_to_end, rel=0.3)
    for layer in found.layers:
        assert figures.layers[layer.space] == pytest.approx(layer.k_error, rel=0.4)
    moved = case.actions[1]["hidden1"]
    assert isinstance(moved, Monomial)
    one = int((moved.perm != torch.arange(24)).nonzero()[0])
    bias = case.weights["b1"].clone()
    bias[0, one] += 40 * case.weights["W1"][0, one].norm()
    off = Weights(case.weights.graph, {**case.weights.tensors, "b1": bias})
    shifted = find_actions(off, "mirror", SHAPE, data=data, decoys=2, reduced=False)
    assert shifted.verdict.outcome != "exact action"
    assert shifted.verdict.layers["hidden1"] != "exact"


def test_a_group_that_does_not_get_through_is_no_noise() -> None:
    """A stride that leaves a column over: the perfect action's function is not equivariant either."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    kernel = net[0].weight
    with torch.no_grad():
        kernel.copy_((kernel + kernel.flip(-1)) / 2)
        kernel.add_(0.05 * kernel.std() * torch.randn_like(kernel))
    network = convert(net.double(), torch.randn(2, 1, 8, 8).double())
    found = find_actions(network, "mirror", (1, 8, 8), "invariant", decoys=2)
    assert found.verdict.outcome == "no action found"


@pytest.mark.parametrize("data", [False, True])
def test_turns_of_a_convolutional_network_in_noise(data: bool) -> None:
    """Where all channels are matched the action is found, however much noise two layers of kernels amplify."""
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    ).double()  # fmt: skip
    network = convert(net, torch.randn(2, 1, 8, 8).double())
    assert network.weights is not None
    symmetry = named_symmetry("rotations:4", (1, 8, 8), "invariant", outputs=10)
    view = picture_view(network.weights).graph
    case = plant(view, place(view, symmetry, (1, 8, 8)), rng(1), rich=False)
    pictures = torch.randn(40, 1, 8, 8, generator=rng(2), dtype=torch.float64)
    found = find_actions(case.noisy(0.1, rng(3)), symmetry, (1, 8, 8), data=pictures if data else None, decoys=2)
    assert found.verdict.outcome == "action found"
    assert set(found.verdict.layers.values()) == {"found"}
    assert min(layer.matched for layer in found.layers) == 1


def test_noise_that_drowns_the_function_leaves_the_action_of_the_weights() -> None:
    """Sines of high frequency: the weights have the mirror up to 10 %, and nothing is left of it in the function."""
    graph = mlp_graph([36, 24, 24, 36], "sine")
    case = plant(graph, place(graph, named_symmetry("mirror", SHAPE), SHAPE), rng(2))
    found = find_actions(case.noisy(0.1, rng(1)), "mirror", SHAPE, decoys=2)
    assert found.on_random_inputs is not None
    assert found.on_random_inputs > 1.2
    assert found.verdict.outcome == "action in part"
    assert set(found.verdict.layers.values()) == {"found"}
    assert found.verdict.breaks_at == ()
    text = found.verdict.text
    assert text.startswith("Action in part: mirror acts on the weights of every layer by the intertwiners of its activ")
    assert ", p ≤ 0.05 on each layer). Noise hides it from the function. End to end, on random inputs, the fun" in text
    assert " A perfect action with as much noise would change it by 1." in text


def test_an_unrelated_last_layer_is_no_noise_that_drowns_the_function() -> None:
    graph = mlp_graph([36, 24, 24, 36], "sine")
    case = plant(graph, place(graph, named_symmetry("mirror", SHAPE), SHAPE), rng(2))
    tensors = {**case.weights.tensors, "W3": case.weights["W3"][:, torch.randperm(36, generator=rng(5))]}
    found = find_actions(Weights(graph, tensors), "mirror", SHAPE, decoys=2)
    assert found.verdict.layers["hidden2"] == "exact"
    assert found.verdict.breaks_at == ("output",)
    assert "Noise hides" not in found.verdict.text
