"""Models in which weights act: the whole group on every architecture that converts, probes, roles, networks back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import graphws
from graphws.errors import GraphError, UsageError, VerificationError
from graphws.graph import GroupElement, NetworkGraph, Weights
from graphws.graph.element import Monomial
from graphws.models import GradedNet, perceptron
from graphws.operations import forward, mlp_graph
from graphws.operations.sampling import random_weights as sensible_weights
from graphws.testing import GradedLayerTests, check_equivariance, random_weights
from tests.converters.architectures import ARCHITECTURES, build
from tests.layers.acting.networks import NETWORKS

SIREN = mlp_graph([2, 4, 3, 1], activation="sine", omega=3.0)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(graph: NetworkGraph | list[NetworkGraph], outputs: int | None = 3, **options: object) -> GradedNet:
    """A small one in float64, for evaluation."""
    torch.manual_seed(0)
    return GradedNet(graph, outputs, **{"layers": 2, "channels": 5, **options}).double().eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("outputs", [3, None])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_kind_of_symmetry(name: str, outputs: int | None) -> None:
    graph = NETWORKS[name]()
    found = check_equivariance(model(graph, outputs), graph, rng(), actions="rich")
    assert found.error <= 1e-10


@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in ("GELU MLP", "residual")])
def test_a_model_that_knows_permutations_only_is_caught(name: str) -> None:
    graph = NETWORKS[name]()
    with pytest.raises(VerificationError, match="not invariant"):
        check_equivariance(model(graph, symmetry="permutation"), graph, rng(), actions="rich")


@pytest.mark.parametrize("name", NETWORKS)
def test_it_follows_permutations_all_the_same(name: str) -> None:
    graph = NETWORKS[name]()
    check_equivariance(model(graph, symmetry="permutation"), graph, rng())


@pytest.mark.parametrize("network", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_learned_in_vain(name: str, network: bool) -> None:
    """Every parameter has a gradient: several processes wait for each."""
    graph = NETWORKS[name]()
    read = model(graph, network=network)
    read(random_weights(graph, 4, rng())).sum().backward()
    assert not [key for key, parameter in read.named_parameters() if parameter.grad is None]
    assert not read.idle


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_that_converts(name: str) -> None:
    module, inputs = build(name)
    graph = graphws.convert(module.eval(), inputs).graph
    for outputs in (3, None):
        assert check_equivariance(model(graph, outputs), graph, rng(), actions="rich").error <= 1e-10


class TestModel(GradedLayerTests):
    """Gradients, dtypes and the group, as for any layer."""

    graph = SIREN
    channels = None
    batch = 6

    def make_layer(self) -> nn.Module:
        return model(self.graph).eval()


@pytest.mark.parametrize("name", [n for n in NETWORKS if NETWORKS[n]().operations])
def test_probes_keep_the_group(name: str) -> None:
    graph = NETWORKS[name]()
    probed = model(graph, probes=3)
    weights = sensible_weights(graph, 4, rng())
    element = graph.group().random(rng(1), batch=4, actions="rich")
    torch.testing.assert_close(probed(element.act(weights)), probed(weights), rtol=1e-9, atol=1e-9)
    assert float((probed(sensible_weights(graph, 4, rng(2))) - probed(weights)).detach().abs().max()) > 1e-3


def test_probes_say_what_the_network_says() -> None:
    probed = model(SIREN, probes=4)
    weights = random_weights(SIREN, 3, rng())
    scale = {"W1": 2.0, "b1": 0.5}
    probed.calibrate(lambda graph, name: scale.get(name, 1.0))
    seen = Weights(SIREN, {name: x / scale.get(name, 1.0) for name, x in weights.items()})
    _, answers = probed.features(seen)
    assert answers is not None
    assert probed.probes is not None
    points = probed.probes.points.of(SIREN)
    torch.testing.assert_close(answers.outputs, forward(SIREN, weights, points).flatten(1))  # type: ignore[union-attr]
    hidden = torch.sin(3 * (weights["W1"] @ next(iter(points.values())).T + weights["b1"].unsqueeze(-1)))
    torch.testing.assert_close(answers.neurons["hidden1", 1], hidden)


def test_probes_learn() -> None:
    probed = model(SIREN, probes=4)
    probed(random_weights(SIREN, 3, rng())).sum().backward()
    assert probed.probes is not None
    (points,) = probed.probes.parameters()
    assert points.grad is not None
    assert float(points.grad.abs().sum()) > 0
    assert not list(model(SIREN, probes=4, learned=False).probes.parameters())  # type: ignore[union-attr]


def test_networks_that_do_not_run_have_no_probes() -> None:
    with pytest.raises(UsageError, match="do not"):
        model(NETWORKS["bottleneck"](), probes=2)


def test_several_graphs_share_by_role() -> None:
    graphs = [mlp_graph([2, 4, 3, 1], "relu"), mlp_graph([2, 5, 4, 3, 1], "relu"), mlp_graph([2, 3, 1], "relu")]
    shared = model(graphs, share="role")
    batches = [random_weights(graph, 3, rng(k)) for k, graph in enumerate(graphs)]
    alone = torch.cat([shared(batch) for batch in batches])
    torch.testing.assert_close(shared(batches), alone)
    for graph in graphs:
        check_equivariance(shared, graph, rng(), actions="rich")


def test_a_depth_never_seen_is_read_and_another_role_refused() -> None:
    graphs = [mlp_graph([2, 4, 3, 1], "relu"), mlp_graph([2, 5, 4, 3, 1], "relu")]
    shared = model(graphs, share="role")
    deeper = mlp_graph([2, 5, 4, 3, 4, 3, 1], "relu")
    assert shared(random_weights(deeper, 2, rng())).shape == (2, 3)
    wider = mlp_graph([3, 4, 3, 1], "relu")
    with pytest.raises(GraphError, match="was built for 2"):
        shared(random_weights(wider, 2, rng()))


def test_several_networks_come_back() -> None:
    many = model(SIREN, None, networks=3)
    weights = random_weights(SIREN, 2, rng())
    found = many(weights)
    assert found.batch == 6
    element = SIREN.group().random(rng(1), actions="rich")
    moved = many(element.act(weights))
    for name, x in element.act(found).items():
        torch.testing.assert_close(moved[name], x)


def test_dead_neurons_of_any_scale_do_no_harm() -> None:
    graph = mlp_graph([2, 4, 3, 1], "relu")
    weights = random_weights(graph, 2, rng())
    weights["W1"][:, 0] = 0
    weights["b1"][:, 0] = 0
    size = torch.tensor([1e12, 1e-12, 1.0, 1e6], dtype=torch.float64)
    element = GroupElement(graph, {"hidden1": Monomial(torch.arange(4), size)})
    read = model(graph)
    torch.testing.assert_close(read(element.act(weights)), read(weights))
    assert bool(torch.isfinite(read(weights)).all())


def test_the_readout_is_the_head_s() -> None:
    read = model(SIREN, lambda width: perceptron(width, 7, (6,)))  # type: ignore[arg-type]
    assert read(random_weights(SIREN, 2, rng())).shape == (2, 7)


def test_only_weights_that_act_and_the_network_lead_from_one_space_to_another() -> None:
    weights = random_weights(SIREN, 1, rng())
    other = Weights(SIREN, {name: 2 * x if name == "b1" else x for name, x in weights.items()})

    def changes(**options: bool) -> bool:
        found = [model(SIREN, channels=16, **options).features(each)[0].get("hidden2") for each in (weights, other)]
        return not torch.allclose(*found)  # type: ignore[arg-type]

    assert not changes(acts=False, network=False)
    assert changes(acts=True, network=False)
    assert changes(acts=False, network=True)


@pytest.mark.parametrize(("option", "value"), [("layers", 0), ("channels", 0)])
def test_empty_models_are_refused(option: str, value: int) -> None:
    with pytest.raises(UsageError, match="at least one layer and one channel"):
        model(SIREN, **{option: value})
