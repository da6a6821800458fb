"""``model: {kind: transformer}``: the baseline whose rows of weights attend to each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec.heads import HeadSection
from graphws.spec.models import ModelSection, Networks, only_graph
from graphws.spec.neuron_features import build_options
from graphws.spec.section import Count, Positive, Probability
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from torch import nn


class TransformerModel(ModelSection):
    """A transformer on rows of weights: what it knows of the symmetry is in its `positions`."""

    size_key = "width"
    kind: Annotated[Literal["transformer"], Field(description="A transformer encoder on rows of weights.")]
    layers: Annotated[Count, Field(description="Blocks of attention and a perceptron.")] = 4
    width: Annotated[Count, Field(description="Features of a row; a multiple of `heads`.")] = 128
    heads: Annotated[Count, Field(description="Heads of attention; must divide `width`.")] = 4
    positions: Annotated[
        Literal["rows", "layers"],
        Field(
            description="What has a learned embedding of its own: every row; or the rows of a layer together, so that "
            "their order does not count."
        ),
    ] = "rows"
    dropout: Annotated[Probability, Field(description="Fraction of features dropped in training.")] = 0.0
    init_scale: Annotated[
        Positive, Field(description="Factor on the last layer's initial weights where networks are returned.")
    ] = 1.0

    @property
    def size_step(self) -> int:
        """Heads divide the width."""
        return self.heads

    def violations(self, at: Path) -> Iterator[Violation]:
        """Heads divide the width."""
        if self.width % self.heads:
            here = (*at, "heads")
            possible = ", ".join(str(n) for n in range(1, self.width + 1) if self.width % n == 0)
            what = f"{dotted(here)} is {self.heads}, which does not divide a width of {self.width}"
            yield Violation(here, f"{what}; possible: {possible}")

    def build(self, graph: Networks, head: HeadSection) -> nn.Module:
        """A `graphws.models.RowTransformer`."""
        from graphws.models import RowTransformer

        return RowTransformer(
            only_graph(graph, self.kind),
            **build_options(head),
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            positions=self.positions,
            dropout=self.dropout,
            init_scale=self.init_scale,
        )
