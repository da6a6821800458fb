"""Many networks brought to one order and merged into their mean: what does the merged network lose?

The figure is the loss of the mean of all networks, as they came and aligned, beside their own mean loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graphws.align.barrier import average, classification_loss, spread_loss
from graphws.align.comparison import outputs_on
from graphws.align.many import ManyAlignment, align_many
from graphws.errors import VerificationError
from graphws.graph import Weights
from graphws.graph.group import Richness
from graphws.operations.verify import Run, relative_change


@dataclass(frozen=True, eq=False)
class Merging:
    """What `merge_many` found.

    Attributes:
        alignment: The alignment.
        merged: The mean of the aligned networks.
        error: The largest relative change of any network's outputs by aligning it; None without data.
        loss: What is measured: ``cross entropy``, ``distance``, or nothing without data.
        each: The networks' own losses.
        before: Loss of the mean of the networks as they came; None without data.
        after: Loss of the merged network.
    """

    alignment: ManyAlignment
    merged: Weights
    error: float | None = None
    loss: str = ""
    each: tuple[float, ...] = ()
    before: float | None = None
    after: float | None = None

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

    Raises:
        VerificationError: Where an aligned network does not compute what it did.
        GraphError: As `align_many`.
        DataError: On labels that do not fit the points.
    """
    exact = weights.to(dtype=torch.float64)
    found = align_many(exact, generator=generator, actions=actions)
    merged = average(found.aligned)
    if inputs is None and run is None:
        return Merging(found, merged)
    points = inputs.double() if inputs is not None else exact.flatten().new_zeros(0)
    outputs = outputs_on(points, run)
    ours, theirs = ([each.select([k]) for k in range(exact.batch)] for each in (exact, found.aligned))
    with torch.no_grad():
        error = max(relative_change(outputs(a), outputs(b)) for a, b in zip(ours, theirs, strict=True))
        if not error <= tolerance:
            raise VerificationError(
                f"an aligned network computes something else: its outputs are off by {error:.1e} (allowed "
                f"{tolerance:.0e})"
            )
        if labels is not None:
            loss, what = classification_loss(points, labels, run), "cross entropy"
        else:
            loss, what = spread_loss(ours, points, run), "distance"
        each = tuple(float(loss(network)[0]) for network in ours)
        before, after = (float(loss(network)[0]) for network in (average(exact), merged))
    return Merging(found, merged, error, what, each, before, after)
