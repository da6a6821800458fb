"""Reduction: a smaller network with the same function (paper I, remark 5.2).

A neuron that nothing reads, that never changes, or whose value is that of another one does not take part in what a
network computes, but it does hide the network's symmetry: its weights may be anything.  `reduce` takes such neurons,
channels, heads and dimensions out, folds constants into biases, and says how the small network sits in the large one.

>>> import torch
>>> from graphws.actions.reduction import reduce
>>> from graphws.graph import Weights
>>> from graphws.operations import mlp_graph
>>> graph, rng = mlp_graph([2, 8, 1], activation="tanh"), torch.Generator().manual_seed(0)
>>> weights = Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng, dtype=torch.float64))
>>> weights["W2"][0, :, 5] = 0.0                                 # nothing reads neuron 5
>>> weights["W1"][0, 3], weights["b1"][0, 3] = -weights["W1"][0, 1], -weights["b1"][0, 1]     # 3 copies 1
>>> found = reduce(weights)
>>> found.graph.space("hidden1").size
6
>>> [(removal.element, removal.reason) for removal in found.maps["hidden1"].removals]
[(5, 'unread'), (3, 'duplicate')]
>>> found.change < 1e-12
True
"""

from graphws.actions.reduction.diagram import latent_shapes as latent_shapes
from graphws.actions.reduction.diagram import latent_spaces as latent_spaces
from graphws.actions.reduction.diagram import layer_parameters as layer_parameters
from graphws.actions.reduction.diagram import submodel_of as submodel_of
from graphws.actions.reduction.maps import Removal as Removal
from graphws.actions.reduction.maps import SpaceMap as SpaceMap
from graphws.actions.reduction.reduce import reduce as reduce
from graphws.actions.reduction.result import Reduction as Reduction
from graphws.actions.reduction.tolerance import Tolerance as Tolerance
