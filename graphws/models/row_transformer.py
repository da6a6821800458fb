"""The transformer on rows, which attend to each other (Schürholt et al. 2021; paper D, section 7)."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from graphws.errors import UsageError, nearest
from graphws.graph import NetworkGraph, Weights
from graphws.models.given import given_network
from graphws.models.readout import MakeReadout, readout_of
from graphws.models.row_tokens import RowTokens
from graphws.models.rows import RowDecoder

Positions = Literal["rows", "layers"]
"""What has an embedding of its own: every row, or all rows of a layer together."""
RATIO = 4
"""Width of the hidden layer of a block's perceptron, in widths of a token."""


class RowTransformer(nn.Module):
    """Rows embedded by a linear map and a learned place, attention between all of them, their mean; then what reads it.

    Law: with ``positions="layers"``, a permutation of the rows of one layer leaves the answer alone, or permutes the
    rows of the networks that are returned; with ``rows`` nothing does.  A relabelling of neurons permutes columns, too,
    and changes the answer of both.

    Args:
        graph: Graph of the networks.
        outputs: Length of the output; or what makes the module that reads the mean token, from its width; None:
            networks of the same graph, by a perceptron on each token next to the mean.
        layers: Blocks, each of attention and a perceptron, normalised before either.
        width: Features of a token.
        heads: Of attention; they divide the width.
        positions: ``rows`` or ``layers``.
        dropout: Share of features set to zero in training.
        networks: How many networks are returned for one, where networks are.
        init_scale: Factor on the initial weights of the last layer where networks are returned.

    Shapes:
        Weights (batch) -> (batch, outputs), or Weights (batch · networks), those for one network next to each other.

    Raises:
        UsageError: On sizes below 1, heads that do not divide the width and unknown positions.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        outputs: int | MakeReadout | None,
        layers: int = 4,
        width: int = 128,
        heads: int = 4,
        positions: str = "rows",
        dropout: float = 0.0,
        networks: int = 1,
        init_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if min(layers, width, heads, networks) < 1:
            what = f"got {layers}, {width}, {heads} and {networks}"
            raise UsageError(f"a transformer's layers, width, heads and networks are at least 1; {what}")
        if width % heads:
            raise UsageError(f"{heads} heads do not divide a width of {width}")
        known = get_args(Positions)
        if positions not in known:
            raise UsageError(f"positions are of {' or '.join(known)}, got {positions!r}{nearest(positions, known)}")
        self.tokens = RowTokens(graph)
        places = torch.arange(self.tokens.count) if positions == "rows" else self.tokens.owners()
        self.register_buffer("places", places, persistent=False)
        self.places: Tensor
        self.embed = nn.Linear(self.tokens.length, width)
        count = self.tokens.count if positions == "rows" else len(self.tokens.groups)
        self.place = nn.Embedding(count, width)
        nn.init.normal_(self.place.weight, std=0.02)
        block = nn.TransformerEncoderLayer(
            width, heads, RATIO * width, dropout, activation="relu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(block, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self._draw_blocks()
        self.decoder: RowDecoder | None = None
        if outputs is None:
            self.decoder = RowDecoder(self.tokens, width, width, networks, dropout, init_scale)
        else:
            self.head = readout_of(outputs)(width)

    def _draw_blocks(self) -> None:
        """Torch copies one block, numbers and all: each gets its own."""
        for name, parameter in self.encoder.named_parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, weights: Weights) -> Tensor | Weights:
        """Attends, pools and reads or decodes; see the class for shapes."""
        x = self.embed(self.tokens.read(given_network(self, weights))) + self.place(self.places)
        features: Tensor = self.encoder(x)
        pooled = features.mean(1)
        answer: Tensor | Weights = self.head(pooled) if self.decoder is None else self.decoder(features, pooled)
        return answer
