"""A layer is acted on where what its readers need of it is matched, whatever the rest of its neurons is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from graphws.actions import find_actions
from graphws.actions.groups.naming import named_symmetry
from graphws.actions.measures.needs import needed_shares
from graphws.actions.measures.reach import bounded, reach_of_values, squared_reach
from graphws.actions.problem import pose
from graphws.converting import convert
from graphws.graph import Axis, Monomial, Parameter, Weights
from graphws.matching import families
from graphws.operations import mlp_graph
from graphws.report.actions_page import actions_page, actions_table
from tests.actions.picture_cases import SHAPE as PICTURE
from tests.actions.picture_cases import pictures, planted
from tests.actions.planting import attention, rng

SHAPE = (1, 4, 4)
MIRROR = torch.arange(16).reshape(4, 4).flip(-1).flatten()


def partly_invariant(
    count: int, activation: str = "tanh", *, scale: float = 1.0, bias: float = 1.0, out: float = 1.0, seed: int = 0
) -> Weights:
    """16 neurons, of which `count` are invariant under the mirror: `scale` times as large, read `out` times as much."""
    graph = mlp_graph([16, 16, 3], activation)
    tensors = dict(Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng(seed)).double()).tensors)
    first, last = tensors["W1"].clone(), tensors["W2"].clone()
    first[:, :count] = scale * (first[:, :count] + first[:, :count][..., MIRROR]) / 2
    last[:, :, :count] *= out
    return Weights(graph, {**tensors, "W1": first, "W2": last, "b1": bias * tensors["b1"]})


def change(weights: Weights) -> float:
    """How far the function is from invariant, computed by hand."""
    kind = {"tanh": torch.tanh, "relu": torch.relu}
    act = kind[next(op.kind for op in weights.graph.operations if op.kind in kind)]
    x = torch.randn(2000, 16, generator=rng(9), dtype=torch.float64)
    w = {name: tensor[0] for name, tensor in weights.tensors.items()}

    def run(x: Tensor) -> Tensor:
        return act(x @ w["W1"].mT + w["b1"]) @ w["W2"].mT + w["b2"]

    y = run(x)
    return float((run(x[:, MIRROR]) - y).norm() / (y - y.mean(0)).norm())


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(("scale", "bias"), [(1.0, 1.0), (1.0, 20.0), (5.0, 0.0)])
def test_four_invariant_neurons_of_sixteen_are_no_action(
    activation: str, scale: float, bias: float, data: bool
) -> None:
    """Large biases, which every group leaves alone, or large rows that an activation cuts off, hide no other."""
    probes = torch.randn(60, 16, generator=rng(3), dtype=torch.float64) if data else None
    weights = partly_invariant(4, activation, scale=scale if activation == "tanh" else 1.0, bias=bias)
    found = find_actions(weights, "mirror", SHAPE, "invariant", data=probes, decoys=2)
    assert change(weights) > 1
    assert found.verdict.outcome == "no action found"
    assert found.layer("hidden1").carried < 0.5


@pytest.mark.parametrize("data", [False, True])
def test_and_are_one_where_all_that_is_read_is_theirs(data: bool) -> None:
    probes = torch.randn(60, 16, generator=rng(3), dtype=torch.float64) if data else None
    weights = partly_invariant(4, out=100.0)
    found = find_actions(weights, "mirror", SHAPE, "invariant", data=probes, decoys=2)
    first = found.layer("hidden1")
    assert change(weights) < 0.1
    assert found.verdict.outcome == "action found"
    assert first.matched == 0.25
    assert first.carried > 0.99
    assert f"matched neurons carry at least {first.carried:.0%} of what a layer hands on" in found.verdict.text


@pytest.mark.parametrize("count", range(1, 16, 2))
def test_any_share(count: int) -> None:
    """√(2 (1 - s)) is how far a function changes where a share s of what is read is invariant."""
    weights = partly_invariant(count, seed=count)
    found = find_actions(weights, "mirror", SHAPE, "invariant", decoys=2)
    share = found.layer("hidden1").carried
    assert change(weights) == pytest.approx((2 * (1 - share)) ** 0.5, abs=0.25)
    assert (found.verdict.outcome == "action found") <= (share >= 0.75)
    assert found.verdict.outcome != "exact action"


def test_what_nothing_reads_is_not_needed() -> None:
    """Twelve random neurons that are never read, and are not taken out: the four that are read are all that counts."""
    weights = partly_invariant(4)
    unread = Weights(weights.graph, {**weights.tensors, "W2": weights["W2"] * (torch.arange(16) < 4)})
    for data in (None, torch.randn(60, 16, generator=rng(3), dtype=torch.float64)):
        found = find_actions(unread, "mirror", SHAPE, "invariant", data=data, decoys=2, reduced=False)
        assert found.layer("hidden1").carried == pytest.approx(1)
        assert found.verdict.outcome == "action found"  # its weights are not left alone, its function is
        assert found.on_random_inputs is not None
        assert found.on_random_inputs < 1e-12


def test_shares_of_variance() -> None:
    """By hand: ‖w_i‖² Var(h_i) of each neuron, on the random inputs that the network is run on."""
    weights = partly_invariant(4)
    problem = pose(weights, named_symmetry("mirror", SHAPE, "invariant", outputs=3), SHAPE)
    family = families(problem.graph)[0]
    shares = needed_shares(problem, family, problem.moments)
    h = torch.tanh(problem.random_inputs.flatten(1) @ weights["W1"][0].mT + weights["b1"][0])
    wanted = h.var(0, correction=0) * weights["W2"][0].square().sum(0)
    torch.testing.assert_close(shares, wanted / wanted.sum())
    blind = needed_shares(problem, family, {})
    product = weights["W1"][0].square().sum(1) * weights["W2"][0].square().sum(0)
    torch.testing.assert_close(blind, product / product.sum())
    assert float((blind - shares).abs().max()) > 0.01


def test_shares_of_heads() -> None:
    """A head has all that is nested in it; one that is never read has nothing."""
    case = attention("Z2", heads=4)
    tensors = dict(case.planted.weights.tensors)
    names = [p.name for p in case.graph.parameters if any(a.space == "value2" and a.power < 0 for a in p.axes)]
    for name in names:
        place = next(k for k, a in enumerate(case.graph.parameter(name).axes) if a.space == "value2")
        parts = tensors[name].movedim(place + 1, 0).clone()
        parts[: len(parts) // 4] = 0
        tensors[name] = parts.movedim(0, place + 1)
    problem = pose(Weights(case.graph, tensors), case.symmetry, case.shape)
    family = next(each for each in families(problem.graph) if each.root == "head2")
    shares = needed_shares(problem, family, {})
    assert len(shares) == 4
    assert float(shares.sum()) == pytest.approx(1)
    assert names
    assert float(shares[0]) < float(shares[1:].min())


@pytest.mark.parametrize("count", [3, 9])
def test_channels(count: int) -> None:
    torch.manual_seed(count)
    net = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3)
    ).double()
    kernel = net[0].weight
    with torch.no_grad():
        kernel[:count] = (kernel[:count] + kernel[:count].flip(-1)) / 2
        net[4].weight[:, :count] *= 20 if count == 9 else 1
    found = find_actions(convert(net, torch.randn(2, 1, 6, 6).double()), "mirror", (1, 6, 6), "invariant", decoys=2)
    assert found.verdict.outcome == ("action found" if count == 9 else "no action found")
    assert found.layers[0].carried == pytest.approx(1 if count == 9 else 0.25, abs=0.2)


def depthwise() -> nn.Module:
    torch.manual_seed(0)
    inside = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    steps = (nn.Conv2d(3, 8, 1), nn.ReLU(), inside, nn.ReLU(), nn.Conv2d(8, 6, 1), nn.ReLU())
    return nn.Sequential(*steps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10)).double()


@pytest.mark.parametrize("data", [False, True])
def test_kernels_that_lead_from_channels_to_themselves(data: bool) -> None:
    """1 x 1 filters are left alone by every mirror, whatever their size; the kernels behind them decide."""
    net = depthwise()
    probes = pictures(24) if data else None
    with torch.no_grad():
        net[0].weight.mul_(1000)  # type: ignore[index]
    found = find_actions(convert(net, pictures(2)), "rotations:4", PICTURE, "invariant", data=probes, decoys=1)
    assert found.verdict.outcome == "no action found"
    assert found.layers[0].weight_error > 0.5
    assert found.layers[0].matched < 0.5
    network, symmetry, _ = planted(net, "rotations:4")
    exact = find_actions(network, symmetry, PICTURE, data=probes, decoys=1)
    assert exact.verdict.outcome == "exact action"
    assert exact.layers[0].matched == 1


def test_the_share_is_in_every_account() -> None:
    found = find_actions(partly_invariant(4, out=100.0), "mirror", SHAPE, "invariant", decoys=1)
    layer, said = found.layer("hidden1"), found.to_dict()["layers"][0]
    assert said["carried"] == pytest.approx(layer.carried, abs=1e-5)
    assert said["decoy_carried"] == pytest.approx(layer.rivals[next(iter(layer.rivals))].carried, abs=1e-5)
    assert f"{layer.carried:.0%}" in actions_table(found)[0]
    page = actions_page(found, SHAPE, "net")
    assert "carried" in page
    assert "end-to-end error on random inputs" in page
    assert found.verdict.text in page


def test_reach_of_values() -> None:
    x = torch.randn(1, 4000, 6, generator=rng(), dtype=torch.float64)
    other = torch.randn(1, 4000, 6, generator=rng(1), dtype=torch.float64)
    assert reach_of_values([(x, other)]) == pytest.approx(1, abs=0.02)
    assert reach_of_values([(x, x + 0.1 * other)]) == pytest.approx(0.1 / 2**0.5, abs=0.002)
    assert reach_of_values([(x, x)]) == reach_of_values([]) == 1.0  # nothing moves, and no error can be
    assert reach_of_values([(x, -x)]) == 1.0


def test_reach_in_weights() -> None:
    """An exchange of two inputs of a hundred moves a tenth of the way; where these two hardly differ, still less."""
    swap = Monomial(torch.tensor([1, 0, *range(2, 100)]))
    parameter = Parameter("W", (Axis("h"), Axis("input", -1)))
    assert bounded(squared_reach(parameter, {"input": swap}, {})) == pytest.approx(0.02**0.5)
    near = torch.eye(100, dtype=torch.float64)
    near[0, 1] = near[1, 0] = 0.9
    assert bounded(squared_reach(parameter, {"input": swap}, {"input": near})) == pytest.approx(0.002**0.5)
    assert squared_reach(parameter, {"h": swap}, {}) == 0
    both = Parameter("K", (Axis("h"), Axis("input", -1), Axis("tap", -1)))
    mirror = Monomial(torch.tensor([2, 1, 0]))
    assert squared_reach(both, {"input": swap, "tap": mirror}, {}) == pytest.approx(1 - 0.98 / 3)


@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("decoys", [0, 2])
def test_a_group_that_moves_little_of_the_inputs(decoys: int, data: bool) -> None:
    """An exchange of two inputs of a hundred changes every function little; that is no action."""
    graph = mlp_graph([100, 12, 3], "tanh")
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng(), dtype=torch.float64) / 10)
    group = {"kind": "generated", "generators": {"a": [1, 0, *range(2, 100)]}}
    probes = torch.randn(100, 100, generator=rng(1), dtype=torch.float64) if data else None
    found = find_actions(weights, group, (100,), "invariant", data=probes, decoys=decoys)
    assert found.verdict.outcome == "no action found"
    alike = weights["W1"].clone()
    alike[..., 1] = alike[..., 0]
    planted = Weights(graph, {**weights.tensors, "W1": alike})
    found = find_actions(planted, group, (100,), "invariant", data=probes, decoys=decoys)
    assert found.verdict.outcome == "exact action"
