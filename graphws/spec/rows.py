"""``model: {kind: rows}``: the baseline that reads a set of rows of weights (INR2Vec)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec.heads import HeadSection
from graphws.spec.models import ModelSection, Networks, only_graph
from graphws.spec.neuron_features import build_options
from graphws.spec.section import Count, Positive, Probability

if TYPE_CHECKING:
    from torch import nn


class RowsModel(ModelSection):
    """A set encoder on the rows of weights: it knows that rows have no order, nothing of columns (INR2Vec)."""

    size_key = "width"
    kind: Annotated[Literal["rows"], Field(description="A set encoder on rows of weights, as INR2Vec's.")]
    layers: Annotated[Count, Field(description="Linear layers on every row, with batch normalisation and ReLU.")] = 4
    width: Annotated[Count, Field(description="Features of a row.")] = 128
    dropout: Annotated[Probability, Field(description="Fraction of features dropped in training.")] = 0.0
    init_scale: Annotated[
        Positive, Field(description="Factor on the last layer's initial weights where networks are returned.")
    ] = 1.0

    def build(self, graph: Networks, head: HeadSection) -> nn.Module:
        """A `graphws.models.RowEncoder`."""
        from graphws.models import RowEncoder

        return RowEncoder(
            only_graph(graph, self.kind),
            **build_options(head),
            layers=self.layers,
            width=self.width,
            dropout=self.dropout,
            init_scale=self.init_scale,
        )
