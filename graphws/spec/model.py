"""``model``: what reads the networks, up to its head."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from graphws.messages import Family
from graphws.pooling import Pool
from graphws.spec.messages import Message
from graphws.spec.section import Activation, Count, Flag, OneOf, Positive, Probability, Section

Norm = Literal["batch", "layer", "none"]


class Blocks(Section):
    """Which families of blocks a layer has (paper D, tables 5 to 8).

    full: every pair of parameters; diagonal: only pairs that share a set of neurons (paper D, K.3); none: no pair.
    """

    weight_to_weight: Annotated[Family, Field(description="Blocks from weights to weights.")] = "full"
    weight_to_bias: Annotated[Family, Field(description="Blocks from weights to biases.")] = "full"
    bias_to_weight: Annotated[Family, Field(description="Blocks from biases to weights.")] = "full"
    bias_to_bias: Annotated[Family, Field(description="Blocks from biases to biases.")] = "full"


class DwsnetModel(Section):
    """Equivariant layers on the weights (paper D): a layer is a list of messages, as `blocks` or spelled out."""

    kind: Annotated[Literal["dwsnet"], Field(description="Equivariant layers on the weights.")]
    layers: Annotated[Count, Field(description="Equivariant layers before the head.")] = 4
    channels: Annotated[Count, Field(description="Channels of every parameter between the layers.")] = 32
    blocks: Annotated[Blocks | None, Field(description="Families of blocks; null: all full. Excludes `messages`.")] = (
        None
    )
    messages: Annotated[
        tuple[Message, ...] | None,
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


class MlpModel(Section):
    """A multilayer perceptron on the flattened weights: the baseline that does not know the symmetry."""

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


Model = Annotated[DwsnetModel | MlpModel, OneOf("graphws.models", DwsnetModel, MlpModel)]
