"""``zoo.source: {kind: classifiers}``: a zoo of small networks that name the classes of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec.section import Activation, Count, Natural, NotNegative, Positive, Section
from graphws.spec.sources import PICTURE_SOURCES, DigitsSource, SourceSection
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation
from graphws.spec.zoo_source import ZooSource

if TYPE_CHECKING:
    from graphws.graph import NetworkGraph
    from graphws.spec.zoo import ZooSection
    from graphws.zoo.classifiers import ClassifierArchitecture, ClassifierFitting, Convolutions
    from graphws.zoo.sources.labelled_pictures import Pictures


class ConvolutionSection(Section):
    """Convolutions without padding, each followed by the activation; then the mean over all places."""

    channels: Annotated[
        tuple[Count, ...], Field(min_length=1, description="Channels that each convolution gives, first to last.")
    ] = (16, 16, 16)
    kernel: Annotated[Count, Field(description="Rows and columns of the kernels.")] = 3
    stride: Annotated[Count, Field(description="Step of the kernels.")] = 2

    def build(self) -> Convolutions:
        """The same for the zoo."""
        from graphws.zoo.classifiers import Convolutions

        return Convolutions(**self.model_dump())


class ClassifiersSource(ZooSource):
    """Networks that are trained to name the classes of pictures; the data give their inputs and outputs.

    Every training becomes one network of the zoo, or one for each checkpoint.  Its networks are measured on held-out
    pictures: the data's own test set, or a fraction.
    """

    kind: Annotated[Literal["classifiers"], Field(description="Classifiers, trained on pictures.")]
    data: Annotated[SourceSection, PICTURE_SOURCES, Field(description="The pictures that they are trained on.")] = (
        Field(default_factory=lambda: DigitsSource(kind="digits"))
    )
    held_out: Annotated[
        Positive,
        Field(lt=1, description="Fraction of the pictures kept for measuring the networks; unused if the data say."),
    ] = 0.2
    number: Annotated[Count, Field(description="Trainings.")] = 200
    pairs: Annotated[
        Literal["none", "random", "all"],
        Field(
            description="none: every network tells all classes apart; random: two that are drawn for it; all: every "
            "two in turn. Networks have an output for every class in any case."
        ),
    ] = "none"
    hidden: Annotated[
        tuple[Count, ...], Field(description="Neurons of each hidden linear layer; empty only with convolutions.")
    ] = (128, 128, 128)
    activation: Annotated[Activation, Field(description="Activation after every layer but the last.")] = "relu"
    convolutions: Annotated[
        ConvolutionSection | None,
        Field(description="Convolutions before the linear layers; null: an MLP of pixels."),
    ] = None
    steps: Annotated[Count | None, Field(description="Steps of Adam; give this or epochs.")] = None
    epochs: Annotated[
        Positive | None,
        Field(
            description="How often a network sees its pictures (of a pair of classes: those of an average pair), "
            "rounded up to whole steps; give this or steps."
        ),
    ] = None
    batch_size: Annotated[Count, Field(description="Pictures per step.")] = 128
    lr: Annotated[Positive, Field(description="Adam's learning rate.")] = 5e-3
    weight_decay: Annotated[
        NotNegative, Field(description="L2 penalty of weights and biases, added to the gradient (Adam's, not AdamW's).")
    ] = 0.0
    trajectory: Annotated[
        Count | None,
        Field(
            description="Steps between two checkpoints, each of which becomes a network of the zoo with what was then "
            "measured of it, as does the last; null: only the last."
        ),
    ] = None
    seed: Annotated[Natural, Field(description="Seed of the starts, the pairs and the orders of pictures.")] = 0

    def violations(self, at: Path) -> Iterator[Violation]:
        """A length is given, once; something is hidden; convolutions leave a place; there is a second checkpoint."""
        if (self.steps is None) == (self.epochs is None):
            what = "needs steps or epochs" if self.steps is None else "has steps and epochs; give one of them"
            yield Violation(at if self.steps is None else (*at, "epochs"), f"{dotted(at)} {what}")
        if not self.hidden and self.convolutions is None:
            here = (*at, "hidden")
            yield Violation(
                here, f"{dotted(here)} is empty: without hidden layers or convolutions nothing can be permuted"
            )
        if self.steps is not None and self.trajectory is not None and self.trajectory > self.steps:
            here = (*at, "trajectory")
            yield Violation(here, f"{dotted(here)} is {self.trajectory}, but a training has only {self.steps} steps")
        side = self.data.side()
        if self.convolutions is not None and side is not None and self.convolutions.build().side(side) < 1:
            here = (*at, "convolutions")
            yield Violation(here, f"{dotted(here)} leave no place of pictures of {side} pixels")

    def zoo_columns(self) -> tuple[str, ...]:
        """Training, checkpoint, split and step; the classes of a pair; what was measured."""
        pair = () if self.pairs == "none" else ("class_a", "class_b")
        return ("sample", "view", "split", "step", *pair, "accuracy", "loss", "error")

    def zoo_widths(self, zoo: ZooSection) -> tuple[int | None, ...] | None:
        """Those of an MLP; None with convolutions."""
        if self.convolutions is not None:
            return None
        side, channels = self.data.side(), self.data.values
        pixels = None if side is None or channels is None else side * side * channels
        return (pixels, *self.hidden, None)

    def zoo_graph(self, zoo: ZooSection) -> NetworkGraph:
        """The graph of the classifiers of the data's pictures."""
        return self._architecture(self._pictures()).graph()

    def fitting(self, zoo: ZooSection) -> ClassifierFitting:
        """The trainings."""
        from graphws.zoo.classifiers import ClassifierFitting, ClassifierOptions

        keys = ("number", "pairs", "batch_size", "lr", "weight_decay", "steps", "epochs", "trajectory", "seed")
        options = ClassifierOptions(**{key: getattr(self, key) for key in keys})
        pictures = self._pictures()
        return ClassifierFitting(
            pictures, self._architecture(pictures), options, zoo.split.build(), source=self.data.kind
        )

    def _pictures(self) -> Pictures:
        from graphws.zoo.sources.labelled_pictures import pictures_from

        return pictures_from(self.data.build(), self.held_out)

    def _architecture(self, pictures: Pictures) -> ClassifierArchitecture:
        from graphws.zoo.classifiers import ClassifierArchitecture

        channels, rows, columns = pictures.pixels.shape[1:]
        convolutions = None if self.convolutions is None else self.convolutions.build()
        return ClassifierArchitecture(
            (channels, rows, columns), pictures.classes, self.hidden, self.activation, convolutions
        )
