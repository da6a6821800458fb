"""What a model answered."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from graphws.shown import Shown


@dataclass(frozen=True, eq=False, repr=False)
class Answers(Shown):
    """A model's answers for the networks of a split.

    Attributes:
        metrics: ``loss`` and the task's metrics.
        predictions: In the units of the target, one row a network.
        targets: What they should have been.
        index: Which network of the data each row is.
    """

    metrics: dict[str, float]
    predictions: Tensor
    targets: Tensor
    index: Tensor
