"""DWSNets as their authors built them (paper D; their published code says what the paper leaves open).

Where `graphws.models.DWSNet` has one matrix a key, this has a map of its own for every ordered pair of parameters, with
attention among the neurons that a pair shares (`graphws.layers.published`).  So it has more parameters at like width,
and its graph is one: none of its maps fits another.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.layers import Features, OrbitNorm, Prologue, reduction_of
from graphws.layers.published.free_axes import ReducedPairLayer
from graphws.layers.published.layer import PairLayer
from graphws.models.answers import networks_of, shares
from graphws.models.dwsnet import InvariantReadout
from graphws.models.given import given_network
from graphws.models.readout import MakeReadout

ACTIVATION = "relu"
NORMS = ("batch", "none")


class PublishedDWSNet(nn.Module):
    """Layers with norms, ReLU and dropout between them, then ReLU, dropout and an invariant head, or networks.

    Args:
        graph: Graph of the networks; no set of neurons labels a parameter twice.
        outputs: Length of the invariant output; or what makes the module that reads the invariants, from their number;
            None for an equivariant output: networks of the same graph.
        layers: Equivariant layers; the paper's "4 hidden layers" are five: one from the input, four more.
        channels: Channels per entry between layers.
        blocks: Paper D's block families; see `graphws.layers.published.pairs.pairs_of`.
        set_layer: ``attention`` or ``deepsets``.
        heads: Heads of attention; the last layer has one.
        pooling: ``max``, ``mean`` or ``sum``.
        norm: ``batch``, over batch and all entries of a parameter, free ones too; or ``none``.
        dropout: Share of features set to zero in training.
        reduce: Free spaces, by name or role, that every layer maps to another size and back; None: none.
        init_scale: Factor on the initial weights of all layers.
        networks: How many networks an equivariant output has for one.

    Shapes:
        Weights (batch) -> (batch, outputs), or Weights (batch · networks) of the same graph, those for one network next
        to each other.

    Raises:
        UsageError: On options that do not go together, and on a graph that is not like that.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        outputs: int | MakeReadout | None,
        layers: int = 5,
        channels: int = 32,
        blocks: Mapping[str, str] | None = None,
        set_layer: str = "attention",
        heads: int = 8,
        pooling: str = "max",
        norm: str = "batch",
        dropout: float = 0.0,
        reduce: Mapping[str, int] | None = None,
        init_scale: float = 1.0,
        networks: int = 1,
    ) -> None:
        super().__init__()
        if layers < 1 or networks < 1:
            raise UsageError(f"a DWSNet has at least one layer and one network, got {layers} and {networks}")
        if norm not in NORMS:
            raise UsageError(f"norm must be one of {', '.join(NORMS)}; got {norm!r}")
        self.dropout, self.networks, self._batch_norm = dropout, networks, norm == "batch"
        reduction = reduction_of([graph], reduce, channels)
        inner = reduction.inner(graph)
        widths = [1, *[channels] * (layers - 1), channels if outputs is not None else networks]
        self.layers = nn.ModuleList()
        for k, (a, b) in enumerate(pairwise(widths)):
            last = k == layers - 1
            layer = PairLayer(inner, a, b, blocks, set_layer, 1 if last else heads, pooling, init_scale)
            self.layers.append(layer if reduction.empty else ReducedPairLayer(graph, reduction, layer))
        self.norms = nn.ModuleList(
            OrbitNorm([graph], channels, norm, together=True) if norm == "batch" else nn.Identity()
            for _ in range(layers - 1)
        )
        self.head = None if outputs is None else InvariantReadout([graph], channels, outputs, pooling)

    def forward(self, weights: Weights) -> Tensor | Weights:
        """Applies the network; see the class for shapes."""
        weights = given_network(self, weights)
        state = Features.from_weights(weights)
        for k, layer in enumerate(self.layers):
            if k:
                state = self._between(state, self.norms[k - 1])
            state = layer(state, moments=self.training and self._batch_norm and k + 1 < len(self.layers))
        if self.head is None:
            return networks_of(shares(state, self.networks), weights.graph)
        answer: Tensor = self.head(self._drop(state.awaiting(Prologue(ACTIVATION))))
        return answer

    def _between(self, state: Features, norm: nn.Module) -> Features:
        """What stands between two layers."""
        if isinstance(norm, OrbitNorm):
            return self._drop(norm.prepare([state], ACTIVATION)[0])
        return self._drop(state.awaiting(Prologue(ACTIVATION)))

    def _drop(self, state: Features) -> Features:
        if not (self.dropout and self.training):
            return state
        return state.map(lambda x: functional.dropout(x, self.dropout))
