"""A representation of networks, learned without labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Tag

from graphws.spec.heads import HeadSection
from graphws.spec.models import ModelSection
from graphws.spec.preparation import Augment
from graphws.spec.section import ONE_OR_LIST, Count, Positive, Text
from graphws.spec.tasks.section import TaskSection
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation, duplicates

if TYPE_CHECKING:
    from torch import nn

    from graphws.tasks import Task, TaskData


class RepresentationTask(TaskSection):
    """Vectors of networks, learned by contrasting random views of them (paper D, section 7, table 2); NT-Xent.

    Views have the noise and the dropout of `augment`.  A linear probe judges the vectors; the training sees no target.
    """

    takes_noise = True
    kind: Annotated[Literal["representation"], Field(description="Embed networks, learned without labels.")]
    target: Annotated[
        Annotated[Text, Tag("one")] | Annotated[tuple[Text, ...], Field(min_length=1), Tag("list")],
        ONE_OR_LIST,
        Field(description="Column of the zoo's table, or a list of them, that a linear probe tells from the "
              "representation. Only the choice of epoch and learning rate sees them."),
    ]  # fmt: skip
    temperature: Annotated[Positive, Field(description="What similarities are divided by in the loss.")] = 0.1
    positives: Annotated[
        Literal["views", "original"],
        Field(description="What is to be alike: two random views of a network (views), or the network itself and one "
              "view (original)."),
    ] = "views"  # fmt: skip
    projection: Annotated[
        tuple[Count, ...],
        Field(description="Widths of a perceptron between representation and loss, the last one that of its output, "
              "which only training uses; []: the loss is of the representation itself."),
    ] = ()  # fmt: skip

    def question(self) -> str:
        """How alike networks are."""
        return "How do networks lie beside each other?"

    def columns(self) -> tuple[str, ...]:
        """The columns, also where the spec names only one."""
        return self.target if isinstance(self.target, tuple) else (self.target,)

    def metrics(self) -> tuple[str, ...]:
        """Of the probe, over all targets and, where there are several, of each."""
        names = self.columns()
        each = [f"probe_mse_{name.replace('.', '_')}" for name in names] if len(names) > 1 else []
        return ("probe_mse", "probe_r2", *each)

    def violations(self, at: Path) -> Iterator[Violation]:
        """Every column once; directions to compare."""
        for position, name in duplicates(self.columns()):
            yield Violation((*at, "target", position), f"{dotted((*at, 'target'))} names {name!r} twice")
        if self.projection and self.projection[-1] == 1:
            here = (*at, "projection", len(self.projection) - 1)
            yield Violation(here, f"{dotted(here)} is 1, but directions are compared: 2 numbers or more")

    def head_violations(self, head: HeadSection, at: Path) -> Iterator[Violation]:
        """A vector."""
        if head.size() == 1:
            here = (*at, "outputs")
            yield Violation(here, f"{dotted(here)} is 1, but a representation has directions: 2 numbers or more")

    def augment_violations(self, augment: Augment, at: Path) -> Iterator[Violation]:
        """Views differ."""
        if augment.noise == 0 and augment.dropout == 0:
            what = f"{dotted((*at, 'kind'))} is representation, but augment.noise and augment.dropout are 0"
            yield Violation((*at, "kind"), f"{what}: all views of a network would be the same")

    def model_violations(self, model: ModelSection, at: Path) -> Iterator[Violation]:
        """It learns from gradients, as there are no answers to fit."""
        if not model.descends:
            here = (*at, "kind")
            what = f"{dotted(here)} is {model.kind}, which is fitted to answers; a representation has none"
            yield Violation(here, f"{what}; take a model that learns by gradients")

    def completed(self, model: nn.Module, head: HeadSection) -> nn.Module:
        """With the projection and the probe."""
        from graphws.models import Represented

        return Represented(model, _size(head), len(self.columns()), self.projection)

    def build(self, head: HeadSection, augment: Augment, data: TaskData) -> Task:
        """NT-Xent of the views that `augment` says."""
        from graphws.tasks import Representation, probed_targets

        size, names = _size(head), self.columns()
        probed_targets(data.targets[data.training], names)
        projected = self.projection[-1] if self.projection else size
        return Representation(
            size, projected, names, data.measure, augment.noise, augment.dropout, self.temperature, self.positives
        )


def _size(head: HeadSection) -> int:
    size = head.size()
    assert size is not None
    return size
