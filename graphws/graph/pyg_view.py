"""One network as a PyTorch Geometric `HeteroData`, ready for its data loader, and back without loss.

A `NetworkGraph` without weights becomes its typed graph, see `graphws.graph.pyg_typed`; of `Weights`:

* Node types are the spaces; node i of a space is its i-th neuron (child c of parent p of a nested space is
  ``p * size + c``).  ``x`` has one column for each parameter with one axis (biases, norm scales), in the graph's
  order; none where there is none.
* Edge types are the parameters with two axes, ``(space read, parameter, space written)``: ``edge_index`` (2, entries)
  and ``edge_attr`` (entries, 1).
* A parameter with more axes is a node type ``parameter[]`` of its own, one node an entry with the entry as ``x``, and
  edges ``(parameter[], "axis k", space)`` to the neuron of each axis.
* Scalars are ``scalars`` (1, count); ``graph_json`` is the graph and ``dtypes`` the type of each parameter.

Columns of another type than the network's first tensor stand apart, as ``x_int64``, ``scalars_int64``.

>>> import torch
>>> from torch_geometric.loader import DataLoader
>>> from graphws.graph import Weights, from_pyg, to_pyg
>>> from graphws.operations import mlp_graph
>>> graph = mlp_graph([2, 4, 1])
>>> weights = Weights.unflatten(graph, torch.randn(3, graph.numel))
>>> batch = next(iter(DataLoader([to_pyg(weights, k) for k in range(3)], batch_size=3)))
>>> batch["input", "W1", "hidden1"].edge_attr.shape
torch.Size([24, 1])
>>> torch.equal(from_pyg(batch).flatten(), weights.flatten())
True
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graphws.errors import GraphError, WeightsError
from graphws.graph.elements import elements
from graphws.graph.network import NetworkGraph
from graphws.graph.networkx_view import check_network, ends
from graphws.graph.parameter import Parameter
from graphws.graph.pyg_typed import TYPED, typed_to_pyg
from graphws.graph.weights import Weights

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

RESERVED = ("graphws", "graph_json", "dtypes", "scalars")
"""Names in the `HeteroData` that no space may bear."""


def to_pyg(source: NetworkGraph | Weights, network: int = 0) -> HeteroData:
    """The typed graph of a `NetworkGraph`, or the neurons and weights of one network of a batch of `Weights`.

    Args:
        source: The graph, or a batch of networks.
        network: Which network of the batch.

    Raises:
        WeightsError: Where the batch has no such network.
        GraphError: Where a space is called ``graphws``, ``graph_json``, ``dtypes`` or ``scalars``.
    """
    from torch_geometric.data import HeteroData

    if isinstance(source, NetworkGraph):
        return typed_to_pyg(source)
    weights = source
    check_network(weights, network)
    graph, data = weights.graph, HeteroData()
    for space in graph.spaces:
        if space.name in RESERVED:
            raise GraphError(f"space {space.name!r}: PyG data needs the name itself ({', '.join(RESERVED)} are taken)")
    tensors = {name: tensor[network].detach().clone() for name, tensor in weights.items()}
    dtypes = [str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()]
    data["graph_json"], data["dtypes"] = graph.to_json(), " ".join(dtypes)
    for space in graph.spaces:
        data[space.name].x = torch.zeros(graph.extent(space.name), 0, dtype=weights.dtype, device=weights.device)
        for column, names in _columns(graph, dtypes, (space.name,), "x").items():
            data[space.name][column] = torch.stack([tensors[name] for name in names], dim=1)
    for column, names in _columns(graph, dtypes, (), "scalars").items():
        data[column] = torch.stack([tensors[name] for name in names]).unsqueeze(0)
    for parameter in graph.parameters:
        tensor, axes = tensors[parameter.name], parameter.axes
        if len(axes) < 2:
            continue
        neurons = [places.to(tensor.device).expand(tensor.shape) for places in elements(graph, parameter.name)]
        index = torch.stack(neurons, -1).flatten(0, -2)
        if len(axes) == 2:
            edges = data[_edge_type(parameter)]
            edges.edge_index = index[:, list(ends(axes))].T.contiguous()
            edges.edge_attr = tensor.reshape(-1, 1)
        else:
            entries = torch.arange(tensor.numel(), device=tensor.device)
            data[_entry_type(parameter)].x = tensor.reshape(-1, 1)
            for k, axis in enumerate(axes):
                edges = data[_entry_type(parameter), f"axis {k}", axis.space]
                edges.edge_index = torch.stack([entries, index[:, k]])
    return data


def from_pyg(data: HeteroData) -> NetworkGraph | Weights:
    """The inverse of `to_pyg`, bit for bit; a PyG batch of networks with one graph becomes a batch of `Weights`.

    Edges may stand in another order than they were written.

    Raises:
        GraphError: Where the data does not come from `to_pyg`, or is a batch of several graphs.
        WeightsError: Where an entry of a parameter is missing or there twice.
    """
    from torch_geometric.data import Batch, HeteroData

    if not isinstance(data, HeteroData):
        raise GraphError(f"from_pyg reads a HeteroData or a batch of them, got {type(data).__name__}")
    if "graph_json" not in data:
        raise GraphError("this HeteroData does not come from graphws.graph.to_pyg: it has no graph_json")
    if isinstance(data, Batch):
        if "graphws" in data:
            raise GraphError("a batch of typed graphs: read each of batch.to_data_list() by itself")
        if len(set(data["graph_json"])) > 1:
            raise GraphError("a batch of networks with different graphs: read each of batch.to_data_list() by itself")
        return Weights.cat([_network(one) for one in data.to_data_list()])
    typed = "graphws" in data and data["graphws"] == TYPED
    return NetworkGraph.from_json(data["graph_json"]) if typed else _network(data)


def _network(data: HeteroData) -> Weights:
    """One network."""
    graph = NetworkGraph.from_json(data["graph_json"])
    tensors: dict[str, Tensor] = {}
    try:
        dtypes = data["dtypes"].split()
        for space in graph.spaces:
            for column, names in _columns(graph, dtypes, (space.name,), "x").items():
                tensors |= zip(names, data[space.name][column].unbind(1), strict=True)
        for column, names in _columns(graph, dtypes, (), "scalars").items():
            tensors |= zip(names, data[column][0].unbind(0), strict=True)
        for parameter in graph.parameters:
            if len(parameter.axes) >= 2:
                tensors[parameter.name] = _read_entries(graph, parameter, data)
    except (KeyError, AttributeError, ValueError) as error:
        raise GraphError(f"this HeteroData lost what graphws wrote into it: {error!r}") from None
    return Weights(graph, {name: tensor.unsqueeze(0) for name, tensor in tensors.items()})


def _columns(graph: NetworkGraph, dtypes: Sequence[str], spaces: tuple[str, ...], stem: str) -> Mapping[str, list[str]]:
    """Names of the parameters on exactly these spaces, by the attribute that holds them: one for each type."""
    columns: dict[str, list[str]] = {}
    for parameter, dtype in zip(graph.parameters, dtypes, strict=True):
        if parameter.spaces == spaces:
            columns.setdefault(stem if dtype == dtypes[0] else f"{stem}_{dtype}", []).append(parameter.name)
    return columns


def _edge_type(parameter: Parameter) -> tuple[str, str, str]:
    read, written = ends(parameter.axes)
    return parameter.axes[read].space, parameter.name, parameter.axes[written].space


def _entry_type(parameter: Parameter) -> str:
    """A node type that no space can be called."""
    return f"{parameter.name}[]"


def _read_entries(graph: NetworkGraph, parameter: Parameter, data: HeteroData) -> Tensor:
    """The tensor of a parameter with two or more axes, each entry put where its edges say."""
    axes, shape = parameter.axes, graph.shape(parameter.name)
    if len(axes) == 2:
        edges = data[_edge_type(parameter)]
        values = edges.edge_attr.squeeze(1)
        index = edges.edge_index[list(ends(axes))]  # ends is its own inverse
    else:
        values = data[_entry_type(parameter)].x.squeeze(1)
        index = torch.zeros(len(axes), values.shape[0], dtype=torch.long, device=values.device)
        for k, axis in enumerate(axes):
            entry, neuron = data[_entry_type(parameter), f"axis {k}", axis.space].edge_index
            index[k, entry] = neuron
    sizes = torch.tensor(shape, device=index.device).unsqueeze(1)
    for k, axis in enumerate(axes):
        if axis.inner:
            index[k] %= shape[k]
    if values.shape[0] != math.prod(shape) or bool(((index < 0) | (index >= sizes)).any()):
        raise WeightsError(f"parameter {parameter.name!r}: {values.shape[0]} entries do not fill shape {shape}")
    flat = torch.zeros_like(index[0])
    for row, size in zip(index, shape, strict=True):
        flat = flat * size + row
    if flat.unique().numel() != flat.numel():
        raise WeightsError(f"parameter {parameter.name!r}: an entry is there twice")
    whole = torch.empty_like(values)
    whole[flat] = values
    return whole.reshape(shape)
