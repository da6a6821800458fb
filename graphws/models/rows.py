"""The set encoder on rows: INR2Vec's architecture without its training (De Luigi et al. 2023; paper D, section 7).

Every row of every weight goes through the same perceptron, and the largest of each feature over all rows is what is
kept.  The answer is therefore the same in whatever order the rows stand, *also across layers*, which is more than the
symmetry of networks allows, and it does depend on the order of columns, which is less (paper D, appendix A).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from graphws.errors import UsageError
from graphws.graph import NetworkGraph, Weights
from graphws.models.given import given_network
from graphws.models.readout import BatchNorm, MakeReadout, readout_of, scaled_linear
from graphws.models.row_tokens import RowTokens


class RowEncoder(nn.Module):
    """Linear, batch normalisation, ReLU on every row; the maximum over rows; then what reads it.

    Law: any permutation of a network's rows, across layers too, leaves the answer alone; where networks are returned, a
    permutation of the rows of one layer permutes theirs.  A relabelling of neurons permutes columns, too, and breaks
    both.

    Args:
        graph: Graph of the networks.
        outputs: Length of the output; or what makes the module that reads the pooled features, from their number; None:
            networks of the same graph, by a perceptron on each row's features next to the pooled ones.
        layers: Linear layers on rows.
        width: Features of a row.
        dropout: Share of features set to zero in training.
        networks: How many networks are returned for one, where networks are.
        init_scale: Factor on the initial weights of the last layer where networks are returned.

    Shapes:
        Weights (batch) -> (batch, outputs), or Weights (batch · networks), those for one network next to each other.

    Raises:
        UsageError: Where there is no layer, no width or no network to return.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        outputs: int | MakeReadout | None,
        layers: int = 4,
        width: int = 128,
        dropout: float = 0.0,
        networks: int = 1,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if min(layers, width, networks) < 1:
            what = f"got {layers}, {width} and {networks}"
            raise UsageError(f"a row encoder has at least one layer, a width and networks of at least 1; {what}")
        self.tokens = RowTokens(graph)
        self.encoder = nn.Sequential(
            *(EachRow(a, b, dropout) for a, b in pairwise([self.tokens.length, *[width] * layers]))
        )
        self.decoder: RowDecoder | None = None
        if outputs is None:
            self.decoder = RowDecoder(self.tokens, width, width, networks, dropout, init_scale)
        else:
            self.head = readout_of(outputs)(width)

    def forward(self, weights: Weights) -> Tensor | Weights:
        """Encodes, pools and reads or decodes; see the class for shapes."""
        features: Tensor = self.encoder(self.tokens.read(given_network(self, weights)))
        pooled = features.amax(1)
        answer: Tensor | Weights = self.head(pooled) if self.decoder is None else self.decoder(features, pooled)
        return answer


class EachRow(nn.Module):
    """Linear, batch normalisation over all rows of all networks, ReLU, dropout.

    Shapes:
        (batch, rows, a) -> (batch, rows, b).
    """

    def __init__(self, a: int, b: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.linear, self.norm, self.dropout = nn.Linear(a, b), BatchNorm(b), nn.Dropout(dropout)

    def forward(self, rows: Float[Tensor, "batch rows a"]) -> Float[Tensor, "batch rows b"]:
        """The layer."""
        x = self.linear(rows)
        result: Tensor = self.dropout(torch.relu(self.norm(x.flatten(0, 1)).reshape(x.shape)))
        return result


class RowDecoder(nn.Module):
    """From features of rows and of the whole network back to networks: a perceptron on each row next to the whole.

    Args:
        tokens: The rows.
        width: Features of a row, and of the hidden layer.
        whole: Features of the network.
        networks: How many networks for one.
        dropout: Share of hidden features set to zero in training.
        init_scale: Factor on the initial weights of the last layer.

    Shapes:
        (batch, rows, width), (batch, whole) -> Weights (batch · networks).
    """

    def __init__(
        self,
        tokens: RowTokens,
        width: int,
        whole: int,
        networks: int = 1,
        dropout: float = 0.0,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.tokens, self.networks = tokens, networks
        self.hidden = EachRow(width + whole, width, dropout)
        self.last = scaled_linear(width, networks * tokens.length, init_scale)

    def forward(self, features: Float[Tensor, "batch rows width"], pooled: Float[Tensor, "batch whole"]) -> Weights:
        """The networks."""
        joined = torch.cat([features, pooled[:, None].expand(-1, features.shape[1], -1)], -1)
        rows = self.last(self.hidden(joined)).unflatten(-1, (self.networks, -1))
        return self.tokens.write(rows.movedim(2, 1).flatten(0, 1))
