"""``model: {kind: dwsnet-published}``: DWSNets as paper D's authors built them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, Tag

from graphws.messages import block_families
from graphws.spec.heads import HeadSection
from graphws.spec.models import WORD_OR_SIZES, Blocks, ModelSection, Networks, only_graph, reduce_violations
from graphws.spec.networks import SpaceSketch
from graphws.spec.section import Count, Positive, Probability
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from torch import nn

    from graphws.graph import NetworkGraph
    from graphws.layers.explain import Explanation


class PublishedModel(ModelSection):
    """A map of its own for every ordered pair of parameters, with attention among the neurons that both have.

    Paper D's published networks: 552,650 parameters on 2-32-32-1 with ten classes.
    """

    size_key = "channels"
    kind: Annotated[Literal["dwsnet-published"], Field(description="DWSNets as paper D's authors built them.")]
    layers: Annotated[
        Count, Field(description="Equivariant layers before the head; paper D's 4 hidden layers are 5.")
    ] = 5
    channels: Annotated[Count, Field(description="Channels of every parameter between the layers.")] = 32
    blocks: Annotated[
        Blocks | None,
        Field(
            description="Families of pairs of parameters; null: all full. diagonal also keeps pairs that share outputs "
            "where one has no set of neurons."
        ),
    ] = None
    set_layer: Annotated[
        Literal["attention", "deepsets"],
        Field(description="What maps the neurons that a pair shares: attention among them, or DeepSets."),
    ] = "attention"
    heads: Annotated[Count, Field(description="Heads of attention, one in the last layer; must divide `channels`.")] = 8
    pooling: Annotated[
        Literal["max", "mean", "sum"],
        Field(description="How a parameter is pooled over neurons that the target lacks."),
    ] = "max"
    norm: Annotated[
        Literal["batch", "none"],
        Field(description="Normalisation of every channel of a parameter over batch and entries, or none."),
    ] = "batch"
    dropout: Annotated[Probability, Field(description="Fraction of features dropped in training.")] = 0.0
    reduce: Annotated[
        Annotated[Literal["none"], Tag("word")] | Annotated[dict[str, Count], Tag("sizes")],
        WORD_OR_SIZES,
        Field(
            description="Wide free spaces that every layer maps down and up again, by name or role: {input: 16}; or "
            "none."
        ),
    ] = "none"
    init_scale: Annotated[
        Positive, Field(description="Factor on the initial weights of all layers; 1e-3 where the output is a network.")
    ] = 1.0

    @property
    def smaller(self) -> str:
        """Wide free axes come first."""
        if isinstance(self.reduce, str):
            return "map wide free axes down (`model.reduce: {input: 16}`), or take fewer channels (`model.channels`)"
        return "take fewer channels (`model.channels`) or layers"

    def violations(self, at: Path) -> Iterator[Violation]:
        """Heads divide the channels, and some pairs are on."""
        if self.set_layer == "attention" and self.channels % self.heads:
            possible = ", ".join(str(n) for n in range(1, self.channels + 1) if self.channels % n == 0)
            here = (*at, "heads")
            yield Violation(
                here,
                f"{dotted(here)} is {self.heads}, which does not divide {self.channels} channels; possible: {possible}",
            )
        if set(block_families(self._families()).values()) == {"none"}:
            here = (*at, "blocks")
            yield Violation(here, f"{dotted(here)} are all none: the layers would carry nothing")

    def space_violations(self, spaces: Sequence[SpaceSketch], at: Path) -> Iterator[Violation]:
        """Only free spaces are reduced, and to no more than their width."""
        yield from reduce_violations(self.reduce, spaces, (*at, "reduce"))

    def _families(self) -> dict[str, str] | None:
        return None if self.blocks is None else self.blocks.model_dump()

    def _options(self) -> dict[str, Any]:
        """What layers and models have in common."""
        return {
            "blocks": self._families(),
            "set_layer": self.set_layer,
            "heads": self.heads,
            "pooling": self.pooling,
        }

    def build(self, graph: Networks, head: HeadSection) -> nn.Module:
        """A `graphws.models.PublishedDWSNet`."""
        from graphws.models import PublishedDWSNet

        return PublishedDWSNet(
            only_graph(graph, self.kind),
            None if head.size() is None else head.build,
            layers=self.layers,
            channels=self.channels,
            norm=self.norm,
            dropout=self.dropout,
            reduce=None if isinstance(self.reduce, str) else self.reduce,
            init_scale=self.init_scale,
            networks=head.answers,
            **self._options(),
        )

    @property
    def size_step(self) -> int:
        """The heads of attention divide the channels."""
        return self.heads if self.set_layer == "attention" else 1

    def reductions(self, graphs: Sequence[NetworkGraph]) -> tuple[str, ...]:
        """Which free spaces every layer maps."""
        if isinstance(self.reduce, str):
            return ()
        return tuple(f"{name}: mapped to {size} and back in every layer" for name, size in sorted(self.reduce.items()))

    def explanations(self, graphs: Sequence[NetworkGraph], head: HeadSection | None) -> tuple[Explanation, ...]:
        """Every layer, pair by pair."""
        from graphws.layers.published.explain import explain_layers

        last = head.answers if head is not None and head.size() is None else None
        sizes = None if isinstance(self.reduce, str) else self.reduce
        return explain_layers(graphs[0], self.layers, self.channels, last, sizes, **self._options())
