"""Many networks brought to one order and merged into their mean: what does the merged network lose?

The figure is the loss of the mean of all networks, as they came and aligned, beside their own mean loss.  With data the
networks are aligned in several ways (`graphws.align.candidates`), and the mean of least loss is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graphws.align.barrier import Correction, average, classification_loss, spread_loss
from graphws.align.comparison import outputs_on
from graphws.align.correction import UNMEASURED, comparison_with_parts, correction_of, sentences
from graphws.align.many import ManyAlignment, align_many
from graphws.errors import VerificationError
from graphws.graph import Weights
from graphws.graph.group import Richness
from graphws.operations.runner import Inputs
from graphws.operations.verify import Run, relative_change
from graphws.shown import Shown


@dataclass(frozen=True, eq=False, repr=False)
class Merging(Shown):
    """What `merge_many` found.

    Attributes:
        alignment: The alignment.
        merged: The mean of the aligned networks.
        error: The largest relative change of any network's outputs by aligning it; None without data.
        loss: What is measured: ``cross entropy``, ``distance``, or nothing without data.
        each: The networks' own losses.
        before: Loss of the mean of the networks as they came; None without data.
        after: Loss of the merged network.
        uncorrected: As of `Comparison`.
        notes: Sentences that go with the merged network, as `Comparison` has them.
    """

    alignment: ManyAlignment
    merged: Weights
    error: float | None = None
    loss: str = ""
    each: tuple[float, ...] = ()
    before: float | None = None
    after: float | None = None
    uncorrected: float | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [str(self.alignment)]
        if self.before is not None and self.after is not None:
            lines += [
                f"mean as they came: {self.loss} {self.before:.4g}",
                f"mean, aligned: {self.loss} {self.after:.4g}",
            ]
        return "\n".join(["Merging of many networks", *(f"  {line}" for line in (*lines, *self.notes))])

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        return {
            "networks": self.alignment.aligned.batch,
            "closeness": list(self.alignment.record),
            "function_error": self.error,
            "loss": self.loss or None,
            "each": list(self.each),
            "mean_before": self.before,
            "mean_after": self.after,
            "candidates": [candidate.to_dict() for candidate in self.alignment.candidates],
            "kept": self.alignment.kept,
            "uncorrected": self.uncorrected,
            "notes": list(self.notes),
        }


def merge_many(
    weights: Weights,
    *,
    generator: torch.Generator,
    inputs: Tensor | None = None,
    labels: Tensor | None = None,
    run: Run | None = None,
    actions: Richness = "rich",
    tolerance: float = 1e-4,
    statistics: Inputs | None = None,
    rescale: bool = False,
) -> Merging:
    """Aligns many networks, merges them and measures what that did, in float64.

    Args:
        weights: A batch of networks, at least two.
        generator: As for `align_many`.
        inputs: Points that the networks know; for graphs that graphws can run.
        labels: Their classes, for cross entropy; without them the loss is the distance of outputs from their mean.
        run: Outputs from weights, for other networks, on data of its own.
        actions: As for `align_many`.
        tolerance: Largest relative change of a network's outputs that counts as none.
        statistics: As for `compare`.
        rescale: As for `compare`.

    Raises:
        VerificationError: Where an aligned network does not compute what it did.
        GraphError: As `align_many`.
        DataError: On labels that do not fit the points.
        UsageError: As `compare`.
    """
    exact = weights.to(dtype=torch.float64)
    points = inputs.double() if inputs is not None else exact.flatten().new_zeros(0)
    own = points if inputs is not None else None
    correction = correction_of(exact.graph, own if statistics is None else statistics, rescale)
    ours = _each(exact)
    if inputs is None and run is None:
        found = align_many(exact, generator=generator, actions=actions)
        merged = _mean(found.aligned, correction)
        return Merging(found, merged, notes=(*sentences(ours, correction, statistics is not None), UNMEASURED))
    outputs = outputs_on(points if inputs is not None else None, run)
    if labels is not None:
        loss, what = classification_loss(points, labels, run), "cross entropy"
    else:
        loss, what = spread_loss(ours, points, run), "distance"

    def objective(aligned: Weights) -> float:
        return float(loss(_mean(aligned, correction))[0])

    with torch.no_grad():
        found = align_many(exact, generator=generator, actions=actions, objective=objective)
        error = _error(ours, _each(found.aligned), outputs)
        if not error <= tolerance:
            raise VerificationError(
                f"an aligned network computes something else: its outputs are off by {error:.1e} (allowed "
                f"{tolerance:.0e})"
            )
        each = tuple(float(loss(network)[0]) for network in ours)
        before, after = objective(exact), objective(found.aligned)
        averaged = float(loss(average(found.aligned))[0]) if correction is not None else None
    notes = (
        *sentences(ours, correction, statistics is not None),
        *comparison_with_parts(after, each, averaged),
    )
    return Merging(found, _mean(found.aligned, correction), error, what, each, before, after, averaged, notes)


def _error(networks: Sequence[Weights], aligned: Sequence[Weights], outputs: Run) -> float:
    return max(relative_change(outputs(a), outputs(b)) for a, b in zip(networks, aligned, strict=True))


def _each(networks: Weights) -> list[Weights]:
    return [networks.select([k]) for k in range(networks.batch)]


def _mean(networks: Weights, correction: Correction | None) -> Weights:
    mean = average(networks)
    return mean if correction is None else correction(mean, _each(networks), [1 / networks.batch] * networks.batch)
