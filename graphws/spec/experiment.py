"""``experiment``: a network trained on data with a symmetry, and how the symmetry acts inside it (paper I, section 6).

Another kind of job than reading networks: a spec with this section needs none of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, Tag

from graphws.spec.section import (
    ONE_OR_LIST,
    Count,
    Natural,
    NetworkActivation,
    NotNegative,
    Positive,
    Probability,
    Section,
)
from graphws.spec.sources import PICTURE_SOURCES, DigitsSource, SourceSection
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

MOVES = {
    "mirror": "a mirror",
    "flip": "a flip",
    "transpose": "the exchange of rows and columns",
    "rotations": "a quarter turn",
    "dihedral": "the group of turns and mirrors",
}
ROLES = {"autoencoder": "an autoencoder", "classifier": "a classifier"}


class PictureSection(Section):
    """What a network sees of a picture: a square crop, averaged to a small grid.

    In training the crop is somewhere in the picture, moved by a random element of the group and changed in light and
    colour; in tests it is the one in the middle, as it is.
    """

    size: Annotated[Count, Field(description="Rows and columns that the network sees.")] = 14
    crop: Annotated[Positive, Field(le=1, description="Side of the crop, as a fraction of the picture's.")] = 0.875
    jitter: Annotated[
        Probability, Field(description="How far brightness and contrast vary, as a fraction; colours vary half as far.")
    ] = 0.2
    test: Annotated[
        Positive, Field(lt=1, description="Fraction of the pictures kept for tests; unused if the data say which.")
    ] = 0.2

    def crop_side(self, side: int) -> int:
        """Pixels along the side of a crop, which is to have a place in the very middle of the picture.

        >>> PictureSection().crop_side(32), PictureSection().crop_side(28), PictureSection(crop=1.0).crop_side(8)
        (28, 24, 8)
        """
        taken = round(self.crop * side)
        return taken - (side - taken) % 2


class AttentionSection(Section):
    """Attention in place of the first linear layer: one learned query asks all patches of the picture."""

    heads: Annotated[Count, Field(description="Heads; they divide the first of `hidden`.")] = 8
    patch: Annotated[Count, Field(description="Side of the square patches, in pixels; it divides `size`.")] = 2


class PictureNetwork(Section):
    """The network; the data and the task give its inputs and outputs."""

    hidden: Annotated[
        tuple[Count, ...], Field(min_length=1, description="Features of each hidden layer, first to last.")
    ] = (64, 256, 256)
    activation: Annotated[
        Annotated[NetworkActivation, Tag("one")]
        | Annotated[tuple[NetworkActivation, ...], Field(min_length=1), Tag("list")],
        ONE_OR_LIST,
        Field(description="Activation of the hidden layers: one for all, or a list with one for each."),
    ] = ("tanh", "gelu", "gelu")
    attention: Annotated[
        AttentionSection | None, Field(description="Attention as the first layer; null: the first layer is linear.")
    ] = None

    @property
    def activations(self) -> tuple[str, ...]:
        """One activation for each hidden layer."""
        return self.activation if isinstance(self.activation, tuple) else (self.activation,) * len(self.hidden)

    def violations(self, at: Path) -> Iterator[Violation]:
        """An activation for every hidden layer; heads that divide the first."""
        count, given = len(self.hidden), len(self.activations)
        if count != given:
            what = f"{dotted(at)} has {count} hidden layers and {given} activations; give one for all, or one each"
            yield Violation((*at, "activation"), what)
        if self.attention is not None and self.hidden[0] % self.attention.heads:
            here, heads = (*at, "attention", "heads"), self.attention.heads
            what = f"{dotted(here)} is {heads}, which does not divide the {self.hidden[0]} features of its layer"
            yield Violation(here, what)


class SymmetryTraining(Section):
    """AdamW on the loss of paper I, equation 22, with a learning rate that a cosine takes to zero."""

    steps: Annotated[Count, Field(description="Steps of the training; the equivariance loss begins after half.")] = (
        13_000
    )
    batch_size: Annotated[Count, Field(description="Pictures per step, drawn with replacement.")] = 4096
    lr: Annotated[Positive, Field(description="Learning rate at the start.")] = 1e-3
    weight_decay: Annotated[
        NotNegative, Field(description="Decoupled: each step shrinks weights by this times the learning rate.")
    ] = 0.99
    equivariance: Annotated[
        NotNegative,
        Field(
            description="Weight of the equivariance loss in the second half; paper I: 5 for autoencoders, else 1. "
            "0: none, only the pictures are moved."
        ),
    ] = 5.0
    seed: Annotated[Natural, Field(description="Of the start, the batches, the crops and the changes of light.")] = 0
    check_every: Annotated[
        Count,
        Field(description="Steps between two looks at the test pictures; each look saves what a stop would lose."),
    ] = 250
    threads: Annotated[
        Count | None, Field(description="Processor threads of one operation; null: as many as PyTorch takes.")
    ] = None


class SymmetryExperiment(Section):
    """Train a network on pictures, with a loss that rewards equivariance, and find how the group acts inside it."""

    kind: Annotated[Literal["symmetry"], Field(description="A network trained on data with a symmetry.")]
    source: Annotated[SourceSection, PICTURE_SOURCES, Field(description="The pictures.")] = Field(
        default_factory=lambda: DigitsSource(kind="digits")
    )
    pictures: Annotated[PictureSection, Field(description="What the network sees of them.")] = Field(
        default_factory=PictureSection
    )
    group: Annotated[
        Literal["mirror", "flip", "transpose", "rotations", "dihedral"],
        Field(description="Moves of the pictures: left and right, or top and bottom, or rows and columns exchanged; "
              "quarter turns; turns and mirrors."),
    ] = "mirror"  # fmt: skip
    task: Annotated[
        Literal["autoencoder", "classifier"],
        Field(description="autoencoder: return the picture, which moves with the input; classifier: name its class."),
    ] = "autoencoder"
    network: Annotated[PictureNetwork, Field(description="The network.")] = Field(default_factory=PictureNetwork)
    train: Annotated[SymmetryTraining, Field(description="How it is trained.")] = Field(
        default_factory=SymmetryTraining
    )
    probes: Annotated[
        Count, Field(ge=4, description="Test pictures on which layers are measured when the action is looked for.")
    ] = 2000
    decoys: Annotated[
        Natural, Field(le=50, description="Groups that the network has no reason to know, measured beside it.")
    ] = 3

    def question(self) -> str:
        """What is asked of the network, for the head of a page."""
        return f"How does {MOVES[self.group]} act inside {ROLES[self.task]}?"

    def violations(self, at: Path) -> Iterator[Violation]:
        """Pictures are large enough for the grid, and the grid divides into patches."""
        pictures, attention = self.pictures, self.network.attention
        if attention is not None and pictures.size % attention.patch:
            here = (*at, "network", "attention", "patch")
            what = f"{dotted(here)} is {attention.patch}, which does not divide the {pictures.size} pixels"
            yield Violation(here, f"{what} of {dotted((*at, 'pictures', 'size'))}")
        side = self.source.side()
        if side is not None and pictures.crop_side(side) < pictures.size:
            here, crop = (*at, "pictures", "size"), pictures.crop_side(side)
            what = (
                f"{dotted(here)} is {pictures.size}, but a crop of {pictures.crop:g} of {side} pixels has only {crop}"
            )
            yield Violation(here, what)
