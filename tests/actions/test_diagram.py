"""Reductions as submodels: definition 3.2 and equation 2 on MLPs, attention networks and convolutional ones."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from graphws import convert
from graphws.actions.intertwiners.group import Intertwiners
from graphws.actions.reduction import Reduction, latent_shapes, latent_spaces, layer_parameters, reduce, submodel_of
from graphws.actions.submodels.submodel import Submodel, SubmodelCheck, check_submodel
from graphws.errors import GraphError
from graphws.graph import Action, LinearMap, Monomial, Operation, Weights
from graphws.graph.element import SpaceElement
from graphws.operations import forward, mlp_graph
from graphws.operations.builders.attention import AttentionLayer, attention_graph
from tests.actions.redundancy import plant, random_mlp

DOUBLE = torch.float64


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=rng(seed), dtype=DOUBLE)


def put_to_the_test(
    found: Reduction, x: Tensor, symmetries: dict[str, list[SpaceElement]], submodel: Submodel | None = None
) -> SubmodelCheck:
    """The check at random points of every latent space; symmetries by the name of their space."""
    large = [normal(*shape, seed=k) for k, shape in enumerate(latent_shapes(found.equivalent(), x))]
    small = [normal(*shape, seed=k) for k, shape in enumerate(latent_shapes(found.weights, x))]
    tried = [symmetries.get(space, []) for space in latent_spaces(found.source)]
    return check_submodel(
        submodel or submodel_of(found), layer_parameters(found.weights), large, small, [[], *tried, []]
    )


@pytest.mark.parametrize("activation", ["gelu", "tanh", "relu", "power"])
def test_mlp_with_symmetries_of_the_activation(activation: str) -> None:
    """Signs and scales too: α, α* and γ agree on them, and γ stays in the large network's group."""
    generator = rng(5)
    core = random_mlp([3, 6, 5, 2], activation, generator)
    found = reduce(plant(plant(core, 1, activation, generator, duplicates=0), 2, activation, generator, duplicates=5))
    groups = {name: Intertwiners.of(activation, n) for name, n in (("hidden1", 6), ("hidden2", 5))}
    tried = {name: [group.sample(generator) for _ in range(3)] for name, group in groups.items()}
    check = put_to_the_test(found, normal(40, 3), tried)
    assert check.equivariance is not None
    assert check.largest < 1e-11
    outer = Intertwiners.of(activation, found.maps["hidden2"].size)
    for k in tried["hidden2"]:
        lifted = found.lift_on("hidden2", k)
        assert outer.contains(lifted)
    assert not outer.contains(LinearMap(torch.eye(outer.size, dtype=DOUBLE) + 0.1))


def attention(seed: int, **layer: int) -> Weights:
    layers = [AttentionLayer(4, 3, width=8, **layer), AttentionLayer(4, 3, width=8, **layer)]
    graph = attention_graph(8, layers, output=5)
    flat = torch.randn(1, graph.numel, generator=rng(seed), dtype=DOUBLE)
    return Weights(graph, {n: x / x.shape[-1] ** 0.5 for n, x in Weights.unflatten(graph, flat).items()})


@pytest.mark.parametrize("form", [{}, {"query_dim": 2}])
def test_attention(form: dict[str, int]) -> None:
    """A copied head in another basis, heads of rank 2 and thin tokens: the submodels of section 5.2."""
    weights = attention(0, **form)
    mix = normal(3, 3, seed=1)
    weights["V1"][0, 6:9] = mix @ weights["V1"][0, 0:3]
    if form:
        weights["Q1"][0, 4:6], weights["K1"][0, 4:6] = weights["Q1"][0, 0:2], weights["K1"][0, 0:2]
    else:
        weights["A1"][0, 2] = weights["A1"][0, 0]
    for j in range(4):
        weights["V2"][0, 3 * j : 3 * j + 3] = normal(3, 2, seed=j) @ weights["V2"][0, 3 * j : 3 * j + 2].clone()
    weights["O2"][0] = normal(8, 5, seed=9) @ weights["O2"][0][:5].clone()
    found = reduce(weights, normal(7, 5, 8, seed=9))
    sizes = {name: found.graph.space(name).size for name in ("head1", "value1", "model2", "head2", "value2")}
    assert sizes == {"head1": 3, "value1": 3, "model2": 5, "head2": 4, "value2": 2}
    assert latent_spaces(found.source) == ["model1", "value1", "model2", "value2"]
    group = {
        "value1": Intertwiners(Action.LINEAR, 3, heads=3),
        "model2": Intertwiners(Action.LINEAR, 5),
        "value2": Intertwiners(Action.LINEAR, 2, heads=4),
    }
    tried = {name: [k.sample(rng(3)), k.sample(rng(4)), k.identity()] for name, k in group.items()}
    check = put_to_the_test(found, normal(7, 5, 8, seed=2), tried)
    assert check.equivariance is not None
    assert check.largest < 1e-9
    outer = {"value1": Intertwiners(Action.LINEAR, 3, heads=4), "value2": Intertwiners(Action.LINEAR, 3, heads=4)}
    for name, whole in outer.items():
        assert all(whole.contains(found.lift_on(name, k)) for k in tried[name]), name
    naive = found.maps["value2"].basis
    assert naive is not None
    moved = naive @ tried["value2"][0].matrix() @ naive.mT + torch.eye(12, dtype=DOUBLE) - naive @ naive.mT
    assert not outer["value2"].contains(LinearMap(moved))  # what is left out must follow its head


def test_lifted_symmetries_leave_an_attention_network_alone() -> None:
    weights = attention(1)
    weights["O2"][0, :, 3:6] = 0.0
    for j in range(4):
        weights["V2"][0, 3 * j : 3 * j + 3] = normal(3, 2, seed=j) @ weights["V2"][0, 3 * j : 3 * j + 2].clone()
    x = normal(7, 5, 8, seed=9)
    found = reduce(weights, x)
    assert [found.graph.space(n).size for n in ("head1", "head2", "value2")] == [3, 4, 2]
    k = found.graph.group().random(rng(3), actions="rich")
    lifted = found.lift(k)
    assert weights.graph.group().contains(lifted)
    moved = lifted.act(found.equivalent())
    torch.testing.assert_close(forward(weights.graph, moved, x), forward(weights.graph, weights, x))
    assert not torch.allclose(moved["V2"], found.equivalent()["V2"])


def test_channels() -> None:
    """Copies up to a positive factor, a silent channel and an unread one: α acts on channels, at every pixel."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(20, 3),
    )  # fmt: skip
    module = module.eval().double()
    one, norm, two = module[0], module[1], module[4]
    assert isinstance(one, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(two, nn.Conv2d)
    assert two.bias is not None
    with torch.no_grad():
        norm.running_mean.normal_()  # type: ignore[union-attr]
        norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
        norm.bias.normal_()
        two.weight[:, 3] = 0.0
        for tensor in (one.weight, one.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var):
            tensor[5] = tensor[1]  # type: ignore[index]
        two.weight[4], two.bias[4] = 2.0 * two.weight[0], 2.0 * two.bias[0]
    x = normal(4, 2, 8, 8)
    converted = convert(module, x)
    assert converted.weights is not None
    found = reduce(converted.weights, run=converted.run)
    assert [s.size for s in found.graph.spaces if s.moves] == [4, 4]
    first, second = (s.name for s in found.graph.spaces if s.moves)
    scale = torch.tensor([0.5, 1, 2, 3], dtype=DOUBLE)
    still = Monomial(torch.arange(4), scale)
    pictures = x.permute(0, 2, 3, 1)
    submodel = submodel_of(found)
    large = [normal(*shape, seed=k) for k, shape in enumerate(latent_shapes(found.equivalent(), pictures))]
    small = [normal(*shape, seed=k) for k, shape in enumerate(latent_shapes(found.weights, pictures))]
    assert [tuple(v.shape) for v in small[1:3]] == [(4, 4, 4, 4), (4, 2, 2, 4)]
    tried: list[list[SpaceElement]] = [[], [still, Monomial(torch.arange(4))], [still, still], []]
    check = check_submodel(submodel, layer_parameters(found.weights), large, small, tried)
    assert check.equivariance is not None
    assert check.largest < 1e-11
    wrong = dataclasses.replace(submodel, beta=(lambda theta: theta, *submodel.beta[1:]))
    with pytest.raises(GraphError):
        check_submodel(wrong, layer_parameters(found.weights), large, small, tried)
    worse = dataclasses.replace(submodel, beta=(lambda t: submodel.beta[0]({n: 2 * v for n, v in t.items()}),
                                                *submodel.beta[1:]))  # fmt: skip
    assert check_submodel(worse, layer_parameters(found.weights), large, small).diagram > 0.1
    assert {first, second} == set(latent_spaces(found.source))


def test_a_wrong_submodel_is_refused() -> None:
    generator = rng(0)
    large = plant(random_mlp([3, 6, 5, 2], "tanh", generator), 1, "tanh", generator)
    found = reduce(large)
    assert put_to_the_test(found, normal(40, 3), {}).holds()
    submodel = submodel_of(found)
    shifted = dataclasses.replace(
        submodel, beta=(lambda t: submodel.beta[0]({**t, "W1": t["W1"] + 0.1}), *submodel.beta[1:])
    )
    assert put_to_the_test(found, normal(40, 3), {}, shifted).diagram > 0.01
    assert put_to_the_test(found, normal(40, 3), {}, shifted).function > 0.01


class Skipping(nn.Module):
    """A residual stream, then a skip that passes by a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.d, self.e, self.f = nn.Linear(6, 5), nn.Linear(5, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.a(x))
        h = h + torch.tanh(self.b(h))
        h = torch.tanh(self.c(h))
        return self.f(h + torch.tanh(self.e(torch.tanh(self.d(h)))))


def test_skips() -> None:
    """A neuron goes only where all that writes into its stream and reads from it says so; a layer may hold a skip."""
    torch.manual_seed(0)
    module = Skipping().double()
    with torch.no_grad():
        module.b.weight[:, 2] = 0.0
        module.e.weight[:, 4] = 0.0
        module.d.weight[1], module.d.bias[1] = -module.d.weight[0], -module.d.bias[0]
    x = normal(6, 3)
    converted = convert(module, x)
    assert converted.weights is not None
    found = reduce(converted.weights, run=converted.run)
    assert [(s.size) for s in found.graph.spaces if s.moves] == [6, 6, 3], found  # neuron 2 of b is still in the stream
    check = put_to_the_test(found, x, {})
    assert check.largest < 1e-12
    with torch.no_grad():
        module.c.weight[:, 2] = 0.0
    again = convert(module, x)
    assert again.weights is not None
    assert [s.size for s in reduce(again.weights, run=again.run).graph.spaces if s.moves] == [5, 6, 3]


def test_outputs_of_no_space_are_the_last_layer() -> None:
    """Probabilities after a softmax: no space labels them, and the diagram still ends there."""
    graph = mlp_graph([2, 4, 3], "tanh")
    last = Operation("softmax", (graph.outputs[0],), ("p",))
    graph = dataclasses.replace(graph, operations=(*graph.operations, last), outputs=("p",))
    weights = Weights.unflatten(graph, normal(1, graph.numel))
    weights["W2"][0, :, 1] = 0.0
    found = reduce(weights)
    assert len(submodel_of(found).model.layers) == 2
    assert latent_shapes(weights, normal(5, 2)) == [(5, 2), (5, 4), (5, 3)]
    x = normal(5, 2)
    ours = submodel_of(found).model(x, layer_parameters(weights))
    torch.testing.assert_close(ours, forward(graph, weights, x)[0])
    torch.testing.assert_close(ours.sum(1), torch.ones(5, dtype=DOUBLE))
    assert put_to_the_test(found, x, {}).holds(1e-12)


def test_a_graph_without_steps_has_no_diagram() -> None:
    weights = Weights.unflatten(mlp_graph([2, 3, 1], "tanh"), normal(1, 13))
    bare = dataclasses.replace(weights.graph, operations=(), inputs=(), outputs=())
    still = dataclasses.replace(reduce(weights), source=bare)
    with pytest.raises(GraphError) as error:
        submodel_of(still)
    assert str(error.value) == (
        "a diagram of layers needs a network that can be run from its graph: the graph holds no operations"
    )
