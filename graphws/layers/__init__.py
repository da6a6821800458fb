"""Equivariant layers on the weights of any network graph."""

from graphws.layers.activations import ACTIVATIONS as ACTIVATIONS
from graphws.layers.features import Features as Features
from graphws.layers.features import Prologue as Prologue
from graphws.layers.free_axes import FreeAxes as FreeAxes
from graphws.layers.invariant import Invariants as Invariants
from graphws.layers.linear import EquivariantLinear as EquivariantLinear
from graphws.layers.norm import OrbitNorm as OrbitNorm
from graphws.layers.plan import Plan as Plan
from graphws.layers.plan import plan_by_name as plan_by_name
from graphws.layers.poolings.attention import AttentionPool as AttentionPool
from graphws.layers.reduction import Reduction as Reduction
from graphws.layers.reduction import reduction_of as reduction_of
from graphws.layers.reduction import resized as resized
from graphws.messages import Message as Message
from graphws.messages import expand_blocks as expand_blocks
