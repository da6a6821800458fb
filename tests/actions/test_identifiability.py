"""The identifiability report: which theorem, which conditions, what follows; appendix B as a test."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from graphws import convert
from graphws.actions.identifiability import bypass_constant, identifiability, negated_share, nonlinearity
from graphws.actions.reduction import layer_parameters, reduce, submodel_of
from graphws.actions.submodels.submodel import check_submodel
from graphws.errors import UsageError
from graphws.graph import Monomial, Weights
from graphws.operations import ACTIVATIONS, forward, mlp_graph
from graphws.operations.builders.attention import AttentionLayer, attention_graph
from tests.actions.redundancy import plant, random_mlp


def rng(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


@pytest.mark.parametrize("activation", ["gelu", "tanh", "relu"])
def test_appendix_b(activation):
    """Equations 17 to 21: θ₀ has an invariant function and a first layer that is not equivariant; θ₀' has both."""
    graph = mlp_graph([2, 2, 1], activation, bias=False)
    first = torch.tensor([[[1.0, 1.0], [2.0, 3.0]]], dtype=torch.float64)
    theta = Weights(graph, {"W1": first, "W2": torch.tensor([[[-2.0, 0.0]]], dtype=torch.float64)})
    swap = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    x = normal(60, 2)
    assert torch.allclose(forward(graph, theta, x @ swap), forward(graph, theta, x))
    assert not torch.allclose(theta["W1"][0] @ swap, theta["W1"][0])
    assert not torch.allclose(theta["W1"][0] @ swap, swap @ theta["W1"][0])
    found = reduce(theta)
    prime = found.equivalent()
    assert prime["W1"][0].tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert prime["W2"][0].tolist() == [[-2.0, 0.0]]
    assert torch.allclose(forward(graph, prime, x), forward(graph, theta, x))
    assert torch.equal(prime["W1"][0] @ swap, prime["W1"][0])
    points, small = [normal(50, n) for n in (2, 2, 1)], [normal(50, n) for n in (2, 1, 1)]
    trivial = [[], [Monomial(torch.tensor([0]))], []]
    check = check_submodel(submodel_of(found), layer_parameters(found.weights), points, small, trivial)
    assert check.largest == 0
    sub = submodel_of(found)
    ours = sub.model.layers[0](points[0], {"W1": theta["W1"][0]})
    through = sub.alpha[1](sub.sub.layers[0](points[0], layer_parameters(found.weights)[0]))
    assert not torch.allclose(ours, through)  # θ₀ itself comes from no submodel: its diagram does not commute


@pytest.mark.parametrize(
    ("activations", "widths", "name", "proven"),
    [
        ("tanh", [3, 5, 5, 2], "hyperbolic tangent", True),
        ("identity", [3, 5, 5, 6], "linear, with biases in hidden layers", False),
        ("relu", [3, 5, 2], "ReLU, one hidden layer", False),
        ("gelu", [3, 5, 2], "ReLU-style", False),
        ("power", [3, 5, 5, 2], "large powers", True),
        ("sigmoid", [3, 5, 5, 2], "logistic sigmoid", False),
        ("relu", [3, 5, 5, 2], "ReLU-style", False),
        ("gelu", [3, 5, 5, 2], "ReLU-style", False),
        ("sine", [3, 5, 5, 2], "odd activation", False),
        ("elu", [3, 5, 5, 2], "pointwise activation", False),
        (["tanh", "gelu"], [3, 5, 5, 2], "different activations in one network", False),
    ],
)
def test_theorems_of_mlps(activations, widths, name, proven):
    graph = mlp_graph(widths, activations)
    report = identifiability(Weights.unflatten(graph, normal(1, graph.numel)))
    assert (report.theorem.name, report.theorem.proven) == (name, proven)
    assert report.theorem.source
    text = json.dumps(report.to_dict())
    assert json.loads(text)["theorem"]["name"] == name
    assert report.licence in str(report)


@pytest.mark.parametrize(
    ("widths", "name", "proven"),
    [
        ([5, 4, 4, 6], "linear, hidden layers of equal width", True),
        ([5, 4, 3, 6], "linear, hidden layers of unequal widths", False),
    ],
)
def test_theorems_of_linear_networks(widths, name, proven):
    graph = mlp_graph(widths, "identity", bias=False)
    report = identifiability(Weights.unflatten(graph, normal(1, graph.numel)))
    assert (report.theorem.name, report.theorem.proven) == (name, proven)


def test_a_hidden_bias_of_a_linear_network_is_not_identifiable():
    """Why biases matter: a translation of the hidden space is no matrix, and leaves the function alone."""
    graph = mlp_graph([5, 4, 6], "identity")
    weights = Weights.unflatten(graph, normal(1, graph.numel))
    moved = weights.map(lambda x: x.clone())
    moved["b1"][0] += 1.0
    moved["b2"][0] -= weights["W2"][0].sum(1)
    x = normal(9, 5)
    torch.testing.assert_close(forward(graph, moved, x), forward(graph, weights, x))


def test_what_is_not_evaluated_is_said():
    graph = mlp_graph([3, 5, 5, 2], "power")
    report = identifiability(Weights.unflatten(graph, normal(1, graph.numel)))
    assert report.holds
    assert report.licence.startswith("if the power is large enough for these widths, an exact symmetry")
    assert report.to_dict()["theorem"]["unchecked"] == "the power is large enough for these widths"


@pytest.mark.parametrize(
    ("heads", "scores", "proven"), [(1, "linear", True), (1, "softmax", False), (2, "linear", False)]
)
def test_theorems_of_attention(heads, scores, proven):
    graph = attention_graph(4, [AttentionLayer(heads, 3)], output=5, scores=scores)
    report = identifiability(Weights.unflatten(graph, normal(1, graph.numel)))
    assert report.theorem.proven is proven
    assert report.holds
    assert [(c.space, c.name) for c in report.conditions] == [("head1", "not alike"), ("value1", "full rank")]
    start = "if these weights are generic in the sense of that paper, an exact" if proven else "nothing is proven"
    assert report.licence.startswith(start)


def test_conditions_of_heads_fail_where_something_is_planted():
    """A copied head in another basis, a silent one, and one of low rank: all of them fail."""
    graph = attention_graph(6, [AttentionLayer(5, 3)], output=7)
    weights = Weights.unflatten(graph, normal(1, graph.numel))
    weights["A1"][0, 2] = weights["A1"][0, 0]
    weights["V1"][0, 6:9] = normal(3, 3, seed=1) @ weights["V1"][0, 0:3]
    weights["O2"][0, :, 3:6] = 0.0
    weights["V1"][0, 14] = weights["V1"][0, 12] - weights["V1"][0, 13]
    report = identifiability(weights)
    failing = {(c.space, c.name): c.failing for c in report.conditions if not c.holds}
    assert failing == {("head1", "not alike"): 2, ("value1", "full rank"): 3 + 1}
    assert report.licence.startswith("not at this θ, which is not minimal (head1, value1): reduce it first; then it is")
    small = reduce(weights, normal(7, 4, 6))
    again = {(c.space, c.name): c.failing for c in identifiability(small.weights).conditions if not c.holds}
    assert again == {("value1", "full rank"): 1}  # all heads keep as many dimensions as the widest needs


def test_heads_that_share_values_are_not_sliced():
    layers = [AttentionLayer(4, 3, width=6, query_dim=2, key_value_heads=2)]
    graph = attention_graph(8, layers, output=8)
    report = identifiability(Weights.unflatten(graph, normal(1, graph.numel)))
    assert [(c.space, c.name) for c in report.conditions] == [("model1", "full rank")]


def test_traced_attention_is_attention_unless_it_skips():
    class Heads(nn.Module):
        def __init__(self, skip):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(6, 6, bias=False) for _ in range(4))
            self.skip = skip

        def forward(self, x):
            q, k, v = (y(x).view(*x.shape[:2], 2, 3).transpose(1, 2) for y in (self.q, self.k, self.v))
            y = self.o(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
            return x + y if self.skip else y

    torch.manual_seed(0)
    pure, skipping = (identifiability(convert(Heads(skip).double(), normal(3, 4, 6)).weights) for skip in (False, True))
    assert pure.theorem.name == "multi-head attention"
    assert [c.name for c in pure.conditions] == ["not alike", "full rank", "full rank"]
    assert pure.holds
    assert skipping.theorem.name == "architecture outside of paper I"


def test_channels_have_conditions_and_figures():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 6, 3), nn.GELU(), nn.Conv2d(6, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    module = module.double()
    first, second = module[0], module[2]
    with torch.no_grad():
        first.weight[4], first.bias[4] = -first.weight[0], -first.bias[0]
        second.weight[:, 5] = 0.0
        second.weight[2], second.bias[2] = 3 * second.weight[1], 3 * second.bias[1]
    probe = normal(8, 1, 8, 8)
    report = identifiability(convert(module, probe).weights, probe)
    assert report.theorem.name == "convolutional network"
    failing = [(c.name, c.failing) for c in report.conditions if not c.holds]
    assert failing == [("read", 1), ("not parallel", 1)]
    gelu, relu = report.layers
    assert (gelu.activation, gelu.bypass, gelu.negated) == ("gelu", 1.0, pytest.approx(2 / 6))
    assert len(relu.neurons) == 4
    assert (min(relu.neurons), max(relu.neurons)) == (relu.nu[0], relu.nu[2])
    inner = torch.nn.functional.conv2d(probe, first.weight, first.bias)
    rows = inner.movedim(1, -1).reshape(-1, 6)
    torch.testing.assert_close(torch.tensor(gelu.neurons).double(), nonlinearity(rows, torch.nn.functional.gelu(rows)))


def test_networks_outside_of_the_theory():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            h = torch.nn.functional.gelu(self.a(x))
            return self.c(h + torch.tanh(self.b(h)))

    torch.manual_seed(0)
    probe = normal(9, 3)
    report = identifiability(convert(Residual().double(), probe).weights, probe)
    assert (report.theorem.name, report.conditions, report.holds) == ("architecture outside of paper I", (), None)
    assert report.licence.startswith("nothing is proven")
    assert [layer.activation for layer in report.layers] == ["gelu"]


def test_conditions_fail_exactly_where_something_is_planted():
    core = random_mlp([3, 6, 6, 2], "tanh", rng(0))
    report = identifiability(core)
    assert report.holds
    assert report.licence.startswith(
        "an exact symmetry of this function acts on every layer, by permutations and signs"
    )
    large = plant(core, 2, "tanh", rng(1), unread=3, constant=2, duplicates=4)
    failing = {(c.space, c.name): c.failing for c in identifiability(large).conditions if not c.holds}
    assert failing == {("hidden2", "read"): 3, ("hidden2", "not constant"): 2, ("hidden2", "not parallel"): 4}
    assert identifiability(large).licence.startswith("not at this θ, which is not minimal (hidden2): reduce it first")
    assert identifiability(reduce(large).weights).holds


def test_low_rank_fails_for_linear_networks():
    weights = Weights.unflatten(mlp_graph([5, 4, 5], "identity", bias=False), normal(1, 40))
    assert identifiability(weights).holds
    weights["W1"][0, 3] = weights["W1"][0, :3].sum(0)
    (condition,) = identifiability(weights).conditions
    assert (condition.name, condition.failing, condition.holds) == ("full rank", 1, False)


BYPASSING = {
    "relu": 1.0, "leaky_relu": 1.01, "gelu": 1.0, "gelu_tanh": 1.0, "silu": 1.0, "softplus": 1.0, "hardswish": 1.0,
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(set(ACTIVATIONS) - {"identity"}))
def test_the_bypass_is_found_where_the_identity_holds(kind):
    operation = ACTIVATIONS[kind].step("x", "y")
    assert bypass_constant(operation) == BYPASSING.get(kind)


def test_negated_copies_are_counted():
    rows = normal(10, 50)
    assert negated_share(rows) == 0
    assert negated_share(torch.cat([rows, -rows[:4], rows[5:6]])) == pytest.approx(8 / 15)
    graph = mlp_graph([50, 14, 1], "gelu")
    weights = Weights.unflatten(graph, normal(1, graph.numel))
    weights["W1"][0, 10:] = -weights["W1"][0, :4]
    report = identifiability(weights)
    assert report.layers[0].negated == pytest.approx(8 / 14)
    assert "negated copies in hidden1 may carry other matrices" in report.licence
    assert "57% of the neurons have a negated copy (bypass)" in str(report)
    assert identifiability(Weights(mlp_graph([50, 14, 1], "tanh"), weights.tensors)).layers[0].negated is None


def test_nonlinearity_runs_from_straight_to_bent():
    z = normal(4000, 3)
    nu = nonlinearity(z, torch.stack([z[:, 0] * 3 + 1, torch.tanh(0.1 * z[:, 1]), z[:, 2].abs()], dim=1))
    assert nu[0] == pytest.approx(0, abs=1e-12)
    assert 0 < nu[1] < 1e-4
    assert nu[2] > 0.99
    assert nonlinearity(torch.ones(5, 1), torch.ones(5, 1)).tolist() == [0.0]


def test_probe_data_give_nu():
    graph = mlp_graph([4, 8, 2], "tanh")
    weights = Weights.unflatten(graph, normal(1, graph.numel))
    assert identifiability(weights).layers[0].nu is None
    bent = identifiability(weights, normal(500, 4)).layers[0]
    straight = identifiability(weights.map(lambda x: 0.02 * x), normal(500, 4)).layers[0]
    assert bent.nearly_linear == 0
    assert straight.nearly_linear == 1
    assert straight.nu[2] < bent.nu[0]
    assert len(bent.neurons) == 8
    assert json.loads(json.dumps(identifiability(weights, normal(500, 4)).to_dict()))["layers"][0]["neurons"]


def test_the_trained_gelu_autoencoder_bypasses(shared: Path):
    """56 of 64 filters of the GELU autoencoder's first layer have a negated copy; few of the tanh network's do."""
    folder = shared / "checkpoints" / "cifar-mirror"
    state = torch.load(folder / "ae_gelu.pt", weights_only=True)["state"]
    tensors = {
        f"{k}{i + 1}": state[f"lin.{i}.{n}"].unsqueeze(0) for i in range(4) for k, n in (("W", "weight"), ("b", "bias"))
    }
    graph = mlp_graph([588, 64, 256, 256, 588], "gelu")
    report = identifiability(Weights(graph, tensors))
    assert report.layers[0].negated == pytest.approx(56 / 64, abs=0.04)
    assert not report.theorem.proven
    tensors = torch.load(folder / "ae_tanh.pt", weights_only=True)["state"]
    assert negated_share(tensors["lin.0.weight"]) < 0.5


def test_errors():
    graph = mlp_graph([2, 3, 1])
    two = Weights.unflatten(graph, normal(2, graph.numel))
    with pytest.raises(UsageError) as error:
        identifiability(two)
    assert str(error.value) == "one network is reported on at a time: got a batch of 2"
    with pytest.raises(UsageError) as error:
        identifiability(two.select([0]), tolerance="gap")
    assert str(error.value) == ("a report needs a tolerance that does not depend on the weights: 'dtype' or a number")
    bare = dataclasses.replace(graph, operations=(), inputs=(), outputs=())
    with pytest.raises(UsageError) as error:
        identifiability(Weights(bare, two.select([0]).tensors), normal(5, 2))
    assert str(error.value) == ("probes cannot be used: the graph holds no operations")


@pytest.mark.parametrize(
    ("last", "proven"),
    [
        (nn.Identity(), True),
        (nn.Unflatten(-1, (2, 2)), True),
        (nn.Softmax(-1), False),
        (nn.LogSoftmax(-1), False),
        (nn.LayerNorm(4), False),
        (nn.Sigmoid(), False),
    ],
)
def test_nothing_is_proven_behind_steps_that_no_theorem_is_about(last, proven):
    """A softmax forgets what all logits share: adding a row to all of the last layer's leaves the function."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), last).double()
    x = torch.randn(7, 5, dtype=torch.float64)
    weights = convert(network, x[:2]).weights
    report = identifiability(weights, x)
    assert report.theorem.name == "hyperbolic tangent"
    assert report.theorem.proven == proven
    assert proven == ("begin and end in a linear map" not in report.theorem.remark)
    if isinstance(last, nn.Softmax):
        before = network(x)
        with torch.no_grad():
            network[2].weight += torch.randn(6, dtype=torch.float64)
        assert torch.allclose(network(x), before)


def test_steps_before_the_first_layer_are_named():
    network = nn.Sequential(nn.Softmax(-1), nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4))
    report = identifiability(convert(network, torch.randn(2, 5)).weights)
    assert not report.theorem.proven
    assert report.theorem.remark.endswith("this one also has softmax")
