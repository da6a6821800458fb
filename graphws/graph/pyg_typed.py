"""A typed graph as a PyTorch Geometric `HeteroData`: one node for a space, one for a parameter, whatever their sizes.

* Node type ``space``: ``x`` (spaces, 4) is its size, its extent (elements in all parents together), and its kind and
  action as positions in `KINDS` and `ACTIONS`.
* Node type ``parameter``: ``x`` (parameters, 1) is how many numbers it has.
* ``("parameter", "axis", "space")``: one edge for each axis, ``edge_attr`` (axes, 3) is its position in the tensor, its
  power, and 1 where it runs inside a parent.
* ``("space", "inside", "space")``: from a nested space to its parent.
* ``graphws`` is `TYPED`, which tells it from the neurons of a network; ``graph_json`` is the graph,
  operations and reasons included.

>>> from graphws.graph import from_pyg, to_pyg
>>> from graphws.operations import mlp_graph
>>> graph = mlp_graph([2, 4, 1])
>>> data = to_pyg(graph)
>>> data["space"].x[:, 0].tolist(), data["parameter"].x.tolist()
([2, 4, 1], [[8], [4], [4], [1]])
>>> from_pyg(data) == graph
True
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

import torch

from graphws.graph.network import NetworkGraph
from graphws.graph.space import Action, Kind

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

TYPED = "typed graph"
KINDS = get_args(Kind)
ACTIONS = tuple(Action)


def typed_to_pyg(graph: NetworkGraph) -> HeteroData:
    """The spaces and parameters of a graph."""
    from torch_geometric.data import HeteroData

    data, place = HeteroData(), {space.name: k for k, space in enumerate(graph.spaces)}
    data["graphws"], data["graph_json"] = TYPED, graph.to_json()
    spaces = [
        (space.size, graph.extent(space.name), KINDS.index(space.kind), ACTIONS.index(space.action))
        for space in graph.spaces
    ]
    numbers = [math.prod(graph.shape(parameter.name)) for parameter in graph.parameters]
    data["space"].x = torch.tensor(spaces, dtype=torch.long).reshape(-1, 4)
    data["parameter"].x = torch.tensor(numbers, dtype=torch.long).reshape(-1, 1)
    axes = [(i, k, axis) for i, p in enumerate(graph.parameters) for k, axis in enumerate(p.axes)]
    labels = data["parameter", "axis", "space"]
    labels.edge_index = (
        torch.tensor([(i, place[axis.space]) for i, _, axis in axes], dtype=torch.long).reshape(-1, 2).T.contiguous()
    )
    labels.edge_attr = torch.tensor([(k, axis.power, axis.inner) for _, k, axis in axes], dtype=torch.long).reshape(
        -1, 3
    )
    nested = [(place[space.name], place[space.parent]) for space in graph.spaces if space.parent is not None]
    data["space", "inside", "space"].edge_index = torch.tensor(nested, dtype=torch.long).reshape(-1, 2).T.contiguous()
    return data
