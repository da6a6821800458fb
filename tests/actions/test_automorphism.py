"""The search for unknown symmetries, on planted networks and on networks that have none; and quotient networks."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from graphws.actions.analysis.quotient import orbit_view, orbits_of, quotient
from graphws.actions.automorphism import automorphisms
from graphws.errors import GraphError, UsageError
from graphws.graph import GroupElement, LinearMap, Monomial, Weights, from_networkx
from graphws.operations import forward, mlp_graph
from graphws.operations.builders.attention import AttentionLayer, attention_graph
from tests.actions.redundancy import plant, random_mlp


def rng(seed):
    return torch.Generator().manual_seed(seed)


def compose(p, q):
    return [p[i] for i in q]


def group(generators):
    """All products of permutations, as lists."""
    size = len(generators[0])
    found, waiting = {tuple(range(size))}, [list(range(size))]
    while waiting:
        p = waiting.pop()
        for g in generators:
            product = tuple(compose(g, p))
            if product not in found:
                found.add(product)
                waiting.append(list(product))
    return [list(p) for p in sorted(found)]


MIRROR = [[2, 1, 0, 5, 4, 3]]
TURN = [[2, 5, 8, 1, 4, 7, 0, 3, 6]]
S3 = [[1, 0, 2], [1, 2, 0]]


def symmetric_network(generators, copies, activation, seed, outputs=None, signs=False):
    """A two-hidden-layer network whose neurons are orbits of random rows: each element of the group permutes them.

    Every hidden layer holds `copies` free orbits, one neuron for each element of the group, shuffled; with `signs` the
    shuffled neurons are negated at random, which hides a signed action.
    """
    elements = group(generators)
    m, n = len(elements), len(elements[0])
    index = {tuple(p): k for k, p in enumerate(elements)}
    regular = [[index[tuple(compose(g, p))] for p in elements] for g in elements]
    hidden = [[c * m + r[k] for c in range(copies) for k in range(m)] for r in regular]
    out = elements if outputs is None else [list(range(outputs))] * m
    spaces = [elements, hidden, hidden, out]
    widths = [n, m * copies, m * copies, n if outputs is None else outputs]
    graph = mlp_graph(widths, activation)
    generator, tensors = rng(seed), {}
    for layer in (1, 2, 3):
        above, below = spaces[layer], spaces[layer - 1]
        w = torch.randn(widths[layer], widths[layer - 1], generator=generator, dtype=torch.float64)
        b = torch.randn(widths[layer], generator=generator, dtype=torch.float64)
        tensors[f"W{layer}"] = sum(w[p][:, q] for p, q in zip(above, below, strict=True)).unsqueeze(0) / m
        tensors[f"b{layer}"] = sum(b[p] for p in above).unsqueeze(0) / m
    weights = Weights(graph, tensors)
    maps = {}
    for name in ("hidden1", "hidden2"):
        size = graph.extent(name)
        sign = torch.where(torch.rand(size, generator=generator) < 0.5, -1.0, 1.0).double() if signs else None
        maps[name] = Monomial(torch.randperm(size, generator=generator), sign)
    return GroupElement(graph, maps).act(weights), elements


@pytest.mark.parametrize("activation", ["gelu", "tanh", "relu", "power"])
@pytest.mark.parametrize(
    ("generators", "order", "copies"), [(MIRROR, 2, 4), (TURN, 4, 3), (S3, 6, 2)], ids=["mirror", "C4", "S3"]
)
@pytest.mark.parametrize("outputs", [None, 2], ids=["equivariant", "invariant"])
def test_planted_symmetries_are_found(activation, generators, order, copies, outputs):
    signs = activation in ("tanh", "power")
    weights, elements = symmetric_network(generators, copies, activation, 0, outputs, signs)
    if activation == "relu":  # hide the symmetry behind random positive scales of the neurons
        weights = weights.graph.group().random(rng(7), actions="rich").act(weights)
    found = automorphisms(weights)
    assert found.order == order
    assert group([p.tolist() for p in found.on("input")]) == elements
    x = torch.randn(20, len(elements[0]), generator=rng(1), dtype=torch.float64)
    y = forward(weights.graph, weights, x)[0]
    for element in found.elements():
        moved = element.act(weights)
        assert all(torch.allclose(moved[name], tensor, atol=1e-8) for name, tensor in weights.items())
        turned = x[:, element.maps["input"].perm] if "input" in element.maps else x
        image = y[:, element.maps["output"].perm] if "output" in element.maps else y
        assert torch.allclose(forward(weights.graph, weights, turned)[0], image, atol=1e-9)
    assert len(list(found.elements())) == order


@pytest.mark.parametrize("activation", ["gelu", "tanh", "relu", "power", "sine"])
def test_a_generic_network_has_only_the_identity(activation):
    found = automorphisms(random_mlp([9, 20, 20, 9], activation, rng(0)))
    assert (found.order, found.generators) == (1, ())
    assert str(found) == "1 automorphisms, 0 generators, moving nothing"
    assert len(list(found.elements())) == 1


def test_a_symmetry_broken_by_one_weight_is_gone():
    weights, _ = symmetric_network(MIRROR, 4, "gelu", 0)
    assert automorphisms(weights).order == 2
    weights["W2"][0, 0, 0] += 1e-3
    assert automorphisms(weights).order == 1
    assert automorphisms(weights, tolerance=1e-2).order == 2


def test_it_commutes_with_group_elements():
    weights, _ = symmetric_network(S3, 2, "tanh", 3, signs=True)
    element = weights.graph.group().random(rng(5), actions="rich")
    assert automorphisms(element.act(weights)).order == automorphisms(weights).order == 6


def test_an_odd_network_is_found_by_signed_inputs():
    """tanh without biases: f(-x) = -f(x), and each neuron changes sign with the input."""
    graph = mlp_graph([4, 6, 3], "tanh", bias=False)
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng(0), dtype=torch.float64))
    assert automorphisms(weights).order == 1
    found = automorphisms(weights, signed=["input", "output"])
    assert found.order == 2
    assert all(bool((m.scale == -1).all()) for m in found.generators[0].maps.values())


def test_dead_and_copied_neurons_have_automorphisms_of_their_own():
    large = plant(random_mlp([3, 6, 2], "gelu", rng(0)), 1, "gelu", rng(1), unread=0, constant=0, duplicates=2)
    large["W2"][:, :, :] = 1.0  # all neurons read alike: copies can be exchanged
    found = automorphisms(large)
    assert str(found) == "4 automorphisms, 2 generators, moving hidden1"  # two pairs of copies


@pytest.mark.parametrize("size", [3, 6, 9])
def test_the_full_symmetric_group(size):
    """f(x) = Σ_i g(x_i): every permutation of the inputs, n! in all, from a few generators."""
    graph = mlp_graph([size, size, 1], "gelu")
    tensors = {
        "W1": 0.7 * torch.eye(size, dtype=torch.float64).unsqueeze(0) + 0.1,
        "b1": torch.full((1, size), 0.2, dtype=torch.float64),
        "W2": torch.full((1, 1, size), 0.5, dtype=torch.float64),
        "b2": torch.zeros(1, 1, dtype=torch.float64),
    }
    found = automorphisms(Weights(graph, tensors))
    assert found.order == math.factorial(size)
    assert len(found.generators) <= size * (size - 1) // 2
    inputs = group([p.tolist() for p in found.on("input")]) if size < 9 else None
    assert inputs is None or inputs == [list(p) for p in itertools.permutations(range(size))]


def test_heads_with_dimensions_inside():
    """Two equal heads of an attention network can be exchanged with all that is in them."""
    graph = attention_graph(4, [AttentionLayer(3, 2, query_dim=2)], output=4)
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng(0), dtype=torch.float64))
    assert automorphisms(weights).order == 1
    for name in ("Q1", "K1", "V1"):
        weights[name][0, 4:6] = weights[name][0, 0:2]
    weights["O2"][0, :, 4:6] = weights["O2"][0, :, 0:2]
    found = automorphisms(weights)
    assert found.order == 2
    assert found.on("head1")[0].tolist() == [2, 1, 0]
    assert found.on("value1")[0].tolist() == [4, 5, 2, 3, 0, 1]


def test_budget_and_errors():
    weights, _ = symmetric_network(S3, 2, "gelu", 0)
    with pytest.raises(GraphError) as error:
        automorphisms(weights, budget=2)
    assert str(error.value) == (
        "the search gave up after 2 refinements with 0 generators found: reduce the network first, lower the "
        "tolerance, or raise the budget"
    )
    with pytest.raises(UsageError) as error:
        automorphisms(weights, movable=["inputs"])
    assert str(error.value) == "'inputs' is no free space of this network; did you mean 'input'?"
    with pytest.raises(UsageError) as error:
        automorphisms(Weights.cat([weights, weights]))
    assert str(error.value) == "one network is searched at a time: got a batch of 2"
    with pytest.raises(GraphError) as error:
        list(automorphisms(weights).elements(most=3))
    assert str(error.value) == "6 automorphisms are more than 3: use the generators"
    assert automorphisms(weights, movable=["input"]).order == 1  # outputs cannot follow


@pytest.mark.parametrize("activation", ["gelu", "tanh", "relu"])
@pytest.mark.parametrize(("generators", "copies"), [(MIRROR, 4), (TURN, 3), (S3, 2)], ids=["mirror", "C4", "S3"])
def test_the_quotient_computes_the_network_on_fixed_inputs(activation, generators, copies):
    weights, elements = symmetric_network(generators, copies, activation, 1, signs=activation == "tanh")
    if activation == "relu":
        weights = weights.graph.group().random(rng(7), actions="rich").act(weights)
    found = automorphisms(weights)
    orbits = orbits_of(weights.graph, found.generators)
    small = quotient(weights, found.generators)
    assert small.graph.space("hidden1").size == copies
    assert orbits["hidden1"].sizes.tolist() == [len(elements)] * copies
    x = torch.randn(15, small.graph.space("input").size, generator=rng(3), dtype=torch.float64)
    lifted = forward(weights.graph, weights, x @ orbits["input"].lift.mT)
    assert torch.allclose(forward(small.graph, small, x) @ orbits["output"].lift.mT, lifted, atol=1e-10)
    generic = torch.randn(15, weights.graph.space("input").size, generator=rng(4), dtype=torch.float64)
    y = forward(weights.graph, weights, generic)
    means = generic @ orbits["input"].lift / orbits["input"].sizes
    assert not torch.allclose(forward(small.graph, small, means) @ orbits["output"].lift.mT, y)


def test_orbits_that_vanish_leave_the_quotient():
    """A neuron that the symmetry negates is 0 on fixed inputs."""
    graph = mlp_graph([2, 2, 1], "tanh", bias=False)
    first = torch.tensor([[[1.0, -1.0], [1.0, 1.0]]], dtype=torch.float64)
    weights = Weights(graph, {"W1": first, "W2": torch.tensor([[[0.0, 2.0]]], dtype=torch.float64)})
    swap = GroupElement(
        graph,
        {"input": Monomial(torch.tensor([1, 0])), "hidden1": Monomial(torch.tensor([0, 1]), torch.tensor([-1.0, 1.0]))},
    )
    orbits = orbits_of(graph, [swap])
    assert orbits["hidden1"].vanishing.tolist() == [True, False]
    small = quotient(weights, [swap])
    assert small.graph.space("hidden1").size == 1
    x = torch.randn(9, 1, dtype=torch.float64)
    assert torch.allclose(forward(small.graph, small, x), forward(graph, weights, x.expand(9, 2)))


def test_the_orbit_is_an_attribute_of_the_neuron():
    weights, _ = symmetric_network(MIRROR, 4, "gelu", 0)
    found = automorphisms(weights)
    view = orbit_view(weights, found.generators)
    assert {view.nodes[("input", k)]["orbit"] for k in (0, 2)} == {0}
    assert view.nodes[("input", 1)]["orbit_size"] == 1
    assert len({data["orbit"] for (space, _), data in view.nodes(data=True) if space == "hidden1"}) == 4
    back = from_networkx(view)
    assert all(torch.equal(x, back[name]) for name, x in weights.items())


def test_quotient_errors():
    graph = mlp_graph([2, 2, 1], "tanh", bias=False)
    weights = Weights.unflatten(graph, torch.randn(1, graph.numel))
    with pytest.raises(GraphError) as error:
        orbits_of(graph, [GroupElement(graph, {"hidden1": LinearMap(torch.eye(2))})])
    assert str(error.value) == "space 'hidden1': a matrix acts there, which has no orbits of neurons"
    with pytest.raises(GraphError) as error:
        orbits_of(graph, [GroupElement(graph, {"hidden1": Monomial(torch.tensor([[0, 1]]))})])
    assert str(error.value) == "space 'hidden1': one element for all networks is needed, not a batch"
    with pytest.raises(GraphError) as error:
        quotient(weights, [GroupElement(graph, {"hidden1": Monomial(torch.arange(2), -torch.ones(2))})])
    assert str(error.value) == "space 'hidden1': every activation that the group fixes is 0, so nothing is left"
    with pytest.raises(GraphError) as error:
        orbits_of(mlp_graph([2, 3, 1]), [GroupElement(graph)])
    assert str(error.value) == "a group element belongs to another graph"
    heads = attention_graph(4, [AttentionLayer(2, 2)], output=4)
    both = Weights.unflatten(heads, torch.randn(1, heads.numel))
    swap = GroupElement(
        heads, {"head1": Monomial(torch.tensor([1, 0])), "value1": Monomial(torch.tensor([2, 3, 0, 1]))}
    )
    with pytest.raises(GraphError) as error:
        quotient(both, [swap])
    assert str(error.value) == "space 'head1': quotients of nested spaces are not taken"
