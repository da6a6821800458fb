"""Two networks before and after alignment: agreement, barrier, and whether the aligned one still computes the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graphws.align.barrier import Barrier, Loss, average, barrier, classification_loss, function_loss
from graphws.align.candidates import halfway
from graphws.align.correction import UNMEASURED, comparison_with_parts, correction_of, sentences
from graphws.align.evidence import Values
from graphws.align.pairwise import Alignment, Method, align
from graphws.errors import VerificationError
from graphws.graph import Weights
from graphws.graph.group import Richness
from graphws.operations import outputs_of
from graphws.operations.runner import Inputs
from graphws.operations.verify import Run, relative_change
from graphws.reporter import Reporter
from graphws.shown import Shown

REWRITTEN = (
    "both networks are met with scales and shifts of their norms folded into what reads them: each computes what it "
    "did, and the aligned B answers to A in that form"
)


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Shown):
    """What `compare` found.

    Attributes:
        alignment: The alignment.
        error: Relative change of the second network's outputs by aligning it; NaN where nothing could run it.
        loss: What the barriers measure: ``cross entropy``, ``distance``, or nothing without data.
        before: The barrier between both networks as they came, corrected as the other; None without data.
        after: The barrier once they are aligned, statistics measured anew where there are some.
        merged: The mean of both, aligned, as it should be used.
        uncorrected: Loss of the mean as it was before it was corrected; None where nothing was.
        notes: Sentences that go with the merged network: what was done to its statistics, and whether it is worse than
            the networks.
    """

    alignment: Alignment
    error: float
    loss: str = ""
    before: Barrier | None = None
    after: Barrier | None = None
    merged: Weights | None = None
    uncorrected: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def agreement(self) -> tuple[float, float]:
        """Mean agreement of the parameters before and after, each counted by its numbers."""
        sizes = {name: x.numel() for name, x in self.alignment.aligned.items()}
        total = max(sum(sizes.values()), 1)
        both = (self.alignment.before, self.alignment.after)
        before, after = (sum(part[name] * n for name, n in sizes.items()) / total for part in both)
        return before, after

    def __str__(self) -> str:
        lines = ["agreement of the parameters {:.3f} before, {:.3f} after".format(*self.agreement)]
        if self.before is not None and self.after is not None:
            lines += [f"as they came: {self.before}", f"aligned: {self.after}", f"loss: {self.loss}"]
        return "\n".join(["Comparison of two networks", *(f"  {line}" for line in (*lines, *self.notes))])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        barriers = {"before": self.before, "after": self.after}
        return {
            "method": self.alignment.method,
            "agreement": dict(zip(("before", "after"), self.agreement, strict=True)),
            "parameters": {
                name: {"before": self.alignment.before[name], "after": self.alignment.after[name]}
                for name in self.alignment.before
            },
            "closeness": list(self.alignment.record),
            "candidates": [c.to_dict() for c in self.alignment.candidates],
            "kept": self.alignment.kept,
            "function_error": None if math.isnan(self.error) else self.error,
            "loss": self.loss or None,
            "uncorrected": self.uncorrected,
            "notes": list(self.notes),
            "barrier": {
                name: {"height": b.height, "positions": list(b.positions), "losses": list(b.losses)}
                for name, b in barriers.items()
                if b is not None
            },
        }


def compare(
    first: Weights,
    second: Weights,
    *,
    method: Method = "weights",
    inputs: Tensor | None = None,
    labels: Tensor | None = None,
    run: Run | None = None,
    values: Values | None = None,
    actions: Richness = "rich",
    generator: torch.Generator | None = None,
    restarts: int = 2,
    points: int = 11,
    tolerance: float = 1e-4,
    statistics: Inputs | None = None,
    rescale: bool = False,
    refine: tuple[Tensor, Tensor | None] | None = None,
    reporter: Reporter | None = None,
) -> Comparison:
    """Aligns two networks and measures what that did, in float64.

    Where there are data, candidates are compared by the loss of the mean.  Statistics of batch norms are measured anew
    in every mean wherever there are inputs to do it with; the networks themselves keep theirs.

    Args:
        first: The network to be met, a batch of one.
        second: The network to be moved.
        method: As for `align`.
        inputs: Points that the networks know; for graphs that graphws can run.
        labels: Their classes, for a barrier of cross entropy; without them it is one of distance between outputs.
        run: Outputs from weights, for other networks, on data of its own.
        values: As for `align`.
        actions: As for `align`.
        generator: As for `align`.
        restarts: As for `align`.
        points: Points of each line.
        tolerance: Largest relative change of the second network's outputs that counts as none.
        statistics: Inputs over which statistics of merged networks are measured anew; ``inputs`` where None.
        rescale: Layers without statistics are rescaled in merged networks (`repair`); needs such inputs.
        refine: As for `align`.
        reporter: As for `align`.

    Raises:
        VerificationError: Where the aligned network does not compute what the second one does.
        UsageError: As `align`, and on rescaling without inputs.
        GraphError: As `align`.
        DataError: On labels that do not fit the points.
    """
    a, b = (weights.to(dtype=torch.float64) for weights in (first, second))
    points_in = inputs.double() if inputs is not None else None
    correction = correction_of(a.graph, points_in if statistics is None else statistics, rescale)
    measured = run is not None or points_in is not None
    loss, what = _loss(a, b, points_in, labels, run) if measured else (None, "")
    found = align(
        a,
        b,
        method=method,
        inputs=points_in,
        run=run,
        values=values,
        actions=actions,
        generator=generator,
        restarts=restarts,
        objective=None if loss is None else halfway(a, loss, correction),
        refine=refine,
        reporter=reporter,
    )
    met = a if found.met is None else found.met
    both = [met, found.aligned]
    plain = average(Weights.cat(both))
    merged = plain if correction is None else correction(plain, both, [0.5, 0.5])
    notes = [*sentences(both, correction, statistics is not None), *found.notes]
    if found.met is not None:
        notes = [*notes, REWRITTEN]
    if loss is None:
        return Comparison(found, math.nan, merged=merged, notes=(*notes, UNMEASURED))
    outputs = outputs_on(points_in, run)
    with torch.no_grad():
        moved = [relative_change(outputs(x), outputs(y)) for x, y in ((b, found.aligned), (a, met))]
        error = max(moved)
        averaged = float(loss(plain)[0]) if correction is not None else None
    if not error <= tolerance:
        raise VerificationError(
            f"the aligned network computes something else: its outputs are off by {error:.1e} (allowed {tolerance:.0e})"
        )
    before, after = (barrier(*ends, loss, points, correction) for ends in ((a, b), (met, found.aligned)))
    notes += comparison_with_parts(after.middle, (after.losses[0], after.losses[-1]), averaged)
    return Comparison(found, error, what, before, after, merged, averaged, tuple(notes))


def outputs_on(inputs: Tensor | None, run: Run | None) -> Run:
    """How outputs are had: by `run`, or on `inputs` from the graph."""
    if run is not None:
        return run
    assert inputs is not None
    points = inputs
    return lambda weights: outputs_of(weights.graph, weights, points)


def _loss(
    first: Weights, second: Weights, inputs: Tensor | None, labels: Tensor | None, run: Run | None
) -> tuple[Loss, str]:
    points = inputs if inputs is not None else first.flatten().new_zeros(0)
    if labels is not None:
        return classification_loss(points, labels, run), "cross entropy"
    return function_loss(first, second, points, run), "distance"
