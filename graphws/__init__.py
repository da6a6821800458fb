"""graphws: neural networks as typed graphs, and learning on their weights that respects their symmetry.

A network is a `NetworkGraph`: spaces (layers of neurons, inputs, outputs) joined by parameters.  Relabelling its
neurons changes the weights and not the function; those relabellings are the graph's group.  Layers that commute with
the group learn from weights.

    >>> import torch, graphws
    >>> graph = graphws.mlp_graph([2, 32, 32, 1], activation="sine")       # a typed graph
    >>> rng = torch.Generator().manual_seed(0)
    >>> weights = graphws.Weights.unflatten(graph, torch.randn(8, graph.numel, generator=rng))  # 8 networks
    >>> g = graph.group().random(rng, batch=8)                             # a relabelling for each
    >>> model = graphws.DWSNet(graph, outputs=10, layers=3, channels=8).eval()
    >>> torch.allclose(model(weights), model(g.act(weights)), atol=1e-4)   # the answer is the same
    True

Where to look:

* `graphws.kinds`: the table of what steps of a network compute
* `graphws.graph`: spaces, parameters, graphs, group, weights, networkx and PyG views
* `graphws.operations`: running a graph, verification, moment maps, merging, graphs of MLPs and attention networks
* `graphws.checkpoints`: state dicts, network files and what a conversion gives
* `graphws.layers`, `graphws.messages`: the equivariant linear layer, norms, pooling, invariants
* `graphws.models`: DWSNet and the flat baseline
* `graphws.tasks`: what is read from weights: losses, predictions, metrics
* `graphws.spec`: YAML specs, whose sections build what they stand for
* `graphws.zoo`: fitting, storing and augmenting data sets of networks
* `graphws.runtime`: training and evaluation;  `graphws.trainings`: the trainings of paper I
* `graphws.report`: figures and pages;  `graphws.notebook`: HTML of objects and progress in notebooks
* `graphws.converting`: foreign networks as graphs;  `graphws.testing`: checks for your own layers
* `graphws.saving`: `save`, `load`, `load_run`, `load_model`: networks, runs and trained models in files
* `graphws.actions`: how a symmetry of the data acts inside a network;  `graphws.align`: two networks in one order

Submodules are imported on first use, so that ``import graphws`` and the command line's help stay fast.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphws.actions import find_actions as find_actions
    from graphws.converting import convert as convert
    from graphws.errors import GraphwsError as GraphwsError
    from graphws.graph import NetworkGraph as NetworkGraph
    from graphws.graph import Parameter as Parameter
    from graphws.graph import Space as Space
    from graphws.graph import Weights as Weights
    from graphws.layers import EquivariantLinear as EquivariantLinear
    from graphws.models import DWSNet as DWSNet
    from graphws.models import FlatMLP as FlatMLP
    from graphws.operations import forward as forward
    from graphws.operations import mlp_graph as mlp_graph
    from graphws.operations import run_values as run_values
    from graphws.operations import verify as verify
    from graphws.runtime.prediction import Run as Run
    from graphws.saving import load as load
    from graphws.saving import load_model as load_model
    from graphws.saving import load_run as load_run
    from graphws.saving import save as save
    from graphws.spec import load_spec as load_spec
    from graphws.zoo import Zoo as Zoo

_PLACES = {
    "find_actions": "graphws.actions",
    "convert": "graphws.converting",
    "GraphwsError": "graphws.errors",
    "NetworkGraph": "graphws.graph",
    "Parameter": "graphws.graph",
    "Space": "graphws.graph",
    "Weights": "graphws.graph",
    "forward": "graphws.operations",
    "mlp_graph": "graphws.operations",
    "run_values": "graphws.operations",
    "verify": "graphws.operations",
    "EquivariantLinear": "graphws.layers",
    "DWSNet": "graphws.models",
    "FlatMLP": "graphws.models",
    "Run": "graphws.runtime.prediction",
    "load": "graphws.saving",
    "load_model": "graphws.saving",
    "load_run": "graphws.saving",
    "save": "graphws.saving",
    "load_spec": "graphws.spec",
    "Zoo": "graphws.zoo",
}
"""Where each public name lives."""

__all__ = [*_PLACES, "__version__"]

try:
    __version__ = version("graphws")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'graphws' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
