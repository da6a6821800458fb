"""Ways to bring one network to another, side by side, and which of them is kept.

A match says which neuron answers to which; a *gauge* says at which scales and bases they are averaged.  The mean of
A and g⁻¹B is the mean of gA and B in A's gauge, so only the gauge in which both stand decides what a mean computes, not
which network is moved.  Two gauges are tried: the one in which the networks came, and that of least norm.

Why least norm: at unit incoming norm a neuron that hardly fires has the same say as one that carries the function, and
its partner's outgoing weights grow without bound to make up for it.  At least norm incoming and outgoing weights of a
neuron balance and what is small counts little; and this gauge is a network's own, up to signs, permutations and
orthogonal maps (Kempf and Ness).  For small ReLU networks the barrier there is about half of that at unit norm.

Candidates are compared by an objective that the caller can check, the loss of the mean on data; without one by the
distance of the weights, where the first network stands at least norm: there scales cannot make it small for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from graphws.align.barrier import Correction, Loss, average
from graphws.graph import GroupElement, Weights
from graphws.matching import Metric, balanced_metric
from graphws.matching.scored_parameters import matching_view
from graphws.shown import Shown

Objective = Callable[[Weights], float]
"""What a candidate is worth, from the second network moved by it; smaller is better."""
Matching = Literal[
    "none", "permutation", "rich", "unit norm", "least norm", "activations", "attributions", "streams", "refined"
]
Gauge = Literal["as they are", "least norm"]
EQUAL = 1e-18
"""A squared distance, relative, at which two networks are one: no other candidate is sought."""

SAME = 0.01
"""Distances that differ by less, relative, say nothing about which match is better."""


@dataclass(frozen=True, repr=False)
class Candidate(Shown):
    """One way to bring the second network to the first.

    Attributes:
        matching: Where the match comes from: ``none``; ``permutation``, by the weights as they are; ``rich``, with
            signs; with all actions by the weights at ``unit norm`` or ``least norm``; ``activations``;
            ``attributions``; ``streams``, with orthogonal maps of residual streams; ``refined``, from there by
            gradient.
        gauge: In which both are averaged.
        distance: ‖A - B‖² / (‖A‖² + ‖B‖²) where A has least norm; 1 for unrelated networks, 0 for equal ones.
        objective: What the caller's objective says; None without one.
    """

    matching: Matching
    gauge: Gauge
    distance: float
    objective: float | None = None

    def __str__(self) -> str:
        if self.matching == "none":
            return "as they came"
        matched = {
            "unit norm": "rich, matched at unit norm",
            "least norm": "rich, matched at least norm",
            "streams": "orthogonal streams",
            "refined": "orthogonal streams, refined",
        }.get(self.matching, self.matching)
        return matched + (", averaged at least norm" if self.gauge == "least norm" else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "matching": self.matching,
            "gauge": self.gauge,
            "distance": self.distance,
            "objective": self.objective if self.objective is None or math.isfinite(self.objective) else None,
        }


def best(candidates: Sequence[Candidate]) -> int:
    """Which one is kept: of least objective, then of least distance; the first of equals.

    Objectives that differ by rounding count as equal, and what is not a number as infinite.  Without objectives a match
    by permutations is kept unless another is nearer by more than `SAME`: a match that may choose more comes nearer by
    chance alone, and gains nothing by it.
    """
    distances = [_number(candidate.distance) for candidate in candidates]
    if any(candidate.objective is not None for candidate in candidates):
        values = [math.inf if c.objective is None else _number(c.objective) for c in candidates]
        least = min(values)
        close = [k for k, value in enumerate(values) if value <= least + 1e-9 * abs(least) + 1e-15]
    else:
        close = [k for k, distance in enumerate(distances) if distance <= (1 + SAME) * min(distances)]
        close = [k for k in close if candidates[k].matching == "permutation"] or close
    return min(close, key=lambda k: (distances[k], k))


@dataclass(frozen=True, eq=False)
class Halfway:
    """The loss of the mean of the first network and another, as an objective; see `halfway`."""

    first: Weights
    loss: Loss
    correction: Correction | None = None

    def __call__(self, other: Weights) -> float:
        """The loss of the mean with another network."""
        mean, both = average(Weights.cat([self.first, other])), [self.first, other]
        return float(self.loss(mean if self.correction is None else self.correction(mean, both, [0.5, 0.5]))[0])

    def meeting(self, first: Weights) -> Halfway:
        """The same for the first network in another form."""
        return replace(self, first=first)


def halfway(first: Weights, loss: Loss, correction: Correction | None = None) -> Halfway:
    """The loss of the mean of the first network and another, as an objective.

    Args:
        first: A batch of one.
        loss: The loss of every network of a batch.
        correction: As for `graphws.align.barrier`.
    """
    return Halfway(first, loss, correction)


@dataclass(frozen=True, eq=False)
class Yardstick:
    """How far apart two networks are, in a gauge of the first.

    Attributes:
        first: The first network.
        gauge: Brings what matching reads of it to least norm.
        metric: How parameters are compared there.
    """

    first: Weights
    gauge: GroupElement
    metric: Metric

    def distance(self, second: Weights) -> float:
        """Relative squared distance of another network, as `Candidate` has it."""
        ours, theirs = (self._seen(weights) for weights in (self.first, second))
        gap = size = 0.0
        for parameter in ours.graph.parameters:
            a, b, share = ours[parameter.name], theirs[parameter.name], self.metric.of(parameter.name)
            gap += share * float((a - b).square().sum())
            size += share * float(a.square().sum() + b.square().sum())
        return gap / size if size > 0 else 0.0

    @staticmethod
    def of_many(networks: Weights, least: GroupElement) -> Yardstick:
        """For a batch of networks, where the first has least norm: `least` brings each there."""
        first = networks.select([0])
        gauge = least.select(torch.tensor([0], device=networks.device))
        seen = Yardstick(first, gauge, Metric())
        return replace(seen, metric=balanced_metric(seen._seen(first)))

    def spread(self, networks: Weights) -> float:
        """Squared distance of aligned networks from their mean, relative; for two their `distance`."""
        seen = [self._seen(networks.select([k])) for k in range(networks.batch)]
        gap = size = 0.0
        for parameter in seen[0].graph.parameters:
            all_of_it = torch.cat([each[parameter.name] for each in seen])
            share = self.metric.of(parameter.name)
            gap += share * float((all_of_it - all_of_it.mean(0)).square().sum())
            size += share * float(all_of_it.square().sum())
        return gap / size * networks.batch / (networks.batch - 1) if size > 0 else 0.0

    def _seen(self, weights: Weights) -> Weights:
        view = matching_view(weights)
        return GroupElement(view.graph, self.gauge.maps).act(view)


def _number(value: float) -> float:
    return math.inf if math.isnan(value) else value
