"""What a graph computes: running it, what its spaces carry, verification, moment maps, merging, and builders of graphs.

>>> import torch
>>> from graphws.graph import Weights
>>> from graphws.operations import mlp_graph, verify
>>> graph = mlp_graph([2, 16, 16, 1], activation="sine")
>>> rng = torch.Generator().manual_seed(0)
>>> weights = Weights.unflatten(graph, torch.randn(3, graph.numel, generator=rng, dtype=torch.float64))
>>> print(graph.group().factors)
('S_16', 'S_16')
>>> verify(graph, weights, torch.randn(20, 2, dtype=torch.float64), generator=rng).error < 1e-10
True
"""

from graphws.operations.activations import ACTIVATIONS as ACTIVATIONS
from graphws.operations.activations import Activation as Activation
from graphws.operations.activations import activation as activation
from graphws.operations.builders.attention import AttentionLayer as AttentionLayer
from graphws.operations.builders.attention import attention_graph as attention_graph
from graphws.operations.builders.attention_pool import attention_pool_graph as attention_pool_graph
from graphws.operations.builders.mlp import mlp_graph as mlp_graph
from graphws.operations.builders.mlp import mlp_widths as mlp_widths
from graphws.operations.builders.multihead import multihead_graph as multihead_graph
from graphws.operations.canonical_gauge import canonical_gauge as canonical_gauge
from graphws.operations.canonical_gauge import gauge_left as gauge_left
from graphws.operations.intertwiners import action_of as action_of
from graphws.operations.intertwiners import measure_intertwiners as measure_intertwiners
from graphws.operations.latents import latents as latents
from graphws.operations.merge import merge_qk as merge_qk
from graphws.operations.merge import merge_vo as merge_vo
from graphws.operations.moments import MeasuredAction as MeasuredAction
from graphws.operations.moments import measure_actions as measure_actions
from graphws.operations.moments import settle_actions as settle_actions
from graphws.operations.plan import why_not as why_not
from graphws.operations.runner import continue_from as continue_from
from graphws.operations.runner import forward as forward
from graphws.operations.runner import outputs_of as outputs_of
from graphws.operations.runner import run_values as run_values
from graphws.operations.verify import Verification as Verification
from graphws.operations.verify import verify as verify
