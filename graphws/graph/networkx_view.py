"""Graphs for networkx: the typed graph, and one network neuron by neuron; both come back without loss.

*Typed graph* (`to_networkx` of a `NetworkGraph`).  Spaces and parameters are both nodes, ``("space", name)`` and
``("parameter", name)``, because a parameter may join one, two or more spaces: a hyperedge, drawn as a node.  Each axis
is an edge, its position the edge's key.  Edges follow the data: from the spaces that a parameter reads (negative power)
to the parameter, from the parameter to the spaces that it writes.  A child space hangs on its parent by an edge with
``relation="nested"``.

*Neuron level* (`to_networkx` of `Weights`).  Every element of every space is a node ``(space, index)``.  Where the
entries of a parameter stand depends on its axes:

* two: an edge from the neuron read to the neuron written, keyed by the parameter, the entry as ``weight``;
* one: on the neuron, ``node["values"][parameter]``;
* none: on the graph, ``graph.graph["values"][parameter]``;
* more: each entry a node ``(parameter, (i, j, k))`` of its own, joined to one neuron for each axis.

Paper D draws an MLP so; its neuron permutations are the relabellings of this graph within a space.

>>> import networkx, torch
>>> from graphws.graph import Weights, from_networkx, to_networkx
>>> from graphws.operations import mlp_graph
>>> graph = mlp_graph([2, 4, 1])
>>> networkx.is_directed_acyclic_graph(to_networkx(graph))
True
>>> neurons = to_networkx(Weights.unflatten(graph, torch.randn(1, graph.numel)))
>>> neurons.number_of_nodes(), neurons.number_of_edges()
(7, 12)
>>> from_networkx(neurons).graph == graph
True
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping
from typing import Any, overload

import networkx as nx
import torch

from graphws.errors import GraphError, WeightsError
from graphws.graph.constant import Constant
from graphws.graph.elements import elements
from graphws.graph.network import NetworkGraph
from graphws.graph.operation import Operation
from graphws.graph.parameter import Axis, Parameter, Storage
from graphws.graph.space import Space
from graphws.graph.value import Value
from graphws.graph.weights import Weights

TYPED = "typed graph"
NEURONS = "neurons"


@overload
def to_networkx(source: NetworkGraph) -> nx.MultiDiGraph: ...
@overload
def to_networkx(source: Weights, network: int = 0) -> nx.MultiDiGraph: ...
def to_networkx(source: NetworkGraph | Weights, network: int = 0) -> nx.MultiDiGraph:
    """The typed graph of a `NetworkGraph`, or the neurons and weights of one network of a batch of `Weights`.

    Args:
        source: The graph, or weights.
        network: Which network of the batch.

    Raises:
        WeightsError: Where the batch has no such network.
    """
    if isinstance(source, NetworkGraph):
        return _typed(source)
    check_network(source, network)
    return _neurons(source, network)


def from_networkx(view: nx.MultiDiGraph) -> NetworkGraph | Weights:
    """The inverse of `to_networkx`: a `NetworkGraph`, or `Weights` of one network, bit for bit.

    Nodes may have been renamed and their order changed; what counts are the attributes.

    Raises:
        GraphError: Where the graph does not come from `to_networkx`.
        WeightsError: Where an entry of a parameter is missing or there twice.
    """
    kind = view.graph.get("graphws")
    if kind not in (TYPED, NEURONS):
        raise GraphError("this networkx graph does not come from graphws.graph.to_networkx")
    try:
        return _from_typed(view) if kind == TYPED else _from_neurons(view)
    except (KeyError, TypeError, AttributeError) as error:
        raise GraphError(f"this networkx graph lost what graphws wrote into it: {error!r}") from None


def check_network(weights: Weights, network: int) -> None:
    """Raises `WeightsError` where a batch has no such network."""
    if not -weights.batch <= network < weights.batch:
        raise WeightsError(f"no network {network} in a batch of {weights.batch}")


def ends(axes: tuple[Axis, ...]) -> tuple[int, int]:
    """Positions of the axis read from and the axis written to, of a parameter with two axes."""
    first_reads = axes[0].power < 0 <= axes[1].power
    return (0, 1) if first_reads else (1, 0)


def _typed(graph: NetworkGraph) -> nx.MultiDiGraph:
    view = nx.MultiDiGraph(
        graphws=TYPED,
        operations=tuple((o.kind, o.inputs, o.outputs, dict(o.attributes)) for o in graph.operations),
        inputs=graph.inputs,
        outputs=graph.outputs,
        constants=tuple((c.name, c.tensor, c.follows) for c in graph.constants),
        stated=tuple((v.name, v.shape, tuple(str(a or "") for a in v.axes), v.dtype, v.highest) for v in graph.values),
    )
    for position, space in enumerate(graph.spaces):
        view.add_node(
            ("space", space.name),
            node="space",
            position=position,
            name=space.name,
            size=space.size,
            extent=graph.extent(space.name),
            kind=space.kind,
            parent=space.parent,
            action=str(space.action),
            role=space.role,
            reason=space.reason,
        )
        if space.parent is not None:
            view.add_edge(("space", space.parent), ("space", space.name), key="nested", relation="nested")
    for position, parameter in enumerate(graph.parameters):
        node = ("parameter", parameter.name)
        storage = parameter.storage
        place = storage and (
            storage.key, storage.shape, storage.block, storage.aliases, storage.view, storage.orders
        )  # fmt: skip
        view.add_node(
            node,
            node="parameter",
            position=position,
            name=parameter.name,
            shape=graph.shape(parameter.name),
            kind=parameter.kind,
            role=parameter.role,
            storage=place,
        )
        for k, axis in enumerate(parameter.axes):
            joined = (("space", axis.space), node) if axis.power < 0 else (node, ("space", axis.space))
            view.add_edge(*joined, key=k, relation="axis", axis=k, power=axis.power, space=axis.space, inner=axis.inner)
    return view


def _from_typed(view: nx.MultiDiGraph) -> NetworkGraph:
    nodes = sorted(view.nodes(data=True), key=lambda item: item[1]["position"])
    spaces = [
        Space(a["name"], a["size"], a["kind"], a["parent"], a["action"], a["role"], a["reason"])
        for _, a in nodes
        if a["node"] == "space"
    ]
    parameters = []
    for node, a in nodes:
        if a["node"] != "parameter":
            continue
        joined = [e for _, _, e in [*view.in_edges(node, data=True), *view.out_edges(node, data=True)]]
        axes = tuple(Axis(e["space"], e["power"], e["inner"]) for e in sorted(joined, key=lambda e: e["axis"]))
        storage = None if a["storage"] is None else Storage(*a["storage"])
        parameters.append(Parameter(a["name"], axes, a["kind"], a["role"], storage))
    return NetworkGraph(
        tuple(spaces),
        tuple(parameters),
        tuple(Operation(*entry) for entry in view.graph["operations"]),
        tuple(view.graph["inputs"]),
        tuple(view.graph["outputs"]),
        tuple(Constant(*entry) for entry in view.graph["constants"]),
        tuple(Value(*entry) for entry in view.graph["stated"]),
    )


def _neurons(weights: Weights, network: int) -> nx.MultiDiGraph:
    graph = weights.graph
    dtypes = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in weights.items()}
    view = nx.MultiDiGraph(graphws=NEURONS, network=graph.to_json(), dtypes=dtypes, values={})
    for space in graph.spaces:
        for index in range(graph.extent(space.name)):
            parent = None if space.parent is None else (space.parent, index // space.size)
            view.add_node((space.name, index), space=space.name, index=index, parent=parent, values={})
    for parameter in graph.parameters:
        name, tensor = parameter.name, weights[parameter.name][network].detach().cpu()
        entries = zip(itertools.product(*map(range, tensor.shape)), tensor.reshape(-1).tolist(), strict=True)
        if not parameter.axes:
            view.graph["values"][name] = tensor.item()
        elif len(parameter.axes) == 1:
            for (index,), value in entries:
                view.nodes[(parameter.axes[0].space, index)]["values"][name] = value
        elif len(parameter.axes) == 2:
            read, written = ends(parameter.axes)
            source, target = parameter.axes[read].space, parameter.axes[written].space
            neurons = [places.expand(tensor.shape).reshape(-1).tolist() for places in elements(graph, name)]
            view.add_edges_from(
                ((source, reader), (target, writer), name, {"parameter": name, "index": at, "weight": value})
                for (at, value), reader, writer in zip(entries, neurons[read], neurons[written], strict=True)
            )
        else:
            inside = [places.expand(tensor.shape) for places in elements(graph, name)]
            for at, value in entries:
                view.add_node((name, at), parameter=name, index=at, weight=value)
                for k, axis in enumerate(parameter.axes):
                    neuron = (axis.space, int(inside[k][at]) if axis.inner else at[k])
                    joined = (neuron, (name, at)) if axis.power < 0 else ((name, at), neuron)
                    view.add_edge(*joined, key=k, axis=k)
    return view


def _from_neurons(view: nx.MultiDiGraph) -> Weights:
    graph = NetworkGraph.from_json(view.graph["network"])
    found: dict[str, dict[tuple[int, ...], Any]] = {parameter.name: {} for parameter in graph.parameters}

    def put(name: Hashable, index: tuple[int, ...], value: Any) -> None:
        if name not in found:
            raise WeightsError(f"no parameter {name!r} in the graph")
        if index in found[str(name)]:
            raise WeightsError(f"parameter {name!r}: entry {list(index)} is there twice")
        found[str(name)][index] = value

    for name, value in view.graph["values"].items():
        put(name, (), value)
    for _, a in view.nodes(data=True):
        if "parameter" in a:
            put(a["parameter"], tuple(a["index"]), a["weight"])
        values: Mapping[str, Any] = a.get("values", {})
        for name, value in values.items():
            put(name, (a["index"],), value)
    for _, _, a in view.edges(data=True):
        if "parameter" in a:
            put(a["parameter"], tuple(a["index"]), a["weight"])
    tensors = {}
    for name, entries in found.items():
        shape = graph.shape(name)
        places = list(itertools.product(*map(range, shape)))
        for index in places:
            if index not in entries:
                raise WeightsError(f"parameter {name!r}: entry {list(index)} is missing")
        if len(entries) > len(places):
            outside = next(index for index in entries if index not in set(places))
            raise WeightsError(f"parameter {name!r} of shape {shape} has no entry {list(outside)}")
        dtype = getattr(torch, view.graph["dtypes"][name])
        tensors[name] = torch.tensor([entries[index] for index in places], dtype=dtype).reshape(1, *shape)
    return Weights(graph, tensors)
