"""Turned queries and keys brought together: one complex number for every head and pair of dimensions, in closed form.

With q and k the complex rows of a pair (`graphws.operations.rotary_pairs`), c q and k/c̄ compute the same.  The size of
c is set by balance: queries and keys of the moved network get the ratio of norms that those of the first have, which no
orthogonal map of a stream changes.  Its angle maximises Re Σ q̄₁ c q₂ + Re Σ k̄₁ k₂/c̄, so it is that of the sum
|c| Σ q₁ q̄₂ + Σ k₁ k̄₂/|c|.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from graphws.graph import Weights
from graphws.matching import Metric
from graphws.operations.rotary_pairs import RotaryPairs

Turns = tuple[Tensor, ...]
"""For each attention layer c, complex, (heads, pairs)."""


def best_turns(first: Weights, second: Weights, layers: Sequence[RotaryPairs], metric: Metric) -> Turns:
    """The numbers by which the second network's queries and keys come nearest to the first's.

    Pairs without queries or without keys stay.

    Args:
        first: The network to be met, a batch of one.
        second: The other one, all else brought together.
        layers: Which parameters are queries and keys.
        metric: How much each parameter counts.
    """
    found = []
    for pairs in layers:
        (q1, k1), (q2, k2) = (pairs.numbers(each, metric.of) for each in (first, second))
        sizes = [torch.linalg.vector_norm(x, dim=-1) for x in (q1, k1, q2, k2)]
        seen = torch.stack(sizes).amin(0) > 0
        a, b, c, d = (size.where(seen, torch.ones_like(size)) for size in sizes)
        scale = (a * d / (b * c)).sqrt()
        sums = scale * (q1 * q2.conj()).sum(-1) + (k1 * k2.conj()).sum(-1) / scale
        found.append(torch.polar(scale, torch.angle(sums).where(seen, torch.zeros_like(scale))))
    return tuple(found)


def turned(weights: Weights, layers: Sequence[RotaryPairs], turns: Turns) -> Weights:
    """The networks with their queries and keys turned."""
    for pairs, factors in zip(layers, turns, strict=True):
        weights = pairs.turn(weights, factors)
    return weights


def without(metric: Metric, layers: Sequence[RotaryPairs]) -> Metric:
    """A metric to which queries and keys say nothing: before they are turned they speak of their angles only."""
    silent = {name: 0.0 for pairs in layers for name in pairs.names}
    return Metric({**metric.importance, **silent})
