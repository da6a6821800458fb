"""``zoo.source``: the data of which every sample becomes one network."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from graphws.spec.section import Count, NotNegative, OneOf, Positive, Section, Text

_PLACE = "relative to the folder where graphws is started"


class SourceSection(Section):
    """What all sources share."""

    coordinates: ClassVar[int | None] = None
    """Inputs of a network that represents a sample: 2 for a picture, 1 for a wave; None where only the data tell."""
    values: ClassVar[int | None] = None
    """Outputs of such a network: 1 for grey, 3 for colour; None where only the data tell."""

    limit: Annotated[
        Count | None, Field(description="Use only the first so many samples of each part (train, test); null for all.")
    ] = None


class DigitsSource(SourceSection):
    """scikit-learn's 1,797 handwritten digits, 8×8, real and bundled."""

    coordinates = 2
    values = 1
    kind: Annotated[Literal["digits"], Field(description="scikit-learn's 1,797 handwritten digits, 8×8, bundled.")]


class IdxSource(SourceSection):
    """Pictures and labels in IDX files (MNIST, Fashion-MNIST), plain or gzip; the test set stays the test set."""

    coordinates = 2
    values = 1
    kind: Annotated[Literal["idx"], Field(description="IDX files, as of MNIST and Fashion-MNIST, plain or gzip.")]
    train_images: Annotated[Text, Field(description=f"IDX file of the training pictures, {_PLACE}.")]
    train_labels: Annotated[Text, Field(description="IDX file of their labels.")]
    test_images: Annotated[Text, Field(description="IDX file of the test pictures.")]
    test_labels: Annotated[Text, Field(description="IDX file of their labels.")]


class Cifar10Source(SourceSection):
    """CIFAR-10's original python batches; the test batch stays the test set."""

    coordinates = 2
    values = 3
    kind: Annotated[Literal["cifar10"], Field(description="CIFAR-10's original batches.")]
    path: Annotated[Text, Field(description=f"Folder or archive of the batches, {_PLACE}.")]


class PicturesSource(SourceSection):
    """A zip or folder of pictures, one folder a class."""

    coordinates = 2
    kind: Annotated[Literal["pictures"], Field(description="Picture files, one folder a class.")]
    path: Annotated[Text, Field(description=f"Zip or folder that holds one folder a class, {_PLACE}.")]
    test_path: Annotated[
        Text | None,
        Field(description="Another one with the test set; null: `path` holds it, in a folder test, or none."),
    ] = None
    size: Annotated[
        Count | None, Field(description="Side in pixels to which pictures are scaled; null keeps their size.")
    ] = None


class SineSource(SourceSection):
    """Sine waves a·sin(b·x) on [−π, π] with random amplitude a and frequency b (paper D, section 7 and appendix J)."""

    coordinates = 1
    values = 1
    kind: Annotated[Literal["sine"], Field(description="Random sine waves a·sin(b·x) on [−π, π].")]
    count: Annotated[Count, Field(description="Number of waves.")] = 1000
    amplitude: Annotated[
        tuple[NotNegative, NotNegative], Field(description="Least and greatest amplitude a, drawn uniformly.")
    ] = (1.0, 1.0)
    frequency: Annotated[
        tuple[Positive, Positive], Field(description="Least and greatest frequency b, drawn uniformly.")
    ] = (0.5, 10.0)
    points: Annotated[Count, Field(ge=2, description="Points of the grid on which a wave is fitted.")] = 2000


Source = Annotated[
    DigitsSource | IdxSource | Cifar10Source | PicturesSource | SineSource,
    OneOf("graphws.sources", DigitsSource, IdxSource, Cifar10Source, PicturesSource, SineSource),
]
