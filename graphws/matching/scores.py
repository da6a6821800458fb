"""Scores: entry (i, j) says how well element i of the first network's space answers to element j of the second's.

For a parameter with axes (s, a, b, …), tensors A and B, and maps k of the other spaces,

    C[i, j] = Σ_{a,b,…} A[i, a, b, …] · (k·B)[j, a, b, …],

summed over parameters and over the axes that the space labels.  For an MLP that is the sum of W k Wᵀ over the incoming
weight, Wᵀ k W over the outgoing one and b bᵀ.  If the space's map sends j to i with scale s, its axis of power p gains
s^p C[i, j]; so axes of odd power can be turned by a sign and axes of even power cannot, and the two are kept apart.

A space that labels two axes of one tensor (a residual d × d weight) makes the closeness quadratic; each axis is then
scored with the current estimate on the other one.

**Debiasing.**  Where a network is matched with its own image, both sides carry the same noise N, and
E[N k Nᵀ] = σ² tr(k) · 1 rewards the identity.  `noise` subtracts it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph import Action, LinearMap, Monomial, NetworkGraph, Parameter, Weights
from graphws.graph.element import SpaceElement
from graphws.matching.family import Family
from graphws.matching.metric import Metric

Side = Literal["in", "out", "both"]


@dataclass(frozen=True, eq=False)
class Score:
    """Scores of a space; for many networks with a batch axis in front.

    Args:
        odd: (n, n), from axes that follow the sign of the space's scales.
        even: (n, n), from axes that do not.
    """

    odd: Tensor
    even: Tensor

    @property
    def size(self) -> int:
        """n."""
        return self.odd.shape[-1]

    def __add__(self, other: Score) -> Score:
        return Score(self.odd + other.odd, self.even + other.even)

    def scaled(self, factor: float) -> Score:
        """Both parts times a factor."""
        return Score(self.odd * factor, self.even * factor)

    @property
    def transposed(self) -> Score:
        """The scores of the opposite direction."""
        return Score(self.odd.mT, self.even.mT)

    def worth(self, element: SpaceElement) -> float:
        """Σ_ij k[i, j] C[i, j]: the closeness that a map gives, its scales taken as signs; on the same device."""
        if isinstance(element, LinearMap):
            return float((self.odd * element.weight.to(self.odd)).sum() + self.even.diagonal().sum())
        rows = torch.arange(self.size, device=element.perm.device)
        odd, even = self.odd[rows, element.perm], self.even[rows, element.perm]
        return float((odd if element.scale is None else odd * element.scale.sign().to(odd)).sum() + even.sum())

    def value(self, action: Action) -> Tensor:
        """What pairing i with j is worth when the best sign that the action allows is taken."""
        return self.even + (self.odd.abs() if action in (Action.SIGNED, Action.MONOMIAL) else self.odd)


def score(
    first: Weights,
    second: Weights,
    space: str,
    known: Mapping[str, SpaceElement],
    *,
    metric: Metric | None = None,
    side: Side = "both",
    noise: Mapping[str, float] | None = None,
) -> Score | None:
    """The scores of one space, or None where no parameter says anything about it.

    Args:
        first: The network to be met, a batch of one.
        second: The network to be moved, a batch of one of the same graph.
        space: The space to score.
        known: Maps of other spaces.  A free space that is missing stays; a moving one that is missing is unknown, and
            parameters that it labels are left out.
        metric: Importance of parameters and moments of spaces; everything counts 1 where None.
        side: Axes written into the space (``in``: power >= 0), axes that read from it (``out``), or both.
        noise: For a network against its own image: the variance of each parameter's noise, to be removed.

    Raises:
        GraphError: On different graphs, batches other than one, or an unknown space.
    """
    graph = first.graph
    if second.graph != graph:
        raise GraphError("networks of different graphs cannot be matched")
    if first.batch != 1 or second.batch != 1:
        raise GraphError(f"matching takes one network on each side, got batches of {first.batch} and {second.batch}")
    n, metric = graph.extent(space), metric or Metric()
    sums = {power: torch.zeros(n, n, dtype=first.dtype, device=first.device) for power in (0, 1)}
    told = False
    for parameter, k, ours, theirs in _sides(first, second, space, known, metric, side):
        told = True
        part = ours @ theirs[0].mT
        variance = (noise or {}).get(parameter.name, 0.0)
        if variance:
            part = part - _bias(graph, parameter, k, known, metric, variance, part)
        sums[parameter.axes[k].power % 2] += metric.of(parameter.name) * part
    return Score(sums[1], sums[0]) if told else None


def scores_of_each(
    first: Weights,
    networks: Weights,
    space: str,
    known: Mapping[str, SpaceElement],
    *,
    metric: Metric,
    side: Side = "both",
) -> Score | None:
    """The scores of one space for each of many networks, (batch, n, n); None where no parameter speaks about it.

    Args:
        first: The network to be met by all, a batch of one.
        networks: Those to be moved, of the same graph.
        space: The space to score.
        known: Maps of other spaces, one for each network or one for all; see `score`.
        metric: How parameters are compared.
        side: See `score`.
    """
    n, told = first.graph.extent(space), False
    shape = (networks.batch, n, n)
    sums = {power: torch.zeros(shape, dtype=first.dtype, device=first.device) for power in (0, 1)}
    for parameter, k, ours, theirs in _sides(first, networks, space, known, metric, side):
        told = True
        sums[parameter.axes[k].power % 2] += metric.of(parameter.name) * torch.matmul(ours, theirs.mT)
    return Score(sums[1], sums[0]) if told else None


def _sides(
    first: Weights,
    second: Weights,
    space: str,
    known: Mapping[str, SpaceElement],
    metric: Metric,
    side: Side,
) -> Iterator[tuple[Parameter, int, Tensor, Tensor]]:
    """Each parameter that speaks about a space and the place of the axis; rows (n, numbers) of the first network, as
    the metric weighs them, and (batch, n, numbers) of the second, with its other axes moved.
    """
    graph = first.graph
    for parameter in graph.parameters:
        for k, axis in enumerate(parameter.axes):
            if axis.space != space or (side == "in" and axis.power < 0) or (side == "out" and axis.power >= 0):
                continue
            moved = _move_others(graph, parameter, second[parameter.name], k, known)
            if moved is not None:
                yield parameter, k, _rows(metric.weigh(parameter, first[parameter.name]), k)[0], _rows(moved, k)


def family_scores(
    first: Weights,
    second: Weights,
    family: Family,
    known: Mapping[str, SpaceElement],
    *,
    metric: Metric | None = None,
    side: Side = "both",
    noise: Mapping[str, float] | None = None,
) -> dict[str, Score]:
    """The scores of every space of a family that some parameter speaks about; see `score`.

    A parameter that two spaces of the family label (heads on one axis, their dimensions on another) counts with the
    current estimate of the other one, if `known` has it.
    """
    found = {}
    for name in family.spaces:
        scored = score(first, second, name, known, metric=metric, side=side, noise=noise)
        if scored is not None:
            found[name] = scored
    return found


def _move_others(
    graph: NetworkGraph, parameter: Parameter, tensor: Tensor, axis: int, known: Mapping[str, SpaceElement]
) -> Tensor | None:
    """The tensor with every axis but one moved; None where the map of one of them is unknown."""
    for k, other in enumerate(parameter.axes):
        if k == axis:
            continue
        if other.space in known:
            tensor = known[other.space].apply(tensor, k + 1, other.power)
        elif graph.lineage(other.space)[0].moves:
            return None
    return tensor


def _rows(tensor: Tensor, axis: int) -> Tensor:
    """A (batch, *axes) tensor as matrices (batch, axis, everything else)."""
    return tensor.movedim(axis + 1, 1).reshape(len(tensor), tensor.shape[axis + 1], -1)


def _bias(
    graph: NetworkGraph,
    parameter: Parameter,
    axis: int,
    known: Mapping[str, SpaceElement],
    metric: Metric,
    variance: float,
    like: Tensor,
) -> Tensor:
    """Expectation of the scores of pure noise of one variance: σ² Π tr(k Σ) over the other axes, times 1 or Σ."""
    factor = variance
    for k, other in enumerate(parameter.axes):
        if k != axis:
            moment = metric.moments.get(other.space) if other.power == -1 else None
            factor *= _trace(known.get(other.space), other.power, moment, graph.extent(other.space))
    here = parameter.axes[axis]
    own = metric.moments.get(here.space) if here.power == -1 else None
    return factor * (own.to(like) if own is not None else torch.eye(like.shape[0], dtype=like.dtype).to(like.device))


def _trace(element: SpaceElement | None, power: int, moment: Tensor | None, extent: int) -> float:
    """tr(k Σ), where k follows the axis's power and Σ is 1 where None."""
    if element is None:
        return float(extent) if moment is None else float(moment.trace())
    if isinstance(element, LinearMap):
        weight = element.weight if power >= 0 else torch.linalg.inv(element.weight).mT
        weight = weight if power else torch.eye(extent, dtype=weight.dtype)
        return float(weight.trace() if moment is None else (weight * moment.mT.to(weight)).sum())
    assert isinstance(element, Monomial)
    rows = torch.arange(extent, device=element.perm.device)
    scale = torch.ones(extent, dtype=torch.float64) if element.scale is None else element.scale.double() ** power
    picked = (element.perm == rows).double() if moment is None else moment.double()[element.perm, rows]
    return float((scale.to(picked) * picked).sum())
