"""``model``: what reads the networks, up to its head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import Discriminator, Field, Tag

from graphws.errors import UsageError, nearest
from graphws.messages import NEURON, Family, Message, expand_blocks, lost_outputs, names_neurons, no_start
from graphws.pooling import Pool, learned_pooling
from graphws.spec.heads import HeadSection
from graphws.spec.layer_messages import MessageSection
from graphws.spec.networks import SpaceSketch
from graphws.spec.neuron_features import (
    MESSAGES,
    NeuronLayers,
    ProbesSection,
    build_options,
    key_violations,
    message_violations,
    pool_violations,
)
from graphws.spec.section import Activation, Count, Flag, Positive, Probability, Section
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from torch import nn

    from graphws.graph import NetworkGraph
    from graphws.layers.explain import Explanation
    from graphws.zoo.augmentations import Augmentation

Norm = Literal["batch", "layer", "none"]
Scaling = Literal["normalised", "unit", "raw"]
"""How weights are scaled for a model; see `graphws.runtime.scaling`."""
Access = Literal["weights", "queries", "weights + queries"]
"""What a model has of a network: its weights, its outputs at points, or both."""
Networks: TypeAlias = "NetworkGraph | Sequence[NetworkGraph]"
"""The graph of the networks, or several."""
Symmetry = Literal["permutation", "rich"]
WORD_OR_SIZES = Discriminator(lambda value: "sizes" if isinstance(value, dict) else "word")


class ModelSection(Section):
    """What all models share.

    Attributes:
        size_key: The key whose value `sized` chooses; empty where a model has no size.
        descends: Whether it learns by gradients; else it fits itself, once.
    """

    size_key: ClassVar[str] = ""
    descends: ClassVar[bool] = True

    kind: Annotated[str, Field(description="What reads the networks.")]

    @property
    def label(self) -> str:
        """What the spec's own model goes by in tables."""
        return self.kind

    @property
    def scaling(self) -> Scaling:
        """How weights are to be scaled for this model where ``preprocess.normalize`` is true; else all are raw."""
        return "normalised"

    @property
    def access(self) -> Access:
        """What the model has of a network, as tables of results say it; models of unlike access do not compare."""
        return "weights"

    @property
    def smaller(self) -> str:
        """What to do where it learns too many numbers."""
        return "take a smaller model"

    @property
    def reads_others(self) -> bool:
        """Whether, once trained, it may be asked about networks of graphs that it was not built on."""
        return False

    @property
    def graded(self) -> bool:
        """Whether what it returns for a weight changes sign or scale where the weight does."""
        return False

    def architecture_violations(self, number: int, at: Path) -> Iterator[Violation]:
        """Why the model, which stands at `at`, cannot read networks of so many architectures; of one, nothing is."""
        if number > 1:
            what = f"{dotted(at)}: the networks have {number} architectures, and a model of the kind {self.kind!r}"
            yield Violation((*at, "kind"), f"{what} reads one; take `kind: dwsnet` with `share: role`")

    def space_violations(self, spaces: Sequence[SpaceSketch], at: Path) -> Iterator[Violation]:
        """What of the model, which stands at `at`, does not fit the networks' spaces; by default nothing.

        Args:
            spaces: Those that the spec tells; none where only the data tell.
            at: Where the model stands.
        """
        yield from ()

    def head_violations(self, head: HeadSection, at: Path) -> Iterator[Violation]:
        """Why the model, which stands at `at`, cannot give what the head returns; by default nothing."""
        yield from ()

    @abstractmethod
    def build(self, graph: Networks, head: HeadSection) -> nn.Module:
        """A model with fresh parameters from torch's generator.

        It reads `graphws.graph.Weights` and returns the head's answer (batch, …), or `Weights` of the same graph where
        ``head.size()`` is None: ``head.answers`` networks for each, next to each other.

        Args:
            graph: Of the networks; several only where `architecture_violations` has nothing against it, and then the
                model reads lists of `Weights`, one for each graph, too.
            head: What is returned.
        """

    def sized(self, graph: Networks, head: HeadSection, parameters: int) -> ModelSection:
        """The same model of the size at which it learns about so many numbers: the nearest that it can have.

        Raises:
            UsageError: Where it has no size to choose.
        """
        from graphws.models import width_for

        if not self.size_key:
            raise UsageError(f"a model of the kind {self.kind!r} has no width to choose")

        def wide(width: int) -> ModelSection:
            return self.model_copy(update={self.size_key: width})

        return wide(width_for(lambda width: wide(width).parameters(graph, head), parameters, self.size_step))

    @property
    def size_step(self) -> int:
        """What divides every size that `sized` chooses."""
        return 1

    def augmentation(self) -> Augmentation | None:
        """What this model wants done to its training networks, beside what the spec says; None for nothing."""
        return None

    def parameters(self, graph: Networks, head: HeadSection) -> int:
        """How many numbers the model learns, counted without making them."""
        import torch

        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            return sum(parameter.numel() for parameter in self.build(graph, head).parameters())

    def explanations(self, graphs: Sequence[NetworkGraph], head: HeadSection | None) -> tuple[Explanation, ...]:
        """Its equivariant layers explained on the first graph, first to last; none for a model that has none."""
        return ()

    def descriptions(self, graph: NetworkGraph) -> tuple[str, ...]:
        """What else there is to say of its features on a graph, a line each; nothing by default."""
        return ()

    def reductions(self, graphs: Sequence[NetworkGraph]) -> tuple[str, ...]:
        """What is done to free axes, a line each; nothing by default."""
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

    size_key = "channels"
    kind: Annotated[Literal["dwsnet"], Field(description="Equivariant layers on the weights.")]
    layers: Annotated[Count, Field(description="Equivariant layers before the head.")] = 4
    channels: Annotated[Count, Field(description="Channels of every parameter between the layers.")] = 32
    symmetry: Annotated[
        Symmetry,
        Field(
            description="What the layers follow: permutations of neurons; or rich, all that the graph allows: signs of "
            "odd activations, scales of ReLU, matrices of heads."
        ),
    ] = "permutation"
    features: Annotated[
        Literal["parameters", "neurons"] | None,
        Field(
            description="Where features live between layers: on entries of parameters (paper D), or on neurons, "
            "carried along by the weights. null: parameters for permutations, neurons for rich."
        ),
    ] = None
    probes: Annotated[
        ProbesSection | None,
        Field(description="Run the networks at a few points, whose activations join the features (features: neurons)."),
    ] = None
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
        Annotated[Literal["auto", "none"], Tag("word")] | Annotated[dict[str, Count], Tag("sizes")],
        WORD_OR_SIZES,
        Field(
            description="Free axes before the layers. auto: more than 4 free numbers of an entry (kernels, inputs, "
            "classes) become its channels; none; or the width of each free space, by its name or role: {input: 16}."
        ),
    ] = "auto"
    share: Annotated[
        Literal["none", "role"],
        Field(description="role: parameters of one role share weights, so that depths and widths may vary."),
    ] = "none"
    init_scale: Annotated[
        Positive, Field(description="Factor on the last layer's initial weights; 1e-3 where the output is a network.")
    ] = 1.0

    @property
    def on_neurons(self) -> bool:
        """Whether features live on neurons."""
        return self.symmetry == "rich" or self.features == "neurons"

    @property
    def label(self) -> str:
        """By where features live."""
        return "neurons" if self.on_neurons else self.kind

    @property
    def scaling(self) -> Scaling:
        """Where weights act they are never shifted."""
        return "unit" if self.on_neurons else "normalised"

    @property
    def access(self) -> Access:
        """Probes are queries."""
        return "weights" if self.probes is None else "weights + queries"

    @property
    def smaller(self) -> str:
        """Wide free axes come first."""
        if self.reduce != "auto":
            return "map wide free axes down (`model.reduce: auto`)"
        return "take fewer channels (`model.channels`) or layers, or a coarser list of `model.messages`"

    @property
    def graded(self) -> bool:
        """Where layers follow signs, scales and matrices."""
        return self.symmetry == "rich"

    @property
    def reads_others(self) -> bool:
        """Where weights are shared by role; which roles it knows the model says itself."""
        return self.share == "role"

    def layer_messages(self) -> tuple[Message, ...]:
        """The messages of a layer, spelled out: the list, or what the blocks expand to, in a fixed order.

        >>> for message in DwsnetModel(kind="dwsnet").layer_messages():
        ...     print(message)
        any -> edge (max) -> any
        any -> neuron (max) -> any
        any -> network (max) -> any
        """
        if self.messages is None and self.on_neurons:
            return MESSAGES
        if self.messages is None:
            return expand_blocks(None if self.blocks is None else self.blocks.model_dump(), self.pooling)
        return tuple(message.build(self.pooling) for message in self.messages)

    @property
    def _attends(self) -> bool:
        """Whether the heads of attention share the channels among them."""
        return any(learned_pooling(message.pool) for message in self.layer_messages())

    @property
    def size_step(self) -> int:
        """The heads of attention pooling divide the channels."""
        return self.heads if self._attends or learned_pooling(self.pooling) else 1

    @property
    def _sound(self) -> bool:
        """Whether each message has a meaning by itself; if not, it says so itself."""
        return not any(list(message.violations(())) for message in self.messages or ())

    def violations(self, at: Path) -> Iterator[Violation]:
        """Heads divide the channels; blocks or messages but not both; nothing is sent twice; neurons have a start."""
        if not self._sound:
            return
        if self.channels % self.heads and self._attends:
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
        yield from self._place_violations(at)
        if not self.on_neurons and names_neurons(messages) and (fault := no_start(messages)):
            yield Violation(here, f"{dotted(here)}: {fault}")
        kinds = ("weight", "bias", NEURON) if names_neurons(messages) else ("weight", "bias")
        for (i, earlier), (j, later) in combinations(enumerate(messages), 2):
            if twice := _overlap(earlier, later, kinds):
                yield Violation((*here, j), f"{dotted((*here, j))} repeats {dotted((*here, i))}: both send {twice}")

    def _place_violations(self, at: Path) -> Iterator[Violation]:
        """Where features live is said once, and the rest fits."""
        if self.on_neurons:
            if self.features == "parameters":
                here = (*at, "features")
                what = "the whole group needs features on neurons; leave it out, or take `symmetry: permutation`"
                yield Violation(here, f"{dotted(here)} is parameters: {what}")
            yield from key_violations(self, at)
            yield from pool_violations(self.messages or (), (*at, "messages"))
        elif self.probes is not None:
            here = (*at, "probes")
            yield Violation(
                here, f"{dotted(here)} join features of neurons; add `features: neurons` or `symmetry: rich`"
            )

    def head_violations(self, head: HeadSection, at: Path) -> Iterator[Violation]:
        """Where features stand on neurons, networks are returned only if messages reach all of their parameters."""
        if self.on_neurons and self._sound:
            yield from message_violations(self.layer_messages(), head.size() is None, (*at, "messages"))
            return
        if head.size() is not None or not self._sound or not names_neurons(self.layer_messages()):
            return
        if fault := lost_outputs(self.layer_messages()):
            here = (*at, "messages")
            yield Violation(here, f"{dotted(here)}: {fault}")

    def space_violations(self, spaces: Sequence[SpaceSketch], at: Path) -> Iterator[Violation]:
        """Only free spaces are reduced, and to no more than their width."""
        yield from reduce_violations(self.reduce, spaces, (*at, "reduce"))

    def architecture_violations(self, number: int, at: Path) -> Iterator[Violation]:
        """Several need weights that are shared by role."""
        if number > 1 and self.share == "none":
            what = f"the networks have {number} architectures, and {dotted(at)} learns weights for one"
            yield Violation((*at, "share"), f"{what}; add `share: role`, so that they are shared by role")

    def build(self, graph: Networks, head: HeadSection) -> nn.Module:
        """A `graphws.models.DWSNet`, or a `graphws.models.GradedNet` where features live on neurons."""
        from graphws.models import DWSNet, GradedNet

        if self.on_neurons:
            layers = NeuronLayers.of(self.layer_messages())
            return GradedNet(
                graph,
                **build_options(head),
                layers=self.layers,
                channels=self.channels,
                symmetry=self.symmetry,
                acts=layers.acts,
                network=layers.network,
                dropout=self.dropout,
                share=self.share,
                probes=0 if self.probes is None else self.probes.points,
                learned=self.probes is not None and self.probes.learned,
                init_scale=self.init_scale,
            )
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
            networks=head.answers,
        )

    def reductions(self, graphs: Sequence[NetworkGraph]) -> tuple[str, ...]:
        """What the layers see of free axes, where features live on parameters."""
        if self.on_neurons:
            return ()
        from graphws.layers import reduction_of

        return tuple(reduction_of(graphs, self.reduce, self.channels, self.share).rows())

    def descriptions(self, graph: NetworkGraph) -> tuple[str, ...]:
        """Where features live on neurons: which there are, what they start from, what carries them."""
        if not self.on_neurons:
            return ()
        from graphws.layers.graded.describe import describe

        return tuple(describe(graph, self.symmetry, NeuronLayers.of(self.layer_messages()).acts))

    def explanations(self, graphs: Sequence[NetworkGraph], head: HeadSection | None) -> tuple[Explanation, ...]:
        """Every equivariant layer, block by block, on the first graph; counted over all; none of neurons' features."""
        if self.on_neurons:
            return ()
        from graphws.layers import reduction_of
        from graphws.layers.acting.neurons import stages
        from graphws.layers.stage_explanation import explain_stage

        reduction = reduction_of(graphs, self.reduce, self.channels, self.share)
        messages = self.layer_messages()
        returned = reduction.channels * head.answers if head is not None and head.size() is None else None
        last = self.channels if returned is None else returned
        channels = [reduction.channels, *[self.channels] * (self.layers - 1), last]
        inner = [reduction.inner(graph) for graph in graphs]
        found = stages(inner, messages, self.layers, networks=returned is not None)
        return tuple(
            explain_stage(
                stage,
                graphs,
                messages,
                pair,
                bias=self.bias,
                share=self.share,
                heads=self.heads if pair[0] > 1 else 1,
            )
            for stage, pair in zip(found, pairwise(channels), strict=True)
        )


def reduce_violations(reduce: str | Mapping[str, int], spaces: Sequence[SpaceSketch], at: Path) -> Iterator[Violation]:
    """What of new sizes of spaces, which stand at `at`, does not fit the spaces that the spec tells."""
    known = {space.name: space for space in spaces}
    free = [name for name, space in known.items() if space.free]
    hint = f"; free spaces: {', '.join(free)}"
    for name, width in reduce.items() if known and not isinstance(reduce, str) else ():
        here = (*at, name)
        space = known.get(name)
        if space is None:
            what = f"{dotted(here)}: the networks have no space {name!r}{nearest(name, free)}{hint}"
            yield Violation(here, what)
        elif not space.free:
            yield Violation(here, f"{dotted(here)}: the space {name!r} is permuted and cannot be reduced{hint}")
        elif space.size is not None and width > space.size:
            yield Violation(here, f"{dotted(here)} is {width}, wider than the space, which has {space.size}")


def only_graph(graph: Networks, kind: str) -> NetworkGraph:
    """The graph of networks that have one.

    Raises:
        UsageError: Where they have several.
    """
    graphs = graph if isinstance(graph, Sequence) else (graph,)
    if len(graphs) != 1:
        raise UsageError(f"a model of the kind {kind!r} reads networks of one architecture, these have {len(graphs)}")
    return graphs[0]


def _overlap(one: Message, other: Message, kinds: Sequence[str]) -> str | None:
    """What of these kinds two messages send alike, so that one of them is redundant there; None where nothing is."""
    if (one.via, one.pool) != (other.via, other.pool):
        return None
    sources = [kind for kind in kinds if one.sends(kind) and other.sends(kind)]
    targets = [kind for kind in kinds if one.reaches(kind) and other.reaches(kind)]
    found = f"{'+'.join(sources)} to {'+'.join(targets)} via {one.via}"
    found += "" if one.acts else f" with {one.pool}"
    return found if sources and targets else None


class MlpModel(ModelSection):
    """A multilayer perceptron on the flattened weights: the baseline that does not know the symmetry."""

    size_key = "width"
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

    def build(self, graph: Networks, head: HeadSection) -> nn.Module:
        """A `graphws.models.FlatMLP`."""
        from graphws.models import FlatMLP

        return FlatMLP(
            only_graph(graph, self.kind),
            None if head.size() is None else head.build,
            layers=self.layers + 1,
            width=self.width,
            activation=self.activation,
            norm=self.norm,
            dropout=self.dropout,
            networks=head.answers,
        )

    def augmentation(self) -> Augmentation | None:
        """Random elements of the group, where `group_augment` asks for them."""
        from graphws.zoo.augmentations import RandomElement

        return RandomElement() if self.group_augment else None
