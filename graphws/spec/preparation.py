"""``preprocess`` and ``augment``: what is done to networks before a model reads them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from graphws.spec.section import Count, Flag, Natural, NotNegative, Probability, Section
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

WORD_OR_OPTIONS = Discriminator(lambda value: "word" if isinstance(value, str) else "options")


class Align(Section):
    """One order of neurons for all networks: each is matched to a reference (paper D, appendix J: MLP + alignment).

    The reference is the mean of some training networks, each of which was matched in turn to the mean of the others
    (MergeMany of git re-basin).  Validation and test networks, and those that are asked about later, are matched to the
    same reference.
    """

    networks: Annotated[
        Count, Field(ge=2, description="How many training networks, drawn at random, the reference is made of.")
    ] = 1000
    iterations: Annotated[
        Count,
        Field(
            description="At most so many rounds in which each of them is matched to the mean of the others; a round "
            "that brings them less than 0.1 % closer is the last."
        ),
    ] = 20
    group: Annotated[
        Literal["permutation", "rich"],
        Field(
            description="What may move a network: permutations of neurons; or rich, also the signs, scales and "
            "matrices that its activations allow."
        ),
    ] = "permutation"
    seed: Annotated[Natural, Field(description="Of the draw and of the order in which networks are matched.")] = 0


class Preprocess(Section):
    """Done once to every network, exactly and without changing its function or its meaning to the model."""

    gauge: Annotated[
        Literal["none", "canonical"],
        Field(
            description="canonical: fix the symmetries that the layers do not know, signs of sine and tanh neurons "
            "(hidden biases ≥ 0) and scales of ReLU neurons (unit incoming norm)."
        ),
    ] = "none"
    align: Annotated[
        Annotated[Literal["none"], Tag("word")] | Annotated[Align, Tag("options")],
        WORD_OR_OPTIONS,
        Field(
            description="Bring the neurons of all networks to one order, for models that do not know the symmetry; "
            "none leaves them as they are. After the gauge; random changes of training networks come later and are "
            "not aligned again."
        ),
    ] = "none"
    normalize: Annotated[
        Flag, Field(description="Subtract the mean and divide by the deviation of every orbit over the training part.")
    ] = True

    def violations(self, at: Path) -> Iterator[Violation]:
        """Signs and scales are chosen once."""
        if self.gauge != "none" and isinstance(self.align, Align) and self.align.group == "rich":
            here = (*at, "align", "group")
            what = f"{dotted(here)} is rich, which chooses signs and scales that {dotted((*at, 'gauge'))} fixes too"
            yield Violation(here, f"{what}; take one of the two")


class Augment(Section):
    """Random changes of the training networks, new in every epoch; the stored data stay as they are (paper D, app. J).

    Rotation, translation and scaling change the represented picture by changing the first layer exactly.
    """

    noise: Annotated[
        NotNegative,
        Field(description="Deviation of Gaussian noise on the weights, in units of each orbit's deviation."),
    ] = 0.0
    dropout: Annotated[Probability, Field(description="Fraction of weights set to zero.")] = 0.0
    group: Annotated[Flag, Field(description="Relabel the neurons at random; equivariant models cannot tell.")] = False
    rotation: Annotated[
        NotNegative, Field(le=180, description="Greatest angle of a random rotation of the picture, in degrees.")
    ] = 0.0
    translation: Annotated[
        NotNegative, Field(description="Greatest random shift, in the units of the coordinates; a picture spans 2.")
    ] = 0.0
    scaling: Annotated[
        Probability, Field(description="Greatest random change of size: a factor between 1/(1 + s) and 1 + s.")
    ] = 0.0
