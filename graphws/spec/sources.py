"""``zoo.source``: the data of which every sample becomes one network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from graphws.spec.kinds import Kinds
from graphws.spec.section import Count, Natural, NotNegative, Section, Text
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation
from graphws.spec.zoo_source import ZooSource

if TYPE_CHECKING:
    from graphws.graph import NetworkGraph
    from graphws.spec.zoo import ZooSection
    from graphws.zoo import SignalFitting
    from graphws.zoo.sources import Limit, Samples

COLUMNS = ("sample", "view", "split", "loss", "psnr", "steps")
"""Columns of the table of every zoo of signals; the source adds its own."""

_PLACE = "relative to the folder where graphws is started"


class LimitSection(Section):
    """So many samples of the training part and so many of the test part; a part that has fewer stays whole."""

    train: Annotated[
        Count | None,
        Field(description="So many of the training part, from which validation is taken as well; null for all."),
    ] = None
    test: Annotated[Count | None, Field(description="So many of the source's own test part; null for all.")] = None
    seed: Annotated[
        Natural | None,
        Field(description="Draws them at random, a smaller number from among those of a larger; null: the first."),
    ] = None

    def build(self) -> Limit:
        """The limit."""
        from graphws.zoo.sources import Limit

        return Limit(**self.model_dump())


def _is_section(value: Any) -> str:
    return "section" if isinstance(value, dict | Section) else "number"


class SourceSection(ZooSource):
    """What all sources of signals share: every sample becomes one network, or several.

    Attributes:
        coordinates: Inputs of a network that represents a sample: 2 for a picture, 1 for a wave; None where only the
            data tell.
        values: Outputs of such a network: 1 for grey, 3 for colour; None where only the data tell.
        columns: What the source adds to the zoo's table; None where only the data tell.
        own_test: Whether the source has a test part of its own; None where only the data tell.
    """

    coordinates: ClassVar[int | None] = None
    values: ClassVar[int | None] = None
    columns: ClassVar[tuple[str, ...] | None] = None
    own_test: ClassVar[bool | None] = None
    uses = ("network", "fit")

    kind: Annotated[str, Field(description="Where the samples come from.")]
    limit: Annotated[
        Annotated[
            Annotated[Count, Tag("number")] | Annotated[LimitSection, Tag("section")],
            Discriminator(_is_section),
        ]
        | None,
        Field(
            description="Use only the first so many samples of the training part, and as many of the source's own test "
            "part where it has one; {train: …, test: …, seed: …} for each its own number, or a random draw; null for "
            "all. The first are those of the source's order; of pictures in class folders, the first of every class, "
            "then the second of every class, and so on."
        ),
    ] = None

    def side(self) -> int | None:
        """Pixels along the side of its pictures; None where there are none, or only the data tell."""
        return None

    def length(self) -> int | None:
        """Points along the longer side of the grid that samples are known at; None where only the data tell."""
        return self.side()

    def limits(self) -> int | Limit | None:
        """What the loaders of samples take as their limit."""
        return self.limit.build() if isinstance(self.limit, LimitSection) else self.limit

    def violations(self, at: Path) -> Iterator[Violation]:
        """What has no test part has nothing of it to count."""
        if self.own_test is False and isinstance(self.limit, LimitSection) and self.limit.test is not None:
            here = (*at, "limit", "test")
            yield Violation(
                here, f"{dotted(here)}: the source {self.kind} has no test part of its own; give train alone"
            )

    @abstractmethod
    def build(self) -> Samples:
        """The samples.

        Raises:
            DataError: When the data are missing, damaged or not what they claim to be.
        """

    def settle(self, content: dict[str, Any], zoo: ZooSection) -> None:
        """The frequency that the grid gives, and a limit as it is counted."""
        assert zoo.network is not None
        content["network"]["omega"] = zoo.network.frequency(self.length())
        if isinstance(self.limit, int):
            content["source"]["limit"] = {"train": self.limit, "test": self.limit, "seed": None}

    def zoo_columns(self) -> tuple[str, ...] | None:
        """The source's own, and those of the fit."""
        return None if self.columns is None else (*self.columns, *COLUMNS)

    def zoo_widths(self, zoo: ZooSection) -> tuple[int | None, ...]:
        """As ``zoo.network`` says, between the data's inputs and outputs."""
        assert zoo.network is not None
        return (self.coordinates, *zoo.network.hidden, self.values)

    def zoo_graph(self, zoo: ZooSection) -> NetworkGraph:
        """As ``zoo.network`` says."""
        assert zoo.network is not None
        return zoo.network.build(self.build()).graph()

    def fitting(self, zoo: ZooSection) -> SignalFitting:
        """The samples, fitted as the sections ``network`` and ``fit`` say."""
        from graphws.zoo import SignalFitting

        assert zoo.network is not None
        assert zoo.fit is not None
        samples = self.build()
        return SignalFitting(samples, zoo.network.build(samples), zoo.fit.build(), zoo.split.build())


class DigitsSource(SourceSection):
    """scikit-learn's 1,797 handwritten digits, 8×8, real and bundled."""

    coordinates = 2
    values = 1
    columns = ("label",)
    own_test = False
    kind: Annotated[Literal["digits"], Field(description="scikit-learn's 1,797 handwritten digits, 8×8, bundled.")]

    def side(self) -> int:
        """8."""
        return 8

    def build(self) -> Samples:
        """The digits."""
        from graphws.zoo.sources import load_digits

        return load_digits(limit=self.limits())


class IdxSource(SourceSection):
    """Pictures and labels in IDX files (MNIST, Fashion-MNIST), plain or gzip; the test set stays the test set.

    MNIST's four files are on yann.lecun.com/exdb/mnist, Fashion-MNIST's on github.com/zalandoresearch/fashion-mnist.
    """

    coordinates = 2
    values = 1
    columns = ("label",)
    own_test = True
    kind: Annotated[
        Literal["idx"],
        Field(
            description="IDX files, plain or gzip, as of MNIST (yann.lecun.com/exdb/mnist) and Fashion-MNIST "
            "(github.com/zalandoresearch/fashion-mnist), which you download yourself."
        ),
    ]
    train_images: Annotated[Text, Field(description=f"IDX file of the training pictures, {_PLACE}.")]
    train_labels: Annotated[Text, Field(description="IDX file of their labels.")]
    test_images: Annotated[Text, Field(description="IDX file of the test pictures.")]
    test_labels: Annotated[Text, Field(description="IDX file of their labels.")]

    def build(self) -> Samples:
        """The pictures of the four files."""
        from graphws.zoo.sources import load_idx

        return load_idx(
            train_images=self.train_images,
            train_labels=self.train_labels,
            test_images=self.test_images,
            test_labels=self.test_labels,
            limit=self.limits(),
        )


class Cifar10Source(SourceSection):
    """CIFAR-10's original batches (cs.toronto.edu/~kriz/cifar.html); the test batch stays the test set."""

    coordinates = 2
    values = 3
    columns = ("label",)
    own_test = True
    kind: Annotated[
        Literal["cifar10"],
        Field(
            description="CIFAR-10's original batches, python or binary version, unpacked (cs.toronto.edu/~kriz/"
            "cifar.html), which you download yourself."
        ),
    ]
    path: Annotated[Text, Field(description=f"Folder of the batches, {_PLACE}.")]

    def side(self) -> int:
        """32."""
        return 32

    def build(self) -> Samples:
        """The pictures of the batches."""
        from graphws.zoo.sources import load_cifar10

        return load_cifar10(path=self.path, limit=self.limits())


class PicturesSource(SourceSection):
    """A zip or folder of pictures, one folder a class."""

    coordinates = 2
    columns = ("label", "file")
    kind: Annotated[
        Literal["pictures"], Field(description="Picture files of your own (PNG, JPEG, …), one folder a class.")
    ]
    path: Annotated[Text, Field(description=f"Zip or folder that holds one folder a class, {_PLACE}.")]
    test_path: Annotated[
        Text | None,
        Field(description="Another one with the test set; null: `path` holds it, in a folder test, or none."),
    ] = None
    size: Annotated[
        Count | None, Field(description="Side in pixels to which pictures are scaled; null keeps their size.")
    ] = None

    def side(self) -> int | None:
        """The size that pictures are scaled to."""
        return self.size

    def build(self) -> Samples:
        """The pictures."""
        from graphws.zoo.sources import load_pictures

        return load_pictures(path=self.path, test_path=self.test_path, size=self.size, limit=self.limits())


class SineSource(SourceSection):
    """Sine waves a·sin(b·x) on [−π, π] with random amplitude a and frequency b (paper D, section 7 and appendix J)."""

    coordinates = 1
    values = 1
    columns = ("amplitude", "frequency")
    own_test = False
    kind: Annotated[Literal["sine"], Field(description="Random sine waves a·sin(b·x) on [−π, π].")]
    count: Annotated[Count, Field(description="Number of waves.")] = 1000
    amplitude: Annotated[
        tuple[NotNegative, NotNegative], Field(description="Least and greatest amplitude a, drawn uniformly.")
    ] = (1.0, 1.0)
    frequency: Annotated[
        tuple[NotNegative, NotNegative], Field(description="Least and greatest frequency b, drawn uniformly.")
    ] = (0.5, 10.0)
    points: Annotated[Count, Field(ge=2, description="Points of the grid on which a wave is fitted.")] = 2000
    inputs: Annotated[
        Literal["unit", "radians"],
        Field(
            description="What a network reads. unit: x/π, from -1 to 1, which SIREN's start supposes; radians: x "
            "itself, as in paper D's zoos."
        ),
    ] = "unit"
    seed: Annotated[Natural, Field(description="Seed of the amplitudes and frequencies.")] = 0

    def length(self) -> int:
        """The points."""
        return self.points

    def violations(self, at: Path) -> Iterator[Violation]:
        """Ranges ascend and hold more than 0, of which a wave would be flat."""
        yield from super().violations(at)
        for name, (low, high) in (("amplitude", self.amplitude), ("frequency", self.frequency)):
            here = (*at, name)
            if low > high:
                yield Violation(here, f"{dotted(here)} runs from {low:g} down to {high:g}; write the smaller one first")
            elif high == 0:
                yield Violation(here, f"{dotted(here)} is 0 for every wave, which leaves nothing to fit")

    def build(self) -> Samples:
        """The waves; the same draws every time."""
        from graphws.zoo.sources import load_sine

        return load_sine(
            count=self.count,
            amplitude=self.amplitude,
            frequency=self.frequency,
            points=self.points,
            inputs=self.inputs,
            seed=self.seed,
            limit=self.limits(),
        )


PICTURE_SOURCES = Kinds(
    "graphws.sources", SourceSection, DigitsSource, IdxSource, Cifar10Source, PicturesSource, beside=ZooSource
)
"""Sources of pictures: what experiments can see."""
