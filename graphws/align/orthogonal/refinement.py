"""Alignment learned on data: the element is moved by gradient so that the network halfway has a small loss.

Matching compares weights, and a large sum of products of weights is not what makes a good mean.  From where matching
ended, all directions of the group are learned together (`graphws.align.orthogonal.moves`) by Adam, with the loss of a
network near the middle of the line, at a random point of it for each batch, run straight from the graph
(`graphws.operations.forward`).  The second network keeps its function at every step, because only its place in its
orbit changes; nothing of the first is learned.  Every so often the loss halfway is measured on all data given, and the
best place is kept, the start among them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from graphws.align.orthogonal.matching import StreamMatch
from graphws.align.orthogonal.moves import Moves
from graphws.errors import DataError, UsageError
from graphws.graph import GroupElement, Weights
from graphws.operations.runner import outputs_of
from graphws.reporter import Reporter
from graphws.shown import Shown

CHECKS = 10
"""How often the loss halfway is measured on all data."""
SPAN = (0.3, 0.7)
"""The part of the line whose losses are learned from."""


@dataclass(frozen=True, eq=False, repr=False)
class Refinement(Shown):
    """What `refine` found.

    Attributes:
        match: The networks, brought together.
        losses: Loss halfway on all given data, at the start and at each check.
        kept: Which of these the match is.
    """

    match: StreamMatch
    losses: tuple[float, ...]
    kept: int


def refine(
    match: StreamMatch,
    inputs: Tensor,
    labels: Tensor | None = None,
    *,
    generator: torch.Generator,
    steps: int = 300,
    batch: int = 256,
    rate: float = 0.02,
    reporter: Reporter | None = None,
) -> Refinement:
    """Moves the second network within its orbit until the one halfway to the first has a small loss.

    Laws: ``match.aligned`` of the result computes what the second network computes; the loss halfway on the given data
    is never larger than it was.

    Args:
        match: Where to begin.
        inputs: Points of the data that the networks know, (points, ...): for training, not for measuring.
        labels: Their classes, for cross entropy; without them the loss is the squared distance to the mean of both
            networks' outputs.
        generator: Source of batches and of points on the line.
        steps: How many steps of Adam, at a rate that falls to 0 as a cosine.
        batch: Points of each.
        rate: The rate at the start.
        reporter: Hears how many steps are done.

    Raises:
        UsageError: On fewer than one step or point.
        DataError: On labels that do not fit the points.
    """
    if steps < 1 or batch < 1 or not len(inputs):
        raise UsageError(f"refining takes steps, a batch and points: got {steps}, {batch} and {len(inputs)}")
    if labels is not None and labels.shape != inputs.shape[:1]:
        raise DataError(f"labels of shape {tuple(labels.shape)} for {len(inputs)} points: one number each is wanted")
    graph, device = match.met.graph, match.met.device
    exact = [match.gauge.act(each) for each in (match.met, match.aligned)]
    first, second = (each.to(dtype=torch.float32) for each in exact)
    points = inputs.to(device, torch.float32) if inputs.is_floating_point() else inputs.to(device)
    target = _targets(first, second, points, labels, batch)
    moves = Moves(graph, match.form.streams, match.form.centred).to(device)
    optimiser = torch.optim.Adam(moves.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: (1 + math.cos(math.pi * k / steps)) / 2)

    def measured() -> float:
        with torch.no_grad():
            middle = _between(first, moves.act(second), 0.5)
            parts = [
                float(_loss(outputs_of(graph, middle, x)[0], y, "sum"))
                for x, y in zip(points.split(batch), target.split(batch), strict=True)
            ]
        return sum(parts) / len(points)

    losses, best, kept = [measured()], GroupElement(graph), 0
    every = max(1, steps // CHECKS)
    with (reporter or Reporter()).work("refining by gradient", steps, "steps") as progress:
        for step in range(steps):
            rows = torch.randint(0, len(points), (min(batch, len(points)),), generator=generator).to(device)
            t = SPAN[0] + (SPAN[1] - SPAN[0]) * float(torch.rand((), generator=generator))
            outputs = outputs_of(graph, _between(first, moves.act(second), t), points[rows])[0]
            optimiser.zero_grad()
            _loss(outputs, target[rows], "mean").backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            if (step + 1) % every == 0 or step + 1 == steps:
                losses.append(measured())
                if losses[-1] < losses[kept]:
                    best, kept = moves.element(), len(losses) - 1
            progress.advance()
    element = match.gauge.inverse() @ best @ match.gauge @ match.element
    return Refinement(match.with_element(element), tuple(losses), kept)


def _targets(first: Weights, second: Weights, points: Tensor, labels: Tensor | None, batch: int) -> Tensor:
    """The classes; without labels the mean of both networks' outputs."""
    if labels is not None:
        return labels.to(points.device).long()
    with torch.no_grad():
        both = [
            torch.cat([outputs_of(each.graph, each, x)[0] for x in points.split(batch)]) for each in (first, second)
        ]
    return (both[0] + both[1]) / 2


def _loss(outputs: Tensor, target: Tensor, how: str) -> Tensor:
    """Cross entropy with classes, else squared distance, summed over outputs."""
    if target.is_floating_point():
        rows = (outputs - target).square().flatten(1).sum(1)
        return rows.sum() if how == "sum" else rows.mean()
    return functional.cross_entropy(outputs, target, reduction=how)


def _between(first: Weights, second: Weights, t: float) -> Weights:
    tensors = {n: torch.lerp(x, second[n], t) if x.is_floating_point() else x for n, x in first.items()}
    return Weights(first.graph, tensors)
