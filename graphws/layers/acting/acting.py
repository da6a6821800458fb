"""Rule 3 as a module: the networks' own weights carry features of neurons.

Law: relabel the neurons of a network, and its weights and the features of its neurons move alike; so does all that
`graphws.layers.acting.terms` makes of both.  What comes out is linear in the features and in the weights, one by one
(in the features squared, where they are written on entries in pairs); it is added to what rules 1 and 2 give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphws.errors import GraphError
from graphws.graph import NetworkGraph
from graphws.layers.acting.routes import carry
from graphws.layers.acting.terms import Term, terms
from graphws.layers.features import Features
from graphws.layers.keys import state_key
from graphws.layers.reduction import owner
from graphws.messages import Message


class Acting(nn.Module):
    """What weights add to features of neurons, and to features of their own.

    Args:
        networks: Graphs of the networks as they come.
        graphs: The same as the layer works on them: neurons among the parameters, free axes reduced.
        in_channels: Channels per neuron that come in.
        out_channels: Channels per entry that go out.
        messages: Messages via ``weight``.
        share: ``none``: each weight has matrices of its own; ``role``: those of a role share theirs.
        init_scale: Factor on what the initial matrices give; it has unit size where weights and features have.

    Shapes:
        Features of a network's graph, one channel: its weights; Features with ``in_channels``; and what the layer's
        other rules give, Features with ``out_channels`` -> the last with what this adds.

    Raises:
        GraphError: Where weights of one role differ in their free numbers; and of graphs that come later, where they
            have a role that none of `networks` has.
    """

    def __init__(
        self,
        networks: Sequence[NetworkGraph],
        graphs: Sequence[NetworkGraph],
        in_channels: int,
        out_channels: int,
        messages: Sequence[Message],
        share: str = "none",
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.channels, self.messages, self.share = (in_channels, out_channels), tuple(messages), share
        self.matrices = nn.ParameterDict()
        for network, graph in zip(networks, graphs, strict=True):
            for term in terms(network, graph, self.messages):
                for k, (name, shape) in enumerate(matrices(term, network, self.channels, share)):
                    if name in self.matrices:
                        self._known(network, term, name, shape)
                        continue
                    inputs = in_channels * (1 if term.kind == "pair" else term.entries)
                    size = inputs if k else inputs * term.beside * term.summands(self.channels)
                    factor = 1.0 if k else init_scale
                    self.matrices[name] = nn.Parameter(torch.randn(*shape) * (factor / math.sqrt(size)))

    def _known(self, network: NetworkGraph, term: Term, name: str, shape: tuple[int, int]) -> Tensor:
        """The matrix of that name, if it is as large as it has to be."""
        role = owner(network, term.parameter, self.share)
        if name not in self.matrices:
            raise GraphError(
                f"parameter {term.parameter!r} has the role {role!r}, which carried nothing in the networks that this "
                "model was built for; build it for such a network too"
            )
        matrix: Tensor = self.matrices[name]
        if matrix.shape != shape:
            raise GraphError(
                f"role {role!r} has different numbers of free entries in different places, among them "
                f"{term.entries} of {term.parameter!r}; weights that carry features are shared by role only where "
                "these agree"
            )
        return matrix

    def forward(self, weights: Features, features: Features, received: Features) -> Features:
        """Adds what the weights carry; see the class for shapes."""
        tensors = dict(received.tensors)
        settled: dict[str, Tensor] = {}
        changed = set()
        for term in terms(weights.graph, features.graph, self.messages):
            mixed = []
            for reading, (name, shape) in zip(
                term.readings, matrices(term, weights.graph, self.channels, self.share), strict=True
            ):
                if reading.source not in settled:
                    settled[reading.source] = features[reading.source]
                matrix = self._known(weights.graph, term, name, shape)
                mixed.append(settled[reading.source] @ matrix)
            tensors[term.target] = tensors[term.target] + self._added(term, weights[term.parameter], mixed)
            changed.add(term.target)
        moments = {name: known for name, known in received.moments.items() if name not in changed}
        return Features(received.graph, tensors, received.channels, moments=moments)

    def _added(self, term: Term, weight: Tensor, mixed: Sequence[Tensor]) -> Tensor:
        """One term, (batch, *index axes of the target, channels), or with axes of length 1."""
        first = mixed[0]
        if term.kind == "carry":
            assert term.route is not None
            return carry(term.route, weight, first.unflatten(-1, (term.entries, -1)))
        place = term.readings[0].place.letters
        if term.kind == "scale":
            by_entry = first.unflatten(-1, (term.entries, -1))
            return torch.einsum(f"z{term.letters}y,z{place}yx->z{term.letters}x", weight, by_entry)
        other = term.readings[1].place.letters
        met = "".join(letter for letter in term.letters if letter in place + other)
        summands = (term.summands(self.channels), -1)
        parts = (part.unflatten(-1, summands) for part in mixed)
        product = torch.einsum(f"z{place}yx,z{other}yx->z{met}x", *parts)
        for position, letter in enumerate(term.letters):
            if letter not in met:
                product = product.unsqueeze(1 + position)
        return product

    def extra_repr(self) -> str:
        """Channels and messages."""
        return f"{self.channels[0]} -> {self.channels[1]}, " + "; ".join(map(str, self.messages))


def matrices(
    term: Term, network: NetworkGraph, channels: tuple[int, int], share: str
) -> list[tuple[str, tuple[int, int]]]:
    """The learned matrices of a term: for each its name, which terms of a role share, and its shape."""
    name = owner(network, term.parameter, share)
    shapes = zip(term.readings, term.shapes(channels), strict=True)
    return [(state_key(f"{name}:{reading.way}"), shape) for reading, shape in shapes]
