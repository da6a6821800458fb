"""DWSNets: equivariant layers with norms and activations between them, then an invariant or an equivariant head.

The network of paper D, equation 2: L_k ∘ σ ∘ … ∘ σ ∘ L_1, on the weights of any graph.  Free axes may be mapped to a
smaller width first and, where the output is a network, back again (paper D, appendix J).

Where messages name neurons, features stand on neurons, too, and only what some message reaches has features between
layers.  The networks' weights as they came carry features of neurons in every layer but the first, which makes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from graphws.errors import UsageError, nearest
from graphws.graph import NetworkGraph, Weights
from graphws.layers import (
    ACTIVATIONS,
    EquivariantLinear,
    Features,
    FreeAxes,
    Invariants,
    Message,
    OrbitNorm,
    Prologue,
    expand_blocks,
    reduction_of,
)
from graphws.layers.acting.acting import Acting
from graphws.layers.acting.neurons import stages, with_neurons
from graphws.layers.union.arrange import arrange
from graphws.layers.union.features import UnionFeatures
from graphws.messages import names_neurons
from graphws.models.answers import networks_of, shares
from graphws.models.given import given_networks
from graphws.models.readout import MakeReadout, readout_of

State = Features | UnionFeatures


class DWSNet(nn.Module):
    """A network on weight spaces.

    Args:
        graph: Graph of the networks that come, or several with ``share="role"``.
        outputs: Length of the invariant output; or what makes the module that reads the invariants, from their number;
            None for an equivariant output: networks of the same graph.
        layers: Equivariant layers.
        channels: Channels per entry between layers.
        messages: What a layer is made of; from `blocks` where None.  See `graphws.layers.acting.neurons.stages` for
            those that name neurons.
        blocks: Paper D's block families; see `graphws.messages.expand_blocks`.
        pooling: How entries are summarised, in the layers that `blocks` make and in the invariant head.
        norm: ``batch``, ``layer`` or ``none``, before each activation but the last layer's.
        activation: One of `graphws.layers.ACTIVATIONS`.
        dropout: Share of features set to zero in training.
        residual: Adds a layer's input to its output wherever channels agree.
        bias: Equivariant biases.
        reduce: Which free axes are made smaller before the first layer: ``auto``, ``none``, or new sizes of free
            spaces by their names or roles; see `graphws.layers.reduction`.
        share: ``none`` or ``role``.
        heads: Heads of attention pooling.
        init_scale: Factor on the initial weights of the last layer of an equivariant output; 1 for all others.
        networks: How many networks an equivariant output has for one: so many times the channels of the last layer.

    Shapes:
        Weights (batch) -> (batch, outputs), or Weights (batch · networks) of the same graph, those for one network next
        to each other.  A list of Weights of different graphs (``share="role"``) gives one result, in the order of the
        list; with features of neurons the graphs run one after another.

    Raises:
        UsageError: On options that do not go together, and on messages that leave neurons without a start, or an output
            that is a network without all of its parameters.
        GraphError: Where roles cannot be shared, or no neuron could receive.
    """

    def __init__(
        self,
        graph: NetworkGraph | Sequence[NetworkGraph],
        outputs: int | MakeReadout | None,
        layers: int = 4,
        channels: int = 32,
        messages: Sequence[Message] | None = None,
        blocks: Mapping[str, str] | None = None,
        pooling: str = "max",
        norm: str = "batch",
        activation: str = "relu",
        dropout: float = 0.0,
        residual: bool = False,
        bias: bool = True,
        reduce: str | Mapping[str, int] | None = "auto",
        share: str = "none",
        heads: int = 1,
        init_scale: float = 1.0,
        networks: int = 1,
    ) -> None:
        super().__init__()
        graphs = [graph] if isinstance(graph, NetworkGraph) else list(graph)
        if layers < 1:
            raise UsageError(f"a DWSNet needs at least one layer, got {layers}")
        if networks < 1:
            raise UsageError(f"a DWSNet returns at least one network, got {networks}")
        if activation not in ACTIVATIONS:
            raise UsageError(f"unknown activation {activation!r}" + nearest(activation, ACTIVATIONS))
        self._batch_norm, self.networks = norm == "batch", networks
        self.activation, self.dropout, self.residual = activation, dropout, residual
        reduction = reduction_of(graphs, reduce, channels, share)
        inner = [reduction.inner(each) for each in graphs]
        self.reduce = None if reduction.empty else FreeAxes(graphs, reduction)
        used = tuple(messages) if messages is not None else expand_blocks(blocks, pooling)
        last = channels if outputs is not None else networks * reduction.channels
        widths = [reduction.channels, *[channels] * (layers - 1), last]
        self._neurons = names_neurons(used)
        found = stages(inner, used, layers, networks=outputs is None)
        scales = [init_scale if outputs is None and k == layers - 1 else 1.0 for k in range(layers)]
        self.layers = nn.ModuleList(
            EquivariantLinear(
                stage.graphs if share == "role" else stage.graphs[0],
                a,
                b,
                stage.messages,
                bias,
                share,
                heads if a > 1 else 1,
                scale,
                stage.kinds,
            )
            for stage, scale, (a, b) in zip(found, scales, pairwise(widths), strict=True)
        )
        self.acting = nn.ModuleList(
            Acting(graphs, stage.graphs, a, b, stage.acting, share, scale) if stage.acting else nn.Identity()
            for stage, scale, (a, b) in zip(found, scales, pairwise(widths), strict=True)
            if self._neurons
        )
        self.norms = nn.ModuleList(
            nn.Identity() if norm == "none" else OrbitNorm(stage.received, width, norm, share)
            for stage, width in zip(found[:-1], widths[1:-1], strict=True)
        )
        self.head: InvariantReadout | None = None
        self.expand: FreeAxes | None = None
        if outputs is not None:
            self.head = InvariantReadout(found[-1].received, channels, outputs, pooling, share, heads)
        elif not reduction.empty:
            self.expand = FreeAxes(graphs, reduction, back=True)

    def forward(self, weights: Weights | Sequence[Weights]) -> Tensor | Weights | list[Weights]:
        """Applies the network; see the class for shapes."""
        batches = given_networks(self, weights)
        single = [Features.from_weights(batch) for batch in batches]
        alone = len(single) == 1 or self._neurons
        groups = [[position] for position in range(len(single))] if alone else arrange(single)
        states = [self._enter([single[position] for position in group]) for group in groups]
        for k, layer in enumerate(self.layers):
            if k:
                states = self._between(states, self.norms[k - 1])
            adds = self.residual and layer.in_channels == layer.out_channels
            if adds:
                states = [state.settled for state in states]
            taken = self.training and not adds and k + 1 < len(self.layers) and self._batch_norm
            received = [layer(state, moments=taken) for state in states]
            if k and self._neurons and isinstance(self.acting[k], Acting):
                received = [self.acting[k](*three) for three in zip(single, states, received, strict=True)]
            if adds:
                received = [
                    new.replace({name: x + old[name] if name in old.tensors else x for name, x in new.tensors.items()})
                    for new, old in zip(received, states, strict=True)
                ]
            states = received
        places = [position for group in groups for position in group]
        if self.head is not None:
            answers = [self.head(self._drop(state.awaiting(Prologue(self.activation)))) for state in states]
            return _in_order(answers, [batches[position].batch for position in places], places)
        parts = [part for state in states for part in (state.split() if isinstance(state, UnionFeatures) else [state])]
        features = [part for _, part in sorted(zip(places, parts, strict=True), key=lambda pair: pair[0])]
        outputs = [self._leave(state, batch.graph) for batch, state in zip(batches, features, strict=True)]
        return outputs[0] if isinstance(weights, Weights) else outputs

    def _leave(self, state: Features, graph: NetworkGraph) -> Weights:
        """The networks of the last layer's features; of several, each has its share of the channels."""
        parts = shares(state, self.networks)
        return networks_of([part if self.expand is None else self.expand(part, graph) for part in parts], graph)

    def _enter(self, states: list[Features]) -> State:
        """What the layers see: one graph's features as they are, those of several as a union."""
        if len(states) > 1:
            return UnionFeatures.join(states, self.reduce)
        state = states[0] if self.reduce is None else self.reduce(states[0])
        return Features(with_neurons(state.graph), state.tensors, state.channels) if self._neurons else state

    def _between(self, states: list[State], norm: nn.Module) -> list[State]:
        """What stands between two layers."""
        if isinstance(norm, OrbitNorm):
            states = norm.prepare(states, self.activation)
        else:
            states = [state.awaiting(Prologue(self.activation)) for state in states]
        return [self._drop(state) for state in states]

    def _drop(self, state: State) -> State:
        if not (self.dropout and self.training):
            return state
        return state.map(lambda x: functional.dropout(x, self.dropout))


def _in_order(answers: Sequence[Tensor], counts: Sequence[int], places: Sequence[int]) -> Tensor:
    """Rows of answers, whose networks come graph by graph, in the order of the graphs' places."""
    rows = answers[0] if len(answers) == 1 else torch.cat(list(answers))
    if list(places) == sorted(places):
        return rows
    parts = rows.split(list(counts))
    return torch.cat([part for _, part in sorted(zip(places, parts, strict=True), key=lambda pair: pair[0])])


class InvariantReadout(nn.Module):
    """Invariants, then what reads them (paper D: h ∘ L_inv).

    Args:
        graphs: Graphs that may come.
        channels: Channels per entry.
        outputs: Length of the output of a linear map; or what makes the module that reads the invariants.
        pooling: How entries are summarised.
        share: ``none`` or ``role``.
        heads: Heads of attention pooling.

    Shapes:
        Features -> (batch, outputs).
    """

    def __init__(
        self,
        graphs: Sequence[NetworkGraph],
        channels: int,
        outputs: int | MakeReadout,
        pooling: str = "max",
        share: str = "none",
        heads: int = 1,
    ) -> None:
        super().__init__()
        self.invariants = Invariants(graphs, channels, pooling, share, heads)
        self.readout = readout_of(outputs)(self.invariants.width)
        linear = [module for module in self.readout.modules() if isinstance(module, nn.Linear)]
        if linear and linear[0].in_features == self.invariants.width:
            with torch.no_grad():  # starts as if it read means, whatever the widths are
                linear[0].weight *= self.invariants.gains().to(linear[0].weight)

    def forward(self, features: Features | UnionFeatures) -> Tensor:
        """Pools and reads out."""
        result: Tensor = self.readout(self.invariants(features))
        return result
