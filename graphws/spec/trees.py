"""``model: {kind: trees}``: gradient-boosted trees on weight statistics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.errors import UsageError
from graphws.spec.heads import HeadSection
from graphws.spec.models import ModelSection, Networks
from graphws.spec.section import Count, Positive
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from torch import nn

_ONLY = "trees return numbers, not networks; take `head: {kind: invariant}`"


class TreesModel(ModelSection):
    """Gradient-boosted trees on statistics of the weights, by role where there are several architectures.

    They are grown once: of `train` only the seeds count.
    """

    descends = False
    kind: Annotated[Literal["trees"], Field(description="Gradient-boosted trees on statistics of the weights.")]
    estimators: Annotated[Count, Field(description="Trees for each output.")] = 200
    depth: Annotated[Count, Field(le=12, description="Levels of a tree.")] = 3
    lr: Annotated[Positive, Field(description="Factor on each tree.")] = 0.1
    subsample: Annotated[
        float, Field(gt=0, le=1, description="Fraction of the networks that each tree is grown on, drawn at random.")
    ] = 0.7

    def architecture_violations(self, number: int, at: Path) -> Iterator[Violation]:
        """Statistics are of roles where there are several."""
        yield from ()

    def head_violations(self, head: HeadSection, at: Path) -> Iterator[Violation]:
        """Numbers are returned."""
        if head.size() is None:
            yield Violation((*at, "kind"), f"{dotted(at)}: {_ONLY}, got {head.kind!r}")

    def build(self, graph: Networks, head: HeadSection) -> nn.Module:
        """A `graphws.models.BoostedTrees`; of the head only the number of outputs counts."""
        from graphws.models import BoostedTrees

        size = head.size()
        if size is None:
            raise UsageError(f"{_ONLY}, got {head.kind!r}")
        return BoostedTrees(graph, size, self.estimators, self.depth, self.lr, self.subsample)
