from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Batch, Data, HeteroData
from torch_geometric.loader import DataLoader

from graphws.errors import GraphError, WeightsError
from graphws.graph import NetworkGraph, Parameter, Space, Weights, from_pyg, to_pyg
from graphws.operations import mlp_graph
from tests.graph import samples


def test_a_network_comes_back_bit_for_bit() -> None:
    weights = samples.odd_weights()
    for network in (0, 1, -1):
        assert samples.same_bits(from_pyg(to_pyg(weights, network)), weights.select([network]))


@pytest.mark.parametrize("graph", [samples.rich_mlp(), mlp_graph([2, 3], bias=False)])
def test_networks_come_back_from_the_data_loader(graph: NetworkGraph) -> None:
    weights = samples.random_weights(graph, 5, dtype=torch.float32)
    loader = DataLoader([to_pyg(weights, k) for k in range(5)], batch_size=3)
    back = Weights.cat([from_pyg(batch) for batch in loader])
    assert samples.same_bits(back, weights)


def test_networks_of_odd_graphs_come_back_from_a_batch() -> None:
    weights = samples.odd_weights()
    batch = Batch.from_data_list([to_pyg(weights, 0), to_pyg(weights, 1)])
    assert samples.same_bits(from_pyg(batch), weights)


@pytest.mark.parametrize("graph", [samples.heads(), samples.rich_mlp(), NetworkGraph((), ())])
def test_a_typed_graph_comes_back(graph: NetworkGraph) -> None:
    data = to_pyg(graph)
    data.validate()
    assert from_pyg(data) == graph
    (batch,) = DataLoader([data, data], batch_size=2)
    assert [from_pyg(one) for one in batch.to_data_list()] == [graph, graph]
    with pytest.raises(GraphError) as error:
        from_pyg(batch)
    assert str(error.value) == "a batch of typed graphs: read each of batch.to_data_list() by itself"


def test_the_typed_graph_says_what_every_axis_runs_over() -> None:
    graph = samples.heads()
    data = to_pyg(graph)
    parameters, spaces = data["parameter", "axis", "space"].edge_index.tolist()
    for edge, (parameter, space) in enumerate(zip(parameters, spaces, strict=True)):
        place, power, inner = data["parameter", "axis", "space"].edge_attr[edge].tolist()
        axis = graph.parameters[parameter].axes[place]
        assert (axis.space, axis.power, axis.inner) == (graph.spaces[space].name, power, bool(inner))
    assert len(parameters) == sum(len(parameter.axes) for parameter in graph.parameters)
    inside = data["space", "inside", "space"].edge_index.T.tolist()
    nested = [space for space in graph.spaces if space.parent is not None]
    assert [(graph.spaces[a].name, graph.spaces[b].name) for a, b in inside] == [(s.name, s.parent) for s in nested]
    assert nested


def test_node_and_edge_types_are_spaces_and_parameters() -> None:
    graph = mlp_graph([2, 3, 1])
    weights = samples.random_weights(graph)
    data = to_pyg(weights, 1)
    data.validate()
    assert data.node_types == ["input", "hidden1", "output"]
    assert data.edge_types == [("input", "W1", "hidden1"), ("hidden1", "W2", "output")]
    assert data["hidden1"].x.tolist() == weights["b1"][1].unsqueeze(1).tolist()
    assert data["input"].x.shape == (2, 0)
    assert NetworkGraph.from_json(data.graph_json) == graph
    edges = data["input", "W1", "hidden1"]
    source, target = edges.edge_index
    assert torch.equal(edges.edge_attr[:, 0], weights["W1"][1][target, source])


def test_one_step_of_message_passing_is_one_layer() -> None:
    graph = mlp_graph([2, 4, 3])
    weights = samples.random_weights(graph, 3)
    batch = Batch.from_data_list([to_pyg(weights, k) for k in range(3)])
    x = torch.randn(2, dtype=torch.float64)
    edges = batch["input", "W1", "hidden1"]
    source, target = edges.edge_index
    messages = edges.edge_attr[:, 0] * x.repeat(3)[source]
    z = torch.zeros(12, dtype=torch.float64).index_add(0, target, messages) + batch["hidden1"].x[:, 0]
    torch.testing.assert_close(z.reshape(3, 4), weights["W1"] @ x + weights["b1"])


def test_loops_heads_hyperedges_and_several_types() -> None:
    data = to_pyg(samples.odd_weights())
    data.validate()
    assert data["k"].num_nodes == 6
    assert data["k"].x.shape == (6, 0)
    assert data["k"].x_bfloat16.shape == (6, 1)
    assert data["d", "W", "d"].edge_index.shape == (2, 16)
    assert data["T[]"].x.dtype == torch.float64
    assert data["T[]", "axis 1", "k"].edge_index.shape == (2, 36)
    assert data.scalars.shape == (1, 1)
    assert data.scalars_int64.tolist() == [[2**62 + 1]]


def test_the_order_of_edges_does_not_matter() -> None:
    weights = samples.odd_weights()
    data = to_pyg(weights)
    edges = data["d", "W", "d"]
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    edges.edge_index, edges.edge_attr = edges.edge_index[:, order], edges.edge_attr[order]
    entries = data["T[]", "axis 2", "x"]
    entries.edge_index = entries.edge_index.flip(1)
    assert samples.same_bits(from_pyg(data), weights.select([0]))


def test_changing_the_data_leaves_the_weights_alone() -> None:
    weights = samples.random_weights(mlp_graph([2, 3, 1]))
    before = weights.flatten().clone()
    to_pyg(weights)["input", "W1", "hidden1"].edge_attr.zero_()
    assert torch.equal(weights.flatten(), before)


def test_only_what_was_written_is_read() -> None:
    weights = samples.random_weights(mlp_graph([2, 3, 1]))
    with pytest.raises(WeightsError, match=r"^no network 2 in a batch of 2$"):
        to_pyg(weights, 2)
    with pytest.raises(GraphError, match=r"^from_pyg reads a HeteroData or a batch of them, got Data$"):
        from_pyg(Data())
    message = r"^this HeteroData does not come from graphws.graph.to_pyg: it has no graph_json$"
    with pytest.raises(GraphError, match=message):
        from_pyg(HeteroData())
    named = NetworkGraph((Space("scalars", 2),), (Parameter("v", "scalars"),))  # type: ignore[arg-type]
    message = r"^space 'scalars': PyG data needs the name itself \(graphws, graph_json, dtypes, scalars are taken\)$"
    with pytest.raises(GraphError, match=message):
        to_pyg(samples.random_weights(named))


def test_damaged_data_are_refused() -> None:
    weights = samples.random_weights(mlp_graph([2, 3, 1]))
    data = to_pyg(weights)
    edges = data["input", "W1", "hidden1"]
    edges.edge_index, edges.edge_attr = edges.edge_index[:, 1:], edges.edge_attr[1:]
    with pytest.raises(WeightsError, match=r"^parameter 'W1': 5 entries do not fill shape \(3, 2\)$"):
        from_pyg(data)
    data = to_pyg(weights)
    data["input", "W1", "hidden1"].edge_index[:] = 0
    with pytest.raises(WeightsError, match=r"^parameter 'W1': an entry is there twice$"):
        from_pyg(data)
    data = to_pyg(weights)
    data["input", "W1", "hidden1"].edge_index[0, 0] = 7
    with pytest.raises(WeightsError, match=r"^parameter 'W1': 6 entries do not fill shape \(3, 2\)$"):
        from_pyg(data)
    data = to_pyg(weights)
    del data["hidden1"].x
    with pytest.raises(GraphError, match=r"^this HeteroData lost what graphws wrote into it: KeyError\('x'\)$"):
        from_pyg(data)


def test_a_batch_of_different_graphs_is_refused() -> None:
    one, other = mlp_graph([2, 3, 1]), mlp_graph([2, 4, 1])
    batch = Batch.from_data_list([to_pyg(samples.random_weights(g)) for g in (one, other)])
    message = r"^a batch of networks with different graphs: read each of batch.to_data_list\(\) by itself$"
    with pytest.raises(GraphError, match=message):
        from_pyg(batch)
    assert [from_pyg(data).graph for data in batch.to_data_list()] == [one, other]
