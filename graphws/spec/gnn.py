"""``model: {kind: gnn}``: the baseline that passes messages on the graph of neurons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec.heads import HeadSection
from graphws.spec.models import ModelSection, Networks, only_graph
from graphws.spec.neuron_features import build_options
from graphws.spec.section import Count, Positive, Probability

if TYPE_CHECKING:
    from torch import nn


class GnnModel(ModelSection):
    """A graph neural network on neurons: it follows permutations of neurons, by messages instead of linear maps."""

    size_key = "width"
    kind: Annotated[Literal["gnn"], Field(description="A graph neural network whose nodes are neurons.")]
    layers: Annotated[Count, Field(description="Updates of all neurons by messages along weights, both ways.")] = 4
    width: Annotated[Count, Field(description="Features of a neuron.")] = 64
    free: Annotated[
        Literal["neurons", "channels"],
        Field(
            description="Inputs and outputs: neurons with a learned embedding each; or channels of the neurons next to "
            "them, for wide ones, whose edges would be many."
        ),
    ] = "neurons"
    dropout: Annotated[Probability, Field(description="Fraction of an update dropped in training.")] = 0.0
    init_scale: Annotated[
        Positive, Field(description="Factor on the last layer's initial weights where networks are returned.")
    ] = 1.0

    def build(self, graph: Networks, head: HeadSection) -> nn.Module:
        """A `graphws.models.NeuronGNN`."""
        from graphws.models import NeuronGNN

        return NeuronGNN(
            only_graph(graph, self.kind),
            **build_options(head),
            layers=self.layers,
            width=self.width,
            free=self.free,
            dropout=self.dropout,
            init_scale=self.init_scale,
        )
