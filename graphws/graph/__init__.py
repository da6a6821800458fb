"""Networks as typed graphs: spaces, parameters, the symmetry group and its action on weights.

>>> import torch
>>> from graphws.graph import mlp_graph, Weights, verify
>>> graph = mlp_graph([2, 16, 16, 1], activation="sine")
>>> rng = torch.Generator().manual_seed(0)
>>> weights = Weights.unflatten(graph, torch.randn(3, graph.numel, generator=rng, dtype=torch.float64))
>>> print(graph.group().factors)
('S_16', 'S_16')
>>> verify(graph, weights, torch.randn(20, 2, dtype=torch.float64), generator=rng).error < 1e-10
True
"""

from graphws.graph.attention import AttentionLayer as AttentionLayer
from graphws.graph.attention import attention_graph as attention_graph
from graphws.graph.attention_pool import attention_pool_graph as attention_pool_graph
from graphws.graph.element import LinearMap as LinearMap
from graphws.graph.element import Monomial as Monomial
from graphws.graph.forward import ACTIVATIONS as ACTIVATIONS
from graphws.graph.forward import forward as forward
from graphws.graph.forward import run_steps as run_steps
from graphws.graph.gauge import canonical_gauge as canonical_gauge
from graphws.graph.group import Group as Group
from graphws.graph.group import GroupElement as GroupElement
from graphws.graph.layout import IndexAxis as IndexAxis
from graphws.graph.layout import Layout as Layout
from graphws.graph.merge import merge_qk as merge_qk
from graphws.graph.merge import merge_vo as merge_vo
from graphws.graph.mlp import mlp_graph as mlp_graph
from graphws.graph.mlp import mlp_widths as mlp_widths
from graphws.graph.moments import MeasuredAction as MeasuredAction
from graphws.graph.moments import measure_actions as measure_actions
from graphws.graph.moments import settle_actions as settle_actions
from graphws.graph.multihead import multihead_graph as multihead_graph
from graphws.graph.network import NetworkGraph as NetworkGraph
from graphws.graph.networkx_view import from_networkx as from_networkx
from graphws.graph.networkx_view import to_networkx as to_networkx
from graphws.graph.operation import Operation as Operation
from graphws.graph.orbits import orbits as orbits
from graphws.graph.parameter import Axis as Axis
from graphws.graph.parameter import Parameter as Parameter
from graphws.graph.parameter import Storage as Storage
from graphws.graph.pyg_view import from_pyg as from_pyg
from graphws.graph.pyg_view import to_pyg as to_pyg
from graphws.graph.space import Action as Action
from graphws.graph.space import Space as Space
from graphws.graph.verify import Verification as Verification
from graphws.graph.verify import verify as verify
from graphws.graph.weights import Weights as Weights
