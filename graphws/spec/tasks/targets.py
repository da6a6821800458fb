"""``task.target`` of the kind functional: what the returned network should compute."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec.kinds import Kinds
from graphws.spec.section import Count, Flag, Natural, NotNegative, Number, Positive, Probability, Section, Text
from graphws.spec.sources import PICTURE_SOURCES, DigitsSource, SourceSection
from graphws.spec.tasks.edits import EDITS, DilateEdit, EditSection
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation, duplicates

if TYPE_CHECKING:
    from graphws.tasks import Task, TaskData
    from graphws.zoo.sources.labelled_pictures import Pictures


class TargetSection(Section):
    """What all targets share."""

    kind: Annotated[str, Field(description="What the returned network should compute.")]

    def columns(self) -> tuple[str, ...]:
        """The columns of the zoo's table that are read; by default none."""
        return ()

    def metrics(self) -> tuple[str, ...] | None:
        """Names of what is measured; None where only the built task tells."""
        return None

    def network_violations(self, widths: Sequence[int | None] | None, at: Path) -> Iterator[Violation]:
        """What of the networks, as far as the spec tells, does not fit; by default nothing."""
        yield from ()

    def ready(self) -> None:
        """Reads what is needed beside the zoo; by default nothing.

        Raises:
            DataError: Where it is missing or damaged.
        """

    @abstractmethod
    def build(self, networks: int, data: TaskData) -> Task:
        """The task.

        Args:
            networks: How many the model returns for one.
            data: What is known of those that it reads.

        Raises:
            DataError: On networks that compute something else.
        """


class AdaptTarget(TargetSection):
    """Classifiers that name the classes of corrupted pictures (paper D, section 7, table 3)."""

    kind: Annotated[Literal["adapt"], Field(description="Classifiers, to name the classes of corrupted pictures.")]
    data: Annotated[
        SourceSection,
        PICTURE_SOURCES,
        Field(
            description="The pictures; their training part is learnt from, the networks are judged on the test part."
        ),
    ] = Field(default_factory=lambda: DigitsSource(kind="digits"))
    held_out: Annotated[
        Positive, Field(lt=1, description="Fraction of the pictures kept for tests; unused if the data say which.")
    ] = 0.2
    classes: Annotated[
        tuple[Text, ...] | None,
        Field(
            min_length=1,
            description="Columns of the zoo's table with the classes that a network knows, [class_a, class_b]: it gets "
            "pictures of these only; null: of all.",
        ),
    ] = None
    rotation: Annotated[
        NotNegative, Field(le=180, description="Greatest angle of a random turn of a picture, in degrees.")
    ] = 30.0
    flip: Annotated[Flag, Field(description="Exchange left and right in half of the pictures.")] = True
    noise: Annotated[
        NotNegative, Field(description="Deviation of Gaussian noise on pixels, which run from 0 to 1.")
    ] = 0.1
    jitter: Annotated[
        Probability, Field(description="How far brightness and contrast vary, as a fraction; colours vary half as far.")
    ] = 0.4
    batch: Annotated[Count, Field(description="Pictures that each network is shown in a step, drawn anew.")] = 128
    pictures: Annotated[
        Count, Field(description="Pictures that each network is judged on, at most; always the same.")
    ] = 200
    mean: Annotated[Number, Field(description="What networks read is (pixel - mean) / deviation.")] = 0.0
    deviation: Annotated[Positive, Field(description="By which pixels are divided, as in the networks' training.")] = (
        1.0
    )
    seed: Annotated[Natural, Field(description="Of the changes of the pictures that networks are judged on.")] = 0

    def metrics(self) -> tuple[str, ...]:
        """Accuracy."""
        return ("accuracy",)

    def columns(self) -> tuple[str, ...]:
        """Those of the classes."""
        return self.classes or ()

    def violations(self, at: Path) -> Iterator[Violation]:
        """Every column once."""
        for position, name in duplicates(self.columns()):
            yield Violation((*at, "classes", position), f"{dotted((*at, 'classes'))} names {name!r} twice")

    def network_violations(self, widths: Sequence[int | None] | None, at: Path) -> Iterator[Violation]:
        """Networks read as many numbers as a picture has."""
        side, channels = self.data.side(), self.data.values
        if not widths or widths[0] is None or side is None or channels is None:
            return
        if widths[0] != channels * side * side:
            here = (*at, "data")
            what = f"pictures of {channels}x{side}x{side} numbers, but the networks have {widths[0]} inputs"
            yield Violation(here, f"{dotted(here)} gives {what}")

    @cached_property
    def loaded(self) -> Pictures:
        """The pictures, read once for all models of a run."""
        from graphws.zoo.sources.labelled_pictures import pictures_from

        return pictures_from(self.data.build(), self.held_out)

    def ready(self) -> None:
        """Reads the pictures."""
        _ = self.loaded

    def build(self, networks: int, data: TaskData) -> Task:
        """Cross entropy of what the returned network says of corrupted pictures."""
        from graphws.tasks import Adaptation
        from graphws.zoo.picture_changes import Corruption

        assert data.graph is not None
        assert data.restore is not None
        return Adaptation(
            data.deviation,
            data.graph,
            data.restore,
            networks,
            lambda: self.loaded,
            Corruption(self.rotation, self.flip, self.jitter, self.noise),
            batch=self.batch,
            judged=self.pictures,
            mean=self.mean,
            spread=self.deviation,
            seed=self.seed,
        )


class EditTarget(TargetSection):
    """Networks that draw an edited picture, edited from what the given ones draw."""

    kind: Annotated[Literal["edit"], Field(description="Networks that draw pictures, to draw them edited.")]
    change: Annotated[EditSection, EDITS, Field(description="What is done to the picture.")] = Field(
        default_factory=lambda: DilateEdit(kind="dilate")
    )
    side: Annotated[Count, Field(ge=2, description="Rows and columns of the grid on which networks draw.")] = 28

    def metrics(self) -> tuple[str, ...]:
        """Of the picture."""
        return ("mse",)

    def network_violations(self, widths: Sequence[int | None] | None, at: Path) -> Iterator[Violation]:
        """Networks read points of the plane."""
        if widths and widths[0] not in (None, 2):
            here = (*at, "kind")
            yield Violation(
                here, f"{dotted(here)} is edit: networks with 2 inputs draw pictures, but these have {widths[0]}"
            )

    def build(self, networks: int, data: TaskData) -> Task:
        """Squared error of the picture."""
        from graphws.tasks import Editing

        assert data.graph is not None
        assert data.restore is not None
        return Editing(data.deviation, data.graph, data.restore, networks, self.change.build(), self.side)


TARGETS = Kinds("graphws.targets", TargetSection, AdaptTarget, EditTarget)
