"""Networks as typed graphs: spaces, parameters, the symmetry group and its action on weights.

>>> import torch
>>> from graphws.graph import NetworkGraph, Parameter, Space, Weights
>>> spaces = (Space("x", 2, "free"), Space("hidden", 16), Space("y", 1, "free"))
>>> graph = NetworkGraph(spaces, (Parameter("W1", "hidden x*"), Parameter("W2", "y hidden*")))
>>> rng = torch.Generator().manual_seed(0)
>>> weights = Weights.unflatten(graph, torch.randn(3, graph.numel, generator=rng, dtype=torch.float64))
>>> print(graph.group().factors)
('S_16',)
>>> element = graph.group().random(rng)
>>> torch.equal(element.inverse().act(element.act(weights)).flatten(), weights.flatten())
True
"""

from graphws.graph.constant import Constant as Constant
from graphws.graph.element import LinearMap as LinearMap
from graphws.graph.element import Monomial as Monomial
from graphws.graph.group import Group as Group
from graphws.graph.group import GroupElement as GroupElement
from graphws.graph.layout import IndexAxis as IndexAxis
from graphws.graph.layout import Layout as Layout
from graphws.graph.mixed import Mixed as Mixed
from graphws.graph.mixed import change_each as change_each
from graphws.graph.mixed import parts_of as parts_of
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
from graphws.graph.value import Value as Value
from graphws.graph.weights import Weights as Weights
