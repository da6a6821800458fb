"""Which weights of a network may go."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from graphws.spec.heads import HeadSection
from graphws.spec.models import ModelSection
from graphws.spec.preparation import Augment
from graphws.spec.section import Count, Flag, NotNegative, Share
from graphws.spec.tasks.section import TaskSection
from graphws.spec.tree import Path, dotted
from graphws.spec.violations import Violation

if TYPE_CHECKING:
    from graphws.tasks import Task, TaskData


class MaskTask(TaskSection):
    """Networks without weights that they can do without (paper D, appendix K.5)."""

    answers_networks = True
    takes_aligned = False
    kind: Annotated[
        Literal["mask"], Field(description="Say which weights of a network may go; the pruned network is returned.")
    ]
    sparsity: Annotated[
        NotNegative,
        Field(description="What keeping all weights costs, beside the squared error of what the network computes."),
    ] = 1e-2
    method: Annotated[
        Literal["hard", "sampled", "soft"],
        Field(description="The mask in training. hard: 0 or 1; sampled: 0 or 1 at random, by the sigmoid of the logit; "
              "both with the sigmoid's gradient; soft: the sigmoid. What is judged and returned is hard."),
    ] = "hard"  # fmt: skip
    start: Annotated[Share, Field(description="Share of the weights that is kept before training.")] = 0.95
    prior: Annotated[
        Literal["none", "magnitude"],
        Field(description="What the head's outputs are added to. magnitude: the order of the magnitudes in each "
              "parameter, so that training starts from pruning by magnitude (with a small model.init_scale)."),
    ] = "magnitude"  # fmt: skip
    standard: Annotated[
        Flag,
        Field(description="Bring the logits of each parameter to deviation 1 around their mean, so that they rank its "
              "weights and do not cross zero together."),
    ] = True  # fmt: skip
    balance: Annotated[
        Literal["none", "shares", "gradients", "both"],
        Field(description="Against layers that are emptied or left whole. shares: the cost takes the square of each "
              "parameter's kept share; gradients: those at the logits get one size in all parameters; or both."),
    ] = "shares"  # fmt: skip
    points: Annotated[
        Count,
        Field(description="Points at which outputs are compared, a grid (k·k) for networks with 2 inputs, else seeded "
              "draws."),
    ] = 64  # fmt: skip

    def question(self) -> str:
        """What a network can do without."""
        return "Which weights can a network do without?"

    def metrics(self) -> tuple[str, ...]:
        """Of hard masks."""
        from graphws.tasks.mask import METRICS

        return METRICS

    def head_violations(self, head: HeadSection, at: Path) -> Iterator[Violation]:
        """One mask for a network."""
        if head.answers != 1:
            here = (*at, "networks")
            yield Violation(here, f"{dotted(here)} is {head.answers}, but a network has one mask")

    def model_violations(self, model: ModelSection, at: Path) -> Iterator[Violation]:
        """Whether a weight stays must not depend on its sign."""
        if model.graded:
            here = (*at, "symmetry")
            what = "returns numbers that change sign and scale with the weights, and a mask must not"
            yield Violation(here, f"{dotted(at)} {what}; take `symmetry: permutation`")

    def network_violations(self, widths: Sequence[int | None] | None, at: Path) -> Iterator[Violation]:
        """The points of a picture are a square grid."""
        if widths and widths[0] == 2 and math.isqrt(self.points) ** 2 != self.points:
            here, side = (*at, "points"), math.isqrt(self.points)
            what = f"{dotted(here)} is {self.points}, which is no square grid"
            yield Violation(here, f"{what}; take {side * side} or {(side + 1) ** 2}")

    def build(self, head: HeadSection, augment: Augment, data: TaskData) -> Task:
        """Squared error of what is computed, + what is kept."""
        from graphws.tasks import Masking

        assert data.graph is not None
        assert data.restore is not None
        return Masking(
            data.graph,
            data.restore,
            self.sparsity,
            self.method,
            self.start,
            self.prior,
            self.standard,
            self.balance,
            self.points,
        )
