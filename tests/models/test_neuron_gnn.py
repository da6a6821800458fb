"""The graph network on neurons: messages against loops, the law on every kind of network, and checks that fail."""

from __future__ import annotations

import pytest
import torch

from graphws.errors import UsageError, VerificationError, WeightsError
from graphws.graph import NetworkGraph, Space, Weights
from graphws.models import FlatMLP, NeuronGNN, NeuronGraph
from graphws.operations import mlp_graph
from graphws.operations.sampling import random_weights
from graphws.testing import check_equivariance
from tests.layers.acting.networks import NETWORKS

GRAPH = mlp_graph([2, 4, 3, 1])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("free", ["neurons", "channels"])
@pytest.mark.parametrize("outputs", [3, None])
@pytest.mark.parametrize("name", NETWORKS)
def test_neurons_may_be_relabelled(name: str, outputs: int | None, free: str) -> None:
    torch.manual_seed(0)
    graph = NETWORKS[name]()
    model = NeuronGNN(graph, outputs, layers=2, width=4, free=free).double()
    check_equivariance(model, graph, rng())
    check_equivariance(model.eval(), graph, rng(1))


def test_the_check_fails_for_a_model_that_knows_neurons_by_number() -> None:
    torch.manual_seed(0)
    with pytest.raises(VerificationError):
        check_equivariance(FlatMLP(GRAPH, 3, layers=2, width=8).double(), GRAPH, rng())
    model = NeuronGNN(GRAPH, 3, layers=2, width=4).double()
    place = model.start.places["hidden1"]
    model.start.places["hidden1"] = torch.nn.Parameter(torch.randn(4, *place.shape[1:], dtype=place.dtype))
    with pytest.raises(VerificationError):
        check_equivariance(model, GRAPH, rng())


def test_inputs_and_outputs_keep_their_places() -> None:
    """Exchanging two inputs, or two outputs, is another function, and another answer."""
    torch.manual_seed(0)
    graph = mlp_graph([2, 4, 2])
    model = NeuronGNN(graph, 3, layers=2, width=4).double().eval()
    weights = random_weights(graph, 3, rng())
    for name, axis in (("W1", -1), ("W2", 1)):
        tensors = dict(weights.items()) | {name: weights[name].flip(axis)}
        assert (model(Weights(graph, tensors)) - model(weights)).abs().max() > 1e-4


def test_messages_are_means_over_the_edges_of_each_kind() -> None:
    """One update, neuron by neuron and edge by edge, for one network."""
    torch.manual_seed(0)
    model = NeuronGNN(GRAPH, 3, layers=1, width=4).double().eval()
    weights = random_weights(GRAPH, 2, rng())
    neurons, layer = model.neurons, model.layers[0]
    entries = {p.name: neurons.features(weights, p.name) for p in GRAPH.parameters}
    start = model.start(entries, 2)
    found = layer(start, entries)
    sizes = {"input": 2, "hidden1": 4, "hidden2": 3, "output": 1}
    assert neurons.sites == sizes
    offsets = dict(zip(sizes, [0, 2, 6, 9], strict=True))
    joins = {"W1": ("hidden1", "input"), "W2": ("hidden2", "hidden1"), "W3": ("output", "hidden2")}
    network = 1
    for site, count in sizes.items():
        for i in range(count):
            came = {True: torch.zeros(4, dtype=torch.float64), False: torch.zeros(4, dtype=torch.float64)}
            for number, edges in enumerate(neurons.edges):
                if edges.target != site:
                    continue
                assert edges.parameter is not None
                matrix = weights[edges.parameter][network]
                written, read = joins[edges.parameter]
                assert {edges.source, edges.target} == {written, read}
                assert edges.forward == (edges.target == written)
                total = torch.zeros(4, dtype=torch.float64)
                for j in range(sizes[edges.source]):
                    w = matrix[i, j] if edges.forward else matrix[j, i]
                    edge = layer.maps[number].weight[:, 0] * w + layer.maps[number].bias
                    total = total + torch.relu(start[offsets[edges.source] + j, network] + edge)
                came[edges.forward] = came[edges.forward] + total / sizes[edges.source]
            own = start[offsets[site] + i, network]
            hidden = layer.first(torch.cat([own, came[True], came[False]])) / (1 + 1e-5) ** 0.5
            wanted = own + layer.last(torch.relu(hidden))
            torch.testing.assert_close(found[offsets[site] + i, network], wanted)


def test_start_and_decoder_are_those_of_each_neuron_and_entry() -> None:
    torch.manual_seed(0)
    model = NeuronGNN(GRAPH, None, layers=1, width=4).double().eval()
    weights = random_weights(GRAPH, 2, rng())
    entries = {p.name: model.neurons.features(weights, p.name) for p in GRAPH.parameters}
    start = model.start(entries, 2)
    wanted = model.start.maps["hidden1"].weight[:, 0] * weights["b1"][1, 2] + model.start.places["hidden1"][0, 0]
    torch.testing.assert_close(start[2 + 2, 1], wanted)
    torch.testing.assert_close(start[1, 0], model.start.places["input"][1, 0])
    decoder = model.decoder
    assert decoder is not None
    found = decoder(start, entries)
    i, j, network = 2, 1, 1  # of W2
    hidden = decoder.own["W2"].weight[:, 0] * weights["W2"][network, i, j] + decoder.own["W2"].bias
    hidden = hidden + decoder.ends[0](start[6 + i, network]) + decoder.ends[1](start[2 + j, network])
    torch.testing.assert_close(found["W2"][network, i, j], decoder.last["W2"](torch.relu(hidden))[0])


def test_heads_read_small_free_spaces_neuron_by_neuron() -> None:
    def width(graph: NetworkGraph, free: str = "neurons") -> int:
        model = NeuronGNN(graph, 3, layers=1, width=5, free=free)
        return int(model.head[0].in_features) // 5  # type: ignore[index]

    assert width(GRAPH) == 2 + 2 + 2 + 1  # inputs, mean and maximum twice, the output
    assert width(mlp_graph([7, 4, 3, 1])) == 2 + 2 + 2 + 1
    assert width(GRAPH, "channels") == 2 + 2 + 1  # the output's bias is a number of the network


def test_spaces_of_two_neurons_are_pooled() -> None:
    torch.manual_seed(0)
    graph = mlp_graph([2, 2, 1])
    check_equivariance(NeuronGNN(graph, 3, layers=1, width=4).double(), graph, rng())


def test_wide_inputs_can_be_channels() -> None:
    graph = mlp_graph([300, 4, 2])
    found = NeuronGraph(graph, "channels")
    assert found.sites == {"hidden1": 4, "": 1}
    assert [str(edges) for edges in found.edges] == [
        "link: hidden1 -> the network, 4 edges",
        "link: the network -> hidden1, 4 edges",
    ]
    assert found.layout("W1").free == 300
    assert sum(edges.index.shape[1] for edges in NeuronGraph(graph).edges) == 2 * (1200 + 8)


def test_several_networks_come_back_next_to_each_other_and_start_small() -> None:
    torch.manual_seed(0)
    weights = random_weights(GRAPH, 4, rng(), torch.float32)
    model = NeuronGNN(GRAPH, None, layers=1, width=4, networks=3).eval()
    found = model(weights)
    assert found.batch == 12
    torch.testing.assert_close(model(weights.select([1])).flatten(), found.select(slice(3, 6)).flatten())
    small = NeuronGNN(GRAPH, None, layers=1, width=4, init_scale=1e-3)
    assert small(weights).flatten().abs().max() < 1e-2


def test_what_it_cannot_read_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        NeuronGNN(GRAPH, 3, width=0)
    what = "a graph network has at least one layer, a width and networks of at least 1"
    assert str(caught.value) == f"{what}; got 4, 0 and 1"
    with pytest.raises(UsageError) as caught:
        NeuronGraph(GRAPH, "neuron")
    assert str(caught.value) == "free spaces are neurons or channels, got 'neuron'; did you mean 'neurons'?"
    with pytest.raises(UsageError) as caught:
        NeuronGraph(NetworkGraph((Space("d", 2),), ()))
    assert str(caught.value) == "messages go along weights, and these networks have no parameters"
    with pytest.raises(WeightsError) as refused:
        NeuronGNN(GRAPH, 3, layers=1, width=4)(random_weights(mlp_graph([2, 3, 3, 1]), 2, rng()))
    wanted = "these networks have other parameters than those that the model was built to read"
    assert str(refused.value) == wanted
