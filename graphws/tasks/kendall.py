"""Kendall's rank correlation, over all networks of a split."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import kendalltau
from torch import Tensor
from torchmetrics import Metric


class KendallTau(Metric):
    """Kendall's τ-b between predictions and targets: 1 where every pair is in the right order, -1 in the wrong one.

    τ-b corrects for ties, takes n log n steps, and does not depend on units.  Of several targets, the average.  Where
    all predictions are the same, or all targets, no pair is ordered, and τ is 0.
    """

    full_state_update = False
    higher_is_better = True
    predictions: list[Tensor]
    targets: list[Tensor]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.add_state("predictions", default=[], dist_reduce_fx="cat")
        self.add_state("targets", default=[], dist_reduce_fx="cat")

    def update(self, predictions: Float[Tensor, "batch outputs"], targets: Float[Tensor, "batch outputs"]) -> None:
        """Add a batch."""
        self.predictions.append(predictions.detach())
        self.targets.append(targets.detach())

    def compute(self) -> Tensor:
        """τ-b of all batches; NaN where a prediction is."""
        found, wanted = _whole(self.predictions), _whole(self.targets)
        values = [_tau(found[:, k], wanted[:, k]) for k in range(wanted.shape[1])]
        return torch.tensor(sum(values) / len(values), dtype=torch.float32, device=self.device)


def _whole(parts: list[Tensor] | Tensor) -> np.ndarray:
    """All batches; over several processes they come joined already."""
    joined = torch.cat(parts) if isinstance(parts, list) else parts
    return joined.cpu().double().numpy()


def _tau(found: np.ndarray, wanted: np.ndarray) -> float:
    if np.isnan(found).any():
        return float("nan")
    if (found == found[0]).all() or (wanted == wanted[0]).all():
        return 0.0
    return float(kendalltau(found, wanted, variant="b").statistic)
