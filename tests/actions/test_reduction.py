"""Reduction of MLPs: planted redundancy goes, everything else stays, and the function does not notice."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from graphws.actions.reduction import layer_parameters, reduce, submodel_of
from graphws.actions.submodels.submodel import check_submodel
from graphws.converting import convert
from graphws.errors import GraphError, UsageError, VerificationError
from graphws.graph import GroupElement, LinearMap, Monomial, NetworkGraph, Parameter, Space, Weights
from graphws.operations import ACTIVATIONS, canonical_gauge, forward, mlp_graph
from graphws.operations.builders.attention import AttentionLayer, attention_graph
from tests.actions.redundancy import plant, random_mlp

POINTWISE = sorted(set(ACTIVATIONS) - {"identity"})


def rng(seed):
    return torch.Generator().manual_seed(seed)


def points(width, seed=99):
    return torch.randn(40, width, generator=rng(seed), dtype=torch.float64)


def same_function(first, second, width, tolerance=1e-10):
    x = points(width)
    a, b = forward(first.graph, first, x), forward(second.graph, second, x)
    return float((a - b).norm() / (a - a.mean()).norm()) <= tolerance


def planted(activation, seed, widths=(3, 6, 5, 2)):
    generator = rng(seed)
    omega = 1.0 if activation == "sine" else None
    core = random_mlp(list(widths), activation, generator, omega=omega)
    large = core
    for layer in range(1, len(widths) - 1):
        large = plant(large, layer, activation, generator)
    assert same_function(core, large, widths[0], 1e-11)
    return core, large


@pytest.mark.parametrize("activation", POINTWISE)
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_planted_redundancy_goes(activation, seed):
    core, large = planted(activation, seed)
    found = reduce(large)
    assert [s.size for s in found.graph.spaces] == [s.size for s in core.graph.spaces]
    assert same_function(large, found.weights, 3)
    assert same_function(large, found.equivalent(), 3)
    assert found.removed == sum(m.size - m.reduced for m in found.maps.values()) == 8
    again = reduce(found.weights)
    assert again.graph == found.graph
    assert all(torch.equal(x, found.weights[name]) for name, x in again.weights.items())


@pytest.mark.parametrize("activation", POINTWISE)
def test_the_reduction_is_a_submodel(activation):
    """Definition 3.2: the diagram commutes at every layer, on all inputs of the large latent spaces.

    Copies are left out here: with one copy of some neurons and none of others, γ has less to map.
    """
    generator = rng(5)
    core = random_mlp([3, 6, 5, 2], activation, generator, omega=1.0 if activation == "sine" else None)
    large = plant(core, 1, activation, generator, duplicates=0)
    large = plant(large, 2, activation, generator, duplicates=6)
    found = reduce(large)
    submodel, theta = submodel_of(found), layer_parameters(found.weights)
    sizes = [s.size for s in large.graph.spaces]
    wide = [points(n, seed=n) for n in sizes]
    small = [points(s.size, seed=s.size) for s in found.graph.spaces]
    origin = float(large.graph.operations[1](torch.zeros(1))) == 0
    k = [Monomial(torch.randperm(s.size, generator=generator)) for s in found.graph.spaces]
    symmetries = [[], [k[1]], [], []]
    check = check_submodel(submodel, theta, wide, small, symmetries)
    assert check.retraction == check.ends == 0
    assert check.equivariance < 1e-12
    if origin:  # inactive rows of zeros need σ(0) = 0, which paper I assumes
        assert check.diagram < 1e-12
    else:
        assert check.diagram > 1e-3


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu", "power"])
def test_it_commutes_with_group_elements(activation):
    """θ and g·θ reduce to networks that differ by a group element: the same up to gauge and order of neurons."""
    core = random_mlp([3, 6, 2], activation, rng(3))
    large = plant(core, 1, activation, rng(4))
    element = large.graph.group().random(rng(5), actions="rich")
    first, second = reduce(large).weights, reduce(element.act(large)).weights
    assert first.graph == second.graph

    def ordered(weights):
        fixed = canonical_gauge(weights)
        order = fixed["W1"][0, :, 0].argsort()
        return GroupElement(weights.graph, {"hidden1": Monomial(order)}).act(fixed)

    for name, x in ordered(first).items():
        assert torch.allclose(x, ordered(second)[name], atol=1e-9), name


def test_chains_of_dead_neurons_vanish():
    core = random_mlp([3, 4, 4, 4, 2], "tanh", rng(0))
    state = {name: x.clone() for name, x in core.items()}
    state["W4"][:, :, 1] = 0.0  # unread in layer 3, and so is what only it reads
    state["W3"][:, [0, 2, 3], 2] = 0.0
    state["W2"][:, [0, 1, 3], 0] = 0.0
    found = reduce(Weights(core.graph, state))
    assert [s.size for s in found.graph.spaces] == [3, 3, 3, 3, 2]


def test_duplicates_of_duplicates_merge():
    """Once neurons 0 and 1 of layer 1 are one, two neurons of layer 2 read the same and merge too."""
    core = random_mlp([3, 4, 4, 2], "tanh", rng(1))
    state = {name: x.clone() for name, x in core.items()}
    state["W1"][:, 1], state["b1"][:, 1] = state["W1"][:, 0], state["b1"][:, 0]
    state["W2"][:, 1], state["b2"][:, 1] = state["W2"][:, 0], state["b2"][:, 0]
    state["W2"][:, 1, 0] += 0.5
    state["W2"][:, 1, 1] -= 0.5
    found = reduce(Weights(core.graph, state))
    assert [s.size for s in found.graph.spaces] == [3, 3, 3, 2]
    assert found.maps["hidden2"].copies.tolist() == [0, 0, 1, 2]


def test_nearly_dead_neurons_stay():
    core = random_mlp([3, 6, 2], "tanh", rng(0))
    state = {name: x.clone() for name, x in core.items()}
    state["W2"][:, :, 2] *= 1e-6
    weights = Weights(core.graph, state)
    assert reduce(weights).removed == 0
    assert reduce(weights, tolerance=1e-4).removed == 1


@pytest.mark.parametrize("activation", [*POINTWISE, "identity"])
def test_nothing_goes_from_a_generic_network(activation):
    omega = 1.0 if activation == "sine" else None
    weights = random_mlp([7, 6, 6, 7], activation, rng(8), omega=omega, bias=activation != "identity")
    found = reduce(weights)
    assert found.removed == 0
    assert all(torch.equal(x, found.weights[name]) for name, x in weights.items())


@pytest.mark.parametrize(
    ("activation", "factor", "merged"),
    [
        ("tanh", 2.0, False), ("tanh", -1.0, True), ("sine", 2.0, False), ("gelu", 2.0, False), ("gelu", -1.0, False),
        ("relu", 2.0, True), ("relu", -2.0, False), ("leaky_relu", 0.3, True), ("leaky_relu", -1.0, False),
        ("power", -2.0, True), ("sigmoid", -1.0, False), ("softplus", 2.0, False), ("elu", 1.0, True),
    ],
)  # fmt: skip
def test_copies_merge_only_up_to_an_allowed_factor(activation, factor, merged):
    core = random_mlp([3, 6, 2], activation, rng(0), omega=1.0 if activation == "sine" else None)
    state = {name: x.clone() for name, x in core.items()}
    state["W1"][:, 4], state["b1"][:, 4] = factor * state["W1"][:, 0], factor * state["b1"][:, 0]
    found = reduce(Weights(core.graph, state))
    assert found.removed == int(merged)
    if merged:
        assert float(found.maps["hidden1"].scale[4]) == pytest.approx(factor)


def test_equal_rows_with_other_biases_are_no_copies():
    core = random_mlp([3, 6, 2], "tanh", rng(0))
    state = {name: x.clone() for name, x in core.items()}
    state["W1"][:, 4] = state["W1"][:, 0]
    assert reduce(Weights(core.graph, state)).removed == 0


def test_nearly_constant_neurons_stay():
    core = random_mlp([3, 6, 2], "tanh", rng(0))
    state = {name: x.clone() for name, x in core.items()}
    state["W1"][:, 2] *= 1e-6
    weights = Weights(core.graph, state)
    assert reduce(weights).removed == 0
    assert reduce(weights, tolerance=1e-4).maps["hidden1"].removals[0].reason == "constant"


def test_thin_matrices_before_a_nonlinearity_stay():
    """Rank counts in linear spaces only: rows of rank 1 are six different functions behind a tanh."""
    core = random_mlp([3, 6, 2], "tanh", rng(0))
    state = {name: x.clone() for name, x in core.items()}
    state["W1"][0] = state["W1"][0, :, :1] @ state["W1"][0, :1]
    assert reduce(Weights(core.graph, state)).removed == 0


def test_constants_without_a_bias_to_fold_into_stay():
    graph = mlp_graph([3, 4, 2], "sigmoid", bias=False)
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng(0), dtype=torch.float64))
    weights["W1"][0, 1] = 0.0
    found = reduce(weights)
    assert found.removed == 0
    assert found.left_alone["hidden1"] == (
        "1 redundant elements had to stay: they add a constant to the output 'z2', and no bias takes it over"
    )
    assert reduce(Weights(mlp_graph([3, 4, 2], "tanh", bias=False), weights.tensors)).removed == 1


def test_a_layer_without_use_keeps_one_neuron():
    core = random_mlp([3, 4, 2], "tanh", rng(0))
    state = {name: x.clone() for name, x in core.items()}
    state["W2"].zero_()
    found = reduce(Weights(core.graph, state))
    assert found.graph.space("hidden1").size == 1


def test_single_precision_is_kept():
    _, large = planted("relu", 2)
    found = reduce(large.to(dtype=torch.float32))
    assert found.weights.dtype == torch.float32
    assert found.removed == 8
    assert found.tolerances["duplicate"].source == "dtype"
    assert found.change < 1e-5


def test_lifted_symmetries_leave_the_equivalent_network_alone():
    """γ: a latent permutation of the small network, lifted, is a symmetry of the large one's parameters."""
    generator = rng(0)
    core = random_mlp([3, 6, 2], "tanh", generator)
    large = plant(core, 1, "tanh", generator, duplicates=6)
    found = reduce(large)
    k = GroupElement(found.graph, {"hidden1": Monomial(torch.randperm(6, generator=generator), -torch.ones(6))})
    lifted = found.lift(k)
    assert large.graph.group().contains(lifted)
    assert same_function(large, lifted.act(found.equivalent()), 3)
    inner = forward(found.graph, k.act(found.weights), points(3))
    assert torch.allclose(inner, forward(large.graph, lifted.act(found.equivalent()), points(3)))


def test_unequal_copies_cannot_be_exchanged():
    found = reduce(planted("tanh", 0)[1])
    copies = [int((found.maps["hidden1"].copies == j).sum()) for j in range(6)]
    single, double = copies.index(1), copies.index(2)
    perm = torch.arange(6)
    perm[single], perm[double] = double, single
    wanted = "which no symmetry of the large network exchanges"
    with pytest.raises(GraphError, match=wanted):
        found.lift(GroupElement(found.graph, {"hidden1": Monomial(perm)}))
    with pytest.raises(GraphError) as error:
        found.lift_on("hidden1", LinearMap(torch.eye(6)))
    assert str(error.value) == "space 'hidden1': a matrix acts on a space of neurons"
    with pytest.raises(GraphError) as error:
        found.lift(GroupElement(found.source, {}))
    assert str(error.value) == "this group element belongs to another graph than the reduced one"


def test_linear_layers_shrink_to_their_rank():
    generator = rng(0)
    weights = random_mlp([5, 8, 8, 4], "identity", generator)
    thin = torch.randn(8, 2, generator=generator, dtype=torch.float64)
    weights["W2"][0] = thin @ torch.randn(2, 8, generator=generator, dtype=torch.float64)
    weights["b2"].zero_()
    weights["b1"].zero_()
    found = reduce(weights)
    assert [s.size for s in found.graph.spaces] == [5, 2, 2, 4]
    assert same_function(weights, found.weights, 5)
    assert same_function(weights, found.equivalent(), 5)
    check = check_submodel(
        submodel_of(found),
        layer_parameters(found.weights),
        [points(n) for n in (5, 8, 8, 4)],
        [points(n) for n in (5, 2, 2, 4)],
    )
    assert check.largest < 1e-12


def test_errors():
    graph = mlp_graph([2, 3, 1])
    two = Weights.unflatten(graph, torch.randn(2, graph.numel))
    with pytest.raises(UsageError) as error:
        reduce(two)
    assert str(error.value) == ("one network is reduced at a time: got a batch of 2; use weights.select([0])")
    one = two.select([0])
    with pytest.raises(UsageError) as error:
        reduce(one, tolerance=2.0)
    assert str(error.value) == "tolerance must be 'dtype', 'gap' or a number of at least 0 and below 1; got 2.0"
    noise = rng(0)
    with pytest.raises(VerificationError) as error:
        reduce(one, run=lambda w: torch.randn(5, generator=noise))
    assert str(error.value) == (
        "the network gives other outputs each time it runs, so nothing can be compared: put it in eval mode"
    )
    bare = dataclasses.replace(graph, operations=(), inputs=(), outputs=())
    with pytest.raises(UsageError) as error:
        reduce(Weights(bare, one.tensors))
    assert str(error.value) == ("outputs cannot be compared: the graph holds no operations; give `run`")
    pictures = attention_graph(3, [AttentionLayer(2, 3)], output=2, patch=2)
    unsaid = dataclasses.replace(pictures, values=())
    with pytest.raises(UsageError) as error:
        reduce(Weights.unflatten(unsaid, torch.randn(1, pictures.numel)))
    assert str(error.value) == "the shape of the inputs cannot be seen from this graph: give `inputs`, or `run`"


def test_the_result_itself_is_checked():
    """A run that changes its mind after the search: the last comparison must notice."""
    weights = planted("tanh", 0)[1]
    calls = []

    def run(candidate):
        calls.append(candidate)
        outputs = forward(candidate.graph, candidate, points(3))
        return outputs if candidate.graph.numel > 80 or len(calls) < limit else outputs + torch.linspace(0, 1, 2)

    limit = 10**9
    reduce(weights, run=run)
    limit, calls = len(calls), []
    with pytest.raises(VerificationError) as error:
        reduce(weights, run=run)
    assert str(error.value).startswith("the reduced network's outputs differ by ")
    assert str(error.value).endswith("(allowed 1.0e-08): lower the tolerance")


def test_symmetries_of_nested_sets_are_lifted():
    """Channels in groups, where one group copies another: γ moves the copies of a group, and what is inside them."""
    spaces = (
        Space("in", 3, "free"),
        Space("group", 4),
        Space("channel", 2, "nested", "group"),
        Space("out", 2, "free"),
    )
    parameters = (Parameter("U", "channel in*"), Parameter("b", "channel"), Parameter("O", "out channel*"))
    graph = NetworkGraph(spaces, parameters)
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng(0), dtype=torch.float64))
    for name in "Ub":
        weights[name][0, 6:8] = weights[name][0, 0:2]
        weights[name][0, 4:6] = weights[name][0, 2:4]

    def run(candidate):
        hidden = torch.nn.functional.gelu(points(3) @ candidate["U"][0].T + candidate["b"][0])
        return hidden @ candidate["O"][0].T

    found = reduce(weights, run=run)
    assert found.graph.space("group").size == 2
    k = {"group": Monomial(torch.tensor([1, 0])), "channel": Monomial(torch.tensor([3, 2, 0, 1]))}
    lifted = found.lift(GroupElement(found.graph, k))
    assert lifted.maps["group"].perm.tolist() == [1, 0, 3, 2]
    assert lifted.maps["channel"].perm.tolist() == [3, 2, 0, 1, 6, 7, 5, 4]
    assert graph.group().contains(lifted)
    assert torch.allclose(run(lifted.act(found.equivalent())), run(weights))


class _Largest(nn.Module):
    """Beside its outputs the largest hidden value; one neuron is 0, and nothing else is so small near zero inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.last = nn.Linear(4, 13), nn.Linear(13, 2)
        with torch.no_grad():
            self.hidden.weight.normal_(std=20, generator=rng(0))
            self.hidden.bias.fill_(-1.0)
            self.last.weight.normal_(generator=rng(1))
            for tensor in (self.hidden.weight[5], self.hidden.bias[5], self.last.weight[:, 5]):
                tensor.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.hidden(x)
        return torch.cat([self.last(torch.relu(h)), h.amax(-1, keepdim=True)], -1)


def test_what_counts_on_other_inputs_only_stays():
    found = convert(_Largest().double().eval(), torch.randn(64, 4, generator=rng(2), dtype=torch.float64))
    kept = reduce(found.weights)
    assert kept.removed == 0
    assert "1 redundant elements had to stay: without them the outputs change" in kept.left_alone["hidden"]
    alone = reduce(found.weights, tolerance=1e-9)
    assert alone.removed == 1, "ordinary inputs never show it"
