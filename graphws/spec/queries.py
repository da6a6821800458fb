"""``model: {kind: queries}``: the baseline that sees outputs alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.errors import UsageError
from graphws.spec.heads import HeadSection
from graphws.spec.models import Access, ModelSection, Networks, Scaling
from graphws.spec.networks import SpaceSketch
from graphws.spec.section import Count, Flag, Natural
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from torch import nn

_ONLY = "queries return numbers, not networks; take `head: {kind: invariant}`"


class QueriesModel(ModelSection):
    """Runs every network at the same points and reads its outputs: access by queries, not by weights.

    Networks of any architecture that run are read, several together where their outputs are of one length.
    """

    size_key = "width"
    kind: Annotated[Literal["queries"], Field(description="Outputs of the networks at points, and nothing else.")]
    points: Annotated[Count, Field(description="Points at which every network is run; a square where on a grid.")] = 64
    learned: Annotated[
        Flag, Field(description="Learn the points, from where they would be fixed; for floating inputs only.")
    ] = False
    readout: Annotated[
        Literal["mlp", "cnn"],
        Field(description="mlp: a perceptron on all outputs; cnn: 3×3 convolutions on the grid, for pictures."),
    ] = "mlp"
    layers: Annotated[Count, Field(description="Hidden layers or convolutions before the head.")] = 2
    width: Annotated[Count, Field(description="Neurons of a hidden layer, or channels of a convolution.")] = 256
    grid: Annotated[
        Flag,
        Field(description="Ask networks with 2 inputs on a regular grid over [-1, 1]². All others, and with false "
              "these, are asked at normal draws, for whole numbers at uniform ones."),
    ] = True  # fmt: skip
    seed: Annotated[Natural, Field(description="Of points that are drawn; the same for all seeds of `train`.")] = 0

    @property
    def scaling(self) -> Scaling:
        """Scaled weights are another function."""
        return "raw"

    @property
    def access(self) -> Access:
        """Outputs only."""
        return "queries"

    @property
    def reads_others(self) -> bool:
        """Networks with the same inputs and as many outputs; which these are the model says itself."""
        return True

    def violations(self, at: Path) -> Iterator[Violation]:
        """A CNN has its grid."""
        if self.readout == "cnn" and (self.learned or not self.grid):
            what = f"{dotted((*at, 'readout'))} is cnn, which reads a grid of outputs"
            given = f"{dotted((*at, 'learned'))} is true" if self.learned else f"{dotted((*at, 'grid'))} is false"
            yield Violation((*at, "readout"), f"{what}, but {given}; take `readout: mlp`")
        elif self.readout == "cnn":
            yield from self._no_square(at)

    def space_violations(self, spaces: Sequence[SpaceSketch], at: Path) -> Iterator[Violation]:
        """Pictures are asked on a square grid, and a CNN reads pictures only."""
        inputs = spaces[0].size if spaces else None
        if inputs is not None and inputs != 2 and self.readout == "cnn":
            here = (*at, "readout")
            yield Violation(here, f"{dotted(here)} is cnn, which reads networks with 2 inputs; these have {inputs}")
        if inputs == 2 and self.grid and self.readout == "mlp":  # of a cnn it is said already
            yield from self._no_square(at)

    def head_violations(self, head: HeadSection, at: Path) -> Iterator[Violation]:
        """Numbers are returned."""
        if head.size() is None:
            yield Violation((*at, "kind"), f"{dotted(at)}: {_ONLY}, got {head.kind!r}")

    def _no_square(self, at: Path) -> Iterator[Violation]:
        side = math.isqrt(self.points)
        if side * side != self.points:
            here = (*at, "points")
            near = f"{side * side} or {(side + 1) ** 2}"
            cure = f"take {near}" + (", or `grid: false`" if self.readout == "mlp" else "")
            yield Violation(here, f"{dotted(here)} is {self.points}, but a square grid has k·k points; {cure}")

    def architecture_violations(self, number: int, at: Path) -> Iterator[Violation]:
        """Architectures do not matter to outputs."""
        yield from ()

    def build(self, graph: Networks, head: HeadSection) -> nn.Module:
        """A `graphws.models.Queries`."""
        from graphws.models import Queries

        if head.size() is None:
            raise UsageError(f"{_ONLY}, got {head.kind!r}")
        return Queries(
            graph,
            head.build,
            points=self.points,
            learned=self.learned,
            readout=self.readout,
            layers=self.layers,
            width=self.width,
            grid=self.grid,
            seed=self.seed,
        )
