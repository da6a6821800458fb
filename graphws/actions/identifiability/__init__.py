"""Identifiability: does the function of a network determine its weights, up to symmetry (paper I, section 5.1)?

Paper I's theorem 4.1 turns a symmetry of a network's function into symmetries of its layers, if the weights are weakly
identifiable.  `identifiability` says which theorem covers a network, which of its conditions hold, by how much, and
what that licenses.

>>> import torch
>>> from graphws.actions.identifiability import identifiability
>>> from graphws.graph import Weights
>>> from graphws.operations import mlp_graph
>>> graph, rng = mlp_graph([2, 8, 1], activation="tanh"), torch.Generator().manual_seed(0)
>>> report = identifiability(Weights.unflatten(graph, torch.randn(1, graph.numel, generator=rng, dtype=torch.float64)))
>>> report.theorem.name, report.holds, str(report.standing)
('hyperbolic tangent', True, 'identifiable')
"""

from graphws.actions.identifiability.bypass import bypass_constant as bypass_constant
from graphws.actions.identifiability.bypass import negated_share as negated_share
from graphws.actions.identifiability.bypass import nonlinearity as nonlinearity
from graphws.actions.identifiability.conditions import Condition as Condition
from graphws.actions.identifiability.report import IdentifiabilityReport as IdentifiabilityReport
from graphws.actions.identifiability.report import identifiability as identifiability
from graphws.actions.identifiability.standing import Standing as Standing
from graphws.actions.identifiability.theorems import Theorem as Theorem
