"""``preprocess`` and ``augment``: what is done to networks before a model reads them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from graphws.spec.section import Flag, NotNegative, Probability, Section


class Preprocess(Section):
    """Done once to every network, exactly and without changing its function or its meaning to the model."""

    gauge: Annotated[
        Literal["none", "canonical"],
        Field(
            description="canonical: fix the symmetries that the layers do not know, signs of sine and tanh neurons "
            "(hidden biases ≥ 0) and scales of ReLU neurons (unit incoming norm)."
        ),
    ] = "none"
    normalize: Annotated[
        Flag, Field(description="Subtract the mean and divide by the deviation of every orbit over the training part.")
    ] = True


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
