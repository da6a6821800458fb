"""Unknown symmetries: permutations of inputs and outputs that a network turns out to respect exactly.

>>> import torch
>>> from graphws.actions.automorphism import automorphisms
>>> from graphws.graph import Weights
>>> from graphws.operations import mlp_graph
>>> first = torch.tensor([[[0.3, 1.2], [1.2, 0.3], [0.5, 0.5]]])       # two rows mirror each other, one itself
>>> last = torch.tensor([[[0.7, 0.7, 1.0]]])
>>> found = automorphisms(Weights(mlp_graph([2, 3, 1], "gelu", bias=False), {"W1": first, "W2": last}))
>>> found.order, found.on("input")[0].tolist(), found.on("hidden1")[0].tolist()
(2, [1, 0], [1, 0, 2])
"""

from graphws.actions.automorphism.search import Automorphisms as Automorphisms
from graphws.actions.automorphism.search import automorphisms as automorphisms
