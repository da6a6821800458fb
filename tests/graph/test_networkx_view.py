from __future__ import annotations

from collections.abc import Callable

import networkx as nx
import pytest
import torch

from graphws.errors import GraphError, WeightsError
from graphws.graph import NetworkGraph, Weights, from_networkx, orbits, to_networkx
from graphws.operations import mlp_graph
from tests.graph import samples

GRAPHS = [samples.heads(), samples.rich_mlp(), mlp_graph([2, 3]), NetworkGraph((), ())]


@pytest.mark.parametrize("graph", GRAPHS)
def test_the_typed_graph_comes_back(graph: NetworkGraph) -> None:
    view = to_networkx(graph)
    assert view.number_of_nodes() == len(graph.spaces) + len(graph.parameters)
    assert from_networkx(view) == graph
    assert from_networkx(nx.relabel_nodes(view, {node: k for k, node in enumerate(reversed(list(view)))})) == graph


def test_typed_edges_follow_the_data() -> None:
    view = to_networkx(mlp_graph([2, 3, 4, 1]))
    order = [name for kind, name in nx.topological_sort(view) if kind == "space"]
    assert order == ["input", "hidden1", "hidden2", "output"]
    assert view.nodes["space", "hidden1"]["action"] == "scaling"
    assert view.nodes["parameter", "W2"]["shape"] == (4, 3)
    heads = to_networkx(samples.heads())
    assert heads.has_edge(("space", "h"), ("space", "k"), key="nested")
    assert heads.number_of_edges(("space", "d"), ("parameter", "W")) == 1
    assert heads.number_of_edges(("parameter", "W"), ("space", "d")) == 1


def test_neurons_come_back_bit_for_bit() -> None:
    weights = samples.odd_weights()
    for network in (0, 1, -1):
        back = from_networkx(to_networkx(weights, network))
        assert isinstance(back, Weights)
        assert samples.same_bits(back, weights.select([network]))


def test_renamed_and_shuffled_neurons_come_back_too() -> None:
    weights = samples.odd_weights()
    plain = to_networkx(weights)
    view = nx.relabel_nodes(plain, {node: str(node) for node in plain})
    shuffled = nx.MultiDiGraph(**view.graph)
    shuffled.add_nodes_from(reversed(list(view.nodes(data=True))))
    shuffled.add_edges_from(reversed(list(view.edges(keys=True, data=True))))
    back = from_networkx(shuffled)
    assert isinstance(back, Weights)
    assert samples.same_bits(back, weights.select([0]))


def test_one_node_a_neuron_and_one_edge_a_weight() -> None:
    graph = mlp_graph([2, 3, 1])
    weights = samples.random_weights(graph)
    view = to_networkx(weights, 1)
    assert sorted(view.nodes) == [("hidden1", 0), ("hidden1", 1), ("hidden1", 2), ("input", 0), ("input", 1),
                                  ("output", 0)]  # fmt: skip
    assert view.number_of_edges() == 2 * 3 + 3 * 1
    assert view.edges[("input", 1), ("hidden1", 2), "W1"]["weight"] == weights["W1"][1, 2, 1].item()
    assert view.nodes["hidden1", 2]["values"] == {"b1": weights["b1"][1, 2].item()}
    values = {("input", k): torch.tensor([0.3, -0.7], dtype=torch.float64)[k].item() for k in range(2)}
    for node in [("hidden1", k) for k in range(3)]:
        total = sum(values[u] * a["weight"] for u, _, a in view.in_edges(node, data=True))
        values[node] = total + view.nodes[node]["values"]["b1"]
    expected = torch.tensor([0.3, -0.7], dtype=torch.float64) @ weights["W1"][1].T + weights["b1"][1]
    assert [values["hidden1", k] for k in range(3)] == pytest.approx(expected.tolist())


def test_neurons_of_heads_hyperedges_and_loops() -> None:
    view = to_networkx(samples.odd_weights())
    assert view.nodes["k", 5]["parent"] == ("h", 2)
    assert view.has_edge(("d", 1), ("d", 1), key="W"), "the diagonal of a residual weight is a loop"
    entry = ("T", (2, 5, 1))
    assert set(view.predecessors(entry)) == {("k", 5)}
    assert set(view.successors(entry)) == {("h", 2), ("x", 1)}
    assert view.graph["values"]["n"] == 2**62 + 1


def test_a_group_element_is_a_relabelling_of_the_neurons() -> None:
    graph = mlp_graph([2, 4, 3, 1])
    weights = samples.random_weights(graph, 1)
    moved = graph.group().random(torch.Generator().manual_seed(0)).act(weights)
    before, after = to_networkx(weights), to_networkx(moved)
    same = nx.is_isomorphic(
        before,
        after,
        node_match=lambda a, b: a["space"] == b["space"] and a["values"] == b["values"],
        edge_match=lambda a, b: {k: v["weight"] for k, v in a.items()} == {k: v["weight"] for k, v in b.items()},
    )
    assert same
    assert int(orbits(graph, "W2").max()) == 0


def test_only_what_was_written_is_read() -> None:
    with pytest.raises(GraphError, match=r"^this networkx graph does not come from graphws.graph.to_networkx$"):
        from_networkx(nx.MultiDiGraph())
    with pytest.raises(WeightsError, match=r"^no network 2 in a batch of 2$"):
        to_networkx(samples.odd_weights(), 2)
    view = to_networkx(mlp_graph([2, 3]))
    del view.nodes["parameter", "W1"]["kind"]
    with pytest.raises(GraphError, match=r"^this networkx graph lost what graphws wrote into it: KeyError\('kind'\)$"):
        from_networkx(view)


def _cut(view: nx.MultiDiGraph) -> None:
    view.remove_edge(("input", 1), ("hidden1", 2), key="W1")


def _double(view: nx.MultiDiGraph) -> None:
    view.add_edge("a", "b", parameter="W1", index=(0, 0), weight=1.0)


def _rename(view: nx.MultiDiGraph) -> None:
    view.nodes["hidden1", 0]["values"]["b9"] = 1.0


def _outside(view: nx.MultiDiGraph) -> None:
    view.add_edge("a", "b", parameter="W1", index=(0, 9), weight=1.0)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_cut, r"^parameter 'W1': entry \[2, 1\] is missing$"),
        (_double, r"^parameter 'W1': entry \[0, 0\] is there twice$"),
        (_rename, r"^no parameter 'b9' in the graph$"),
        (_outside, r"^parameter 'W1' of shape \(3, 2\) has no entry \[0, 9\]$"),
    ],
)
def test_damaged_neurons_are_refused(damage: Callable[[nx.MultiDiGraph], None], message: str) -> None:
    view = to_networkx(samples.random_weights(mlp_graph([2, 3, 1])))
    damage(view)
    with pytest.raises(WeightsError, match=message):
        from_networkx(view)
