"""``model: {kind: unchanged}``: no change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.errors import UsageError
from graphws.spec.heads import HeadSection
from graphws.spec.models import ModelSection, Networks
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from torch import nn

_ONLY = "leaves networks as they are, so its head must return networks; take `head: {kind: equivariant}`"


class UnchangedModel(ModelSection):
    """No change: what a task that returns networks is worth without one.  Nothing of `train` but the seeds counts."""

    kind: Annotated[Literal["unchanged"], Field(description="Leaves networks as they are, and learns nothing.")]

    def architecture_violations(self, number: int, at: Path) -> Iterator[Violation]:
        """Any will do."""
        yield from ()

    def head_violations(self, head: HeadSection, at: Path) -> Iterator[Violation]:
        """Networks are returned."""
        if head.size() is not None:
            yield Violation((*at, "kind"), f"{dotted(at)} {_ONLY}, got {head.kind!r}")

    def build(self, graph: Networks, head: HeadSection) -> nn.Module:
        """A `graphws.models.Unchanged`."""
        from graphws.models import Unchanged

        if head.size() is not None:
            raise UsageError(f"a model of the kind 'unchanged' {_ONLY}, got {head.kind!r}")
        return Unchanged(head.answers)
