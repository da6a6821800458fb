"""``model``: what reads the networks, up to its head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from graphws.errors import UsageError, nearest
from graphws.messages import Family, Message, expand_blocks
from graphws.pooling import Pool, learned_pooling
from graphws.spec.heads import HeadSection
from graphws.spec.kinds import Kinds
from graphws.spec.layer_messages import MessageSection
from graphws.spec.networks import SpaceSketch
from graphws.spec.section import Activation, Count, Flag, Positive, Probability, Section
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from torch import nn

    from graphws.graph import NetworkGraph
    from graphws.layers.explain import Explanation
    from graphws.zoo.augmentations import Augmentation

Norm = Literal["batch", "layer", "none"]


class ModelSection(Section):
    """What all models share.

    Attributes:
        sizable: Whether `sized` can choose a size.
    """

    sizable: ClassVar[bool] = False

    kind: Annotated[str, Field(description="What reads the networks.")]

    def space_violations(self, spaces: Sequence[SpaceSketch], at: Path) -> Iterator[Violation]:
        """What of the model, which stands at `at`, does not fit the networks' spaces; by default nothing.

        Args:
            spaces: Those that the spec tells; none where only the data tell.
            at: Where the model stands.
        """
        yield from ()

    @abstractmethod
    def build(self, graph: NetworkGraph, head: HeadSection) -> nn.Module:
        """A model with fresh parameters from torch's generator.

        It reads `graphws.graph.Weights` and returns the head's answer (batch, …), or `Weights` of the same graph where
        ``head.size()`` is None.
        """

    def sized(self, graph: NetworkGraph, head: HeadSection, parameters: int) -> ModelSection:
        """The same model of the size at which it learns about so many numbers.

        Raises:
            UsageError: Where it has no size to choose.
        """
        raise UsageError(f"a model of the kind {self.kind!r} has no width to choose")

    def augmentation(self) -> Augmentation | None:
        """What this model wants done to its training networks, beside what the spec says; None for nothing."""
        return None

    def explanations(self, graph: NetworkGraph, head: HeadSection | None) -> tuple[Explanation, ...]:
        """Its equivariant layers explained, first to last; none for a model that has none."""
        return ()


class Blocks(Section):
    """Which families of blocks a layer has (paper D, tables 5 to 8).

    full: every pair of parameters; diagonal: only pairs that share a set of neurons (paper D, K.3); none: no pair.
    """

    weight_to_weight: Annotated[Family, Field(description="Blocks from weights to weights.")] = "full"
    weight_to_bias: Annotated[Family, Field(description="Blocks from weights to biases.")] = "full"
    bias_to_weight: Annotated[Family, Field(description="Blocks from biases to weights.")] = "full"
    bias_to_bias: Annotated[Family, Field(description="Blocks from biases to biases.")] = "full"


class DwsnetModel(ModelSection):
    """Equivariant layers on the weights (paper D): a layer is a list of messages, as `blocks` or spelled out."""

    kind: Annotated[Literal["dwsnet"], Field(description="Equivariant layers on the weights.")]
    layers: Annotated[Count, Field(description="Equivariant layers before the head.")] = 4
    channels: Annotated[Count, Field(description="Channels of every parameter between the layers.")] = 32
    blocks: Annotated[Blocks | None, Field(description="Families of blocks; null: all full. Excludes `messages`.")] = (
        None
    )
    messages: Annotated[
        tuple[MessageSection, ...] | None,
        Field(min_length=1, description="The messages of a layer, spelled out. Excludes `blocks`."),
    ] = None
    pooling: Annotated[Pool, Field(description="How a parameter is pooled over neurons that the target lacks.")] = "max"
    heads: Annotated[Count, Field(description="Heads of attention pooling; must divide `channels`.")] = 4
    norm: Annotated[
        Norm, Field(description="Normalisation over batch and orbit (batch), over orbit and channels (layer), or none.")
    ] = "batch"
    activation: Annotated[Activation, Field(description="Activation between the layers.")] = "relu"
    dropout: Annotated[Probability, Field(description="Fraction of features dropped in training.")] = 0.0
    residual: Annotated[Flag, Field(description="Add a layer's input to its output.")] = False
    bias: Annotated[Flag, Field(description="Give the layers an equivariant bias.")] = True
    reduce: Annotated[
        dict[str, Count],
        Field(description="Width to which a free space is mapped before the layers, by its name: {input: 16}."),
    ] = Field(default_factory=dict)
    share: Annotated[
        Literal["none", "role"],
        Field(description="role: parameters of one role share weights, so that depths and widths may vary."),
    ] = "none"
    init_scale: Annotated[
        Positive, Field(description="Factor on the last layer's initial weights; 1e-3 where the output is a network.")
    ] = 1.0

    def layer_messages(self) -> tuple[Message, ...]:
        """The messages of a layer, spelled out: the list, or what the blocks expand to, in a fixed order.

        >>> for message in DwsnetModel(kind="dwsnet").layer_messages():
        ...     print(message)
        any -> edge (max) -> any
        any -> neuron (max) -> any
        any -> network (max) -> any
        """
        if self.messages is None:
            return expand_blocks(None if self.blocks is None else self.blocks.model_dump(), self.pooling)
        return tuple(message.build(self.pooling) for message in self.messages)

    def violations(self, at: Path) -> Iterator[Violation]:
        """Heads of attention divide the channels; blocks or messages but not both; nothing is sent twice."""
        if self.channels % self.heads and any(learned_pooling(message.pool) for message in self.layer_messages()):
            possible = ", ".join(str(n) for n in range(1, self.channels + 1) if self.channels % n == 0)
            here = (*at, "heads")
            yield Violation(
                here,
                f"{dotted(here)} is {self.heads}, which does not divide {self.channels} channels; possible: {possible}",
            )
        here = (*at, "messages")
        if self.blocks is not None and self.messages is not None:
            what = "has both blocks and messages; give one of them (`blocks: null` drops inherited ones)"
            yield Violation(here, f"{dotted(at)} {what}")
            return
        messages = self.layer_messages()
        if not messages:
            blocks = (*at, "blocks")
            yield Violation(blocks, f"{dotted(blocks)} are all none: the layers would carry nothing")
        for (i, earlier), (j, later) in combinations(enumerate(messages), 2):
            if twice := _overlap(earlier, later):
                yield Violation((*here, j), f"{dotted((*here, j))} repeats {dotted((*here, i))}: both send {twice}")

    def space_violations(self, spaces: Sequence[SpaceSketch], at: Path) -> Iterator[Violation]:
        """Only free spaces are reduced, and to no more than their width."""
        known = {space.name: space for space in spaces}
        free = [name for name, space in known.items() if space.free]
        hint = f"; free spaces: {', '.join(free)}"
        for name, width in self.reduce.items() if known else ():
            here = (*at, "reduce", name)
            space = known.get(name)
            if space is None:
                what = f"{dotted(here)}: the networks have no space {name!r}{nearest(name, free)}{hint}"
                yield Violation(here, what)
            elif not space.free:
                yield Violation(here, f"{dotted(here)}: the space {name!r} is permuted and cannot be reduced{hint}")
            elif space.size is not None and width > space.size:
                yield Violation(here, f"{dotted(here)} is {width}, wider than the space, which has {space.size}")

    def build(self, graph: NetworkGraph, head: HeadSection) -> nn.Module:
        """A `graphws.models.DWSNet`."""
        from graphws.models import DWSNet

        return DWSNet(
            graph,
            None if head.size() is None else head.build,
            layers=self.layers,
            channels=self.channels,
            messages=self.layer_messages(),
            pooling=self.pooling,
            norm=self.norm,
            activation=self.activation,
            dropout=self.dropout,
            residual=self.residual,
            bias=self.bias,
            reduce=self.reduce,
            share=self.share,
            heads=self.heads,
            init_scale=self.init_scale,
        )

    def explanations(self, graph: NetworkGraph, head: HeadSection | None) -> tuple[Explanation, ...]:
        """Every equivariant layer, block by block."""
        from graphws.layers import resized
        from graphws.layers.explain import explain

        last = 1 if head is not None and head.size() is None else self.channels
        channels = [1, *[self.channels] * (self.layers - 1), last]
        inner = resized(graph, self.reduce)
        return tuple(
            explain(
                inner,
                self.layer_messages(),
                before,
                after,
                bias=self.bias,
                share=self.share,
                heads=self.heads if before > 1 else 1,
            )
            for before, after in pairwise(channels)
        )


def _overlap(one: Message, other: Message) -> str | None:
    """What two messages send alike, so that one of them is redundant there; None where nothing is."""
    if (one.via, one.pool) != (other.via, other.pool):
        return None
    sources = [kind for kind in ("weight", "bias") if one.sends(kind) and other.sends(kind)]
    targets = [kind for kind in ("weight", "bias") if one.reaches(kind) and other.reaches(kind)]
    found = f"{'+'.join(sources)} to {'+'.join(targets)} via {one.via} with {one.pool}"
    return found if sources and targets else None


class MlpModel(ModelSection):
    """A multilayer perceptron on the flattened weights: the baseline that does not know the symmetry."""

    sizable = True
    kind: Annotated[Literal["mlp"], Field(description="A multilayer perceptron on the flattened weights.")]
    layers: Annotated[Count, Field(description="Hidden layers before the head.")] = 4
    width: Annotated[Count, Field(description="Neurons of a hidden layer.")] = 128
    activation: Annotated[Activation, Field(description="Activation between the layers.")] = "relu"
    norm: Annotated[Norm, Field(description="Normalisation over the batch, over the features (layer), or none.")] = (
        "batch"
    )
    dropout: Annotated[Probability, Field(description="Fraction of features dropped in training.")] = 0.0
    group_augment: Annotated[
        Flag, Field(description="Relabel the neurons of the training networks at random, new in every epoch.")
    ] = False

    def build(self, graph: NetworkGraph, head: HeadSection) -> nn.Module:
        """A `graphws.models.FlatMLP`."""
        from graphws.models import FlatMLP

        return FlatMLP(
            graph,
            None if head.size() is None else head.build,
            layers=self.layers + 1,
            width=self.width,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
        )

    def sized(self, graph: NetworkGraph, head: HeadSection, parameters: int) -> MlpModel:
        """The same at another width."""
        import torch

        from graphws.models import width_for

        def wide(width: int) -> MlpModel:
            return self.model_copy(update={"width": width})

        def count(width: int) -> int:
            with torch.device("meta"):
                return sum(parameter.numel() for parameter in wide(width).build(graph, head).parameters())

        return wide(width_for(count, parameters))

    def augmentation(self) -> Augmentation | None:
        """Random elements of the group, where `group_augment` asks for them."""
        from graphws.zoo.augmentations import RandomElement

        return RandomElement() if self.group_augment else None


MODELS = Kinds("graphws.models", ModelSection, DwsnetModel, MlpModel)
