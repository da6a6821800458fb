"""Features: what equivariant layers pass on, several channels for every entry of a network's weights.

Between two layers come a normalisation and an activation.  Features can carry them as a `Prologue`, a promise: their
tensors are then still what the last layer wrote, and whoever reads them applies the prologue.  A layer that reads a
large tensor in blocks applies it block by block, so that the activated tensor is never stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from graphws.errors import WeightsError
from graphws.graph import NetworkGraph, Weights
from graphws.graph.named_tensors import NamedTensors
from graphws.layers.activations import ACTIVATIONS
from graphws.shown import Shown


@dataclass(frozen=True, eq=False, repr=False)
class Moments(Shown):
    """Mean and (biased) variance of each folded channel of a tensor, over the batch and all index axes.

    Args:
        mean: (channels).
        variance: (channels).
        count: How many entries each is over.
    """

    mean: Tensor
    variance: Tensor
    count: int


@dataclass(frozen=True, eq=False, repr=False)
class Prologue(Shown):
    """What is still to be done to features before they are read: activation(scale * x + shift).

    Args:
        activation: One of `graphws.layers.ACTIVATIONS`.
        scale: For each parameter a factor for each folded channel; no entry: no scale and shift.
        shift: The same for offsets.
    """

    activation: str = "identity"
    scale: Mapping[str, Tensor] = field(default_factory=dict)
    shift: Mapping[str, Tensor] = field(default_factory=dict)

    def apply(self, parameter: str, x: Tensor) -> Tensor:
        """The tensor of a parameter, settled."""
        if parameter in self.scale:
            x = torch.addcmul(self.shift[parameter], x, self.scale[parameter])
        return ACTIVATIONS[self.activation](x)


@dataclass(frozen=True, eq=False, repr=False)
class Features(Shown, NamedTensors[str]):
    """Folded channels on every parameter of a graph.

    Args:
        graph: The graph.
        tensors: For each parameter (batch, *index axes, free * channels); see `graphws.graph.Layout`.
        channels: Channels per entry.
        prologue: What is still to be done to the tensors, or None.
        moments: Moments of those tensors whose writer took them.
    """

    graph: NetworkGraph
    tensors: Mapping[str, Tensor]
    channels: int
    prologue: Prologue | None = None
    moments: Mapping[str, Moments] = field(default_factory=dict)

    def __str__(self) -> str:
        waiting = "" if self.prologue is None else f", {self.prologue.activation} still to be done"
        return f"Features({self.batch} networks, {self.channels} channels on {len(self.tensors)} parameters{waiting})"

    def __getitem__(self, parameter: str) -> Tensor:
        """The tensor of one parameter, with the prologue done."""
        x = self.tensors[parameter]
        return x if self.prologue is None else self.prologue.apply(parameter, x)

    @property
    def batch(self) -> int:
        """How many networks."""
        return next(iter(self.tensors.values())).shape[0]

    @property
    def settled(self) -> Features:
        """The same features with the prologue done."""
        return self if self.prologue is None else self.replace({name: self[name] for name in self.tensors})

    @staticmethod
    def from_weights(weights: Weights) -> Features:
        """One channel: the weights themselves; whole numbers (counters, masks) as floats."""
        graph, kind = weights.graph, weights.floating
        kind = kind if kind.is_floating_point else torch.get_default_dtype()
        tensors = {n: graph.layout(n).fold(x if x.is_floating_point() else x.to(kind)) for n, x in weights.items()}
        return Features(graph, tensors, 1)

    def to_weights(self) -> Weights:
        """The inverse of `from_weights`; WeightsError where there is more than one channel."""
        if self.channels != 1:
            raise WeightsError(f"weights have one number per entry, these features {self.channels}")
        graph = self.graph
        return Weights(graph, {n: graph.layout(n).unfold(self[n], graph.shape(n)) for n in self.tensors})

    def unfolded(self, parameter: str) -> Tensor:
        """(batch, *axes, channels) of one parameter."""
        layout = self.graph.layout(parameter)
        return layout.unfold(self[parameter], self.graph.shape(parameter), self.channels)

    def replace(self, tensors: Mapping[str, Tensor], channels: int | None = None) -> Features:
        """The same graph with other tensors, and no prologue."""
        return Features(self.graph, tensors, self.channels if channels is None else channels)

    def map(self, function: Callable[[Tensor], Tensor]) -> Features:
        """The same graph with a function of every tensor, the prologue done."""
        return self.replace({name: function(self[name]) for name in self.tensors})

    def awaiting(self, prologue: Prologue) -> Features:
        """The same tensors, with a prologue still to be done."""
        if self.prologue is not None:
            return self.settled.awaiting(prologue)
        return Features(self.graph, self.tensors, self.channels, prologue)
