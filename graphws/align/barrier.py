"""Merging and linear interpolation: are two networks in one basin once they are aligned?

The loss barrier between A and B is the largest excess of the loss on the straight line from A to B over the straight
line between their losses (Frankle et al. 2020; Entezari et al. 2022):

    max_t  L((1-t) A + t B) - ((1-t) L(A) + t L(B)).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from graphws.align.objective import check_pair
from graphws.errors import DataError, UsageError
from graphws.graph import Weights
from graphws.operations import outputs_of
from graphws.operations.verify import Run
from graphws.shown import Shown

Loss = Callable[[Weights], Tensor]
"""The loss of every network of a batch, (batch,)."""
Correction = Callable[[Weights, Sequence[Weights], Sequence[float]], Weights]
"""What is done to a mean, given the networks that it is of and the share of each: see `graphws.align.correction`."""


@dataclass(frozen=True, repr=False)
class Barrier(Shown):
    """Losses along the line between two networks.

    Attributes:
        positions: t of each point, from 0 (the first network) to 1 (the second).
        losses: The loss at each.
    """

    positions: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def excess(self) -> tuple[float, ...]:
        """Loss over the straight line between the ends, at each point."""
        ends = self.losses[0], self.losses[-1]
        return tuple(
            loss - ((1 - t) * ends[0] + t * ends[1]) for t, loss in zip(self.positions, self.losses, strict=True)
        )

    @property
    def height(self) -> float:
        """The barrier: the largest excess, at least 0."""
        return max(0.0, *self.excess)

    @property
    def middle(self) -> float:
        """Loss of the average of both networks."""
        return self.losses[len(self.losses) // 2]

    def __str__(self) -> str:
        return (
            f"barrier {self.height:.4g} (loss {self.losses[0]:.4g} to {self.losses[-1]:.4g}, halfway {self.middle:.4g})"
        )


def barrier(
    first: Weights, second: Weights, loss: Loss, points: int = 11, correction: Correction | None = None
) -> Barrier:
    """The losses on the line between two networks.

    Means of batch-norm statistics are the statistics of neither network nor of their mean; without a correction that
    measures them anew (`graphws.align.Remeasured`), networks with batch norm show a barrier that is not theirs.

    Args:
        first: One network, a batch of one.
        second: Another of the same graph.
        loss: The loss of every network of a batch.
        points: How many points, ends included; odd, so that the average is among them.
        correction: What is done to every network between the two; the two themselves stay as they are.

    Raises:
        UsageError: On an even number of points, or fewer than 3.
        GraphError: On different graphs, or batches other than one.
    """
    check_pair(first, second)
    if points < 3 or points % 2 == 0:
        raise UsageError(f"the line needs an odd number of points, at least 3; got {points}")
    positions = torch.linspace(0, 1, points, dtype=torch.float64).tolist()
    with torch.no_grad():
        losses = [float(loss(_corrected(first, second, t, correction))[0]) for t in positions]
    return Barrier(tuple(positions), tuple(losses))


def average(weights: Weights) -> Weights:
    """The mean of a batch of (aligned) networks, a batch of one; integer tensors are those of the first."""
    return weights.map(lambda x: x.mean(0, keepdim=True) if x.is_floating_point() else x[:1])


def classification_loss(inputs: Tensor, labels: Tensor, run: Run | None = None) -> Loss:
    """Cross entropy on labelled points.

    Args:
        inputs: Points, shared by all networks.
        labels: The class of each, (points,).
        run: Computes logits (batch, points, classes) from weights; `graphws.operations.forward` where None.

    Raises:
        DataError: On labels that do not fit the points.
    """
    if labels.ndim != 1 or len(labels) != len(inputs):
        raise DataError(f"labels of shape {tuple(labels.shape)} for {len(inputs)} points: one number each is wanted")

    def loss(weights: Weights) -> Tensor:
        logits = outputs_of(weights.graph, weights, inputs) if run is None else run(weights)
        rows = functional.cross_entropy(
            logits.flatten(0, 1), labels.to(logits.device).repeat(len(logits)), reduction="none"
        )
        return rows.reshape(len(logits), -1).mean(1)

    return loss


def function_loss(first: Weights, second: Weights, inputs: Tensor, run: Run | None = None) -> Loss:
    """`spread_loss` of two networks."""
    return spread_loss([first, second], inputs, run)


def spread_loss(networks: Sequence[Weights], inputs: Tensor, run: Run | None = None) -> Loss:
    """Mean squared distance to the mean of some networks' outputs, over the variance of those: needs no labels.

    Args:
        networks: The networks, batches of one; aligning them does not change the loss.
        inputs: Points; not read where `run` is given.
        run: Computes outputs from weights; `graphws.operations.forward` where None.
    """

    def outputs(weights: Weights) -> Tensor:
        return outputs_of(weights.graph, weights, inputs) if run is None else run(weights)

    with torch.no_grad():
        target = torch.stack([outputs(network) for network in networks]).mean(0)
        scale = (target - target.mean()).square().mean().clamp_min(torch.finfo(target.dtype).tiny)

    def loss(weights: Weights) -> Tensor:
        return (outputs(weights) - target).square().flatten(1).mean(1) / scale

    return loss


def _corrected(first: Weights, second: Weights, t: float, correction: Correction | None) -> Weights:
    there = _between(first, second, t)
    return there if correction is None or t in (0, 1) else correction(there, [first, second], [1 - t, t])


def _between(first: Weights, second: Weights, t: float) -> Weights:
    tensors = {name: torch.lerp(x, second[name], t) if x.is_floating_point() else x for name, x in first.items()}
    return Weights(first.graph, tensors)
