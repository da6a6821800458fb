"""Neurons by how they take part in an action: the colours of paper I's figure 2.

A neuron (or head) i is *matched* under g where what is written into it, and the image of what is written into the
neuron that takes its place, have a cosine of at least 0.9: on probes, where what both write correlates so well.  (About
the mean: all filters answer alike to the mean picture, and their raw cosine calls everything a match.)  Then it is

* self-symmetric, if it stays: its filter is its own mirror image;
* self-negated, if it stays with its sign changed;
* mirrored, if another neuron takes its place: the two filters are mirror images;
* mirrored and negated, if with the sign changed.

It must also be at most half as far from its image as unrelated weights would be, which is little where the group hardly
moves what they read.  Of the others, a *negated copy* has a neuron with the opposite filter (cosine at most -0.9),
which lets ReLU and GELU pass values around the activation, σ(x) - σ(-x) = x; the rest is none of these.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from graphws.actions.measures.equivariance import stays_inside
from graphws.actions.measures.reach import bounded_squares, squared_reach
from graphws.actions.problem import Maps, Problem
from graphws.graph import LinearMap, Monomial, Parameter
from graphws.matching import Family, Metric

Place = tuple[Parameter, int]
"""A parameter, and which of its axes a family labels."""
MATCHED = 0.9
"""Least cosine of a matched neuron."""
_HALF = 0.5
"""How far a matched neuron is from its image at most, as a share of how far unrelated weights would be."""
CATEGORIES = ("self-symmetric", "self-negated", "mirrored", "mirrored+negated", "negated copy", "none")


def similarity(problem: Problem, family: Family, maps: Maps, metric: Metric) -> Tensor:
    """The cosine of every element of a family's root with its image under ρ(g): 1 where it is as equivariant as can be.

    Where ρ(g) moves what is read by r only (`graphws.actions.measures.reach`), unrelated weights have 1 - r².  An
    element that is more than half as far from its image as these gets 1 - (1 - cosine) / r² instead, below 3/4.  What
    hangs on the space alone, as biases and the scales of a norm, counts only where nothing else is written.  What leads
    from the space to itself must agree too, by itself: the least cosine counts.
    """
    graph = problem.view.graph
    adds, alone, inside = list[Place](), list[Place](), list[Place]()
    for parameter in graph.parameters:
        places = [k for k, axis in enumerate(parameter.axes) if axis.space in family.spaces]
        written = [k for k in places if parameter.axes[k].power >= 0]
        if written:
            single = parameter.kind == "bias" or len(parameter.axes) == 1
            (alone if single else adds).append((parameter, written[0]))
        elif places and stays_inside(graph, parameter):
            inside.append((parameter, places[0]))
    found, some = _cosine(problem, family, maps, metric, adds)
    if not some:
        found, _ = _cosine(problem, family, maps, metric, alone)
    for each in inside:  # they add up nothing, so no covariance of channels weighs them
        found = torch.minimum(found, _cosine(problem, family, maps, Metric(metric.importance), [each])[0])
    return found


def _cosine(
    problem: Problem, family: Family, maps: Maps, metric: Metric, places: Sequence[Place]
) -> tuple[Tensor, bool]:
    """The cosines over some parameters together, 0 where an element has nothing in them; and whether any has."""
    weights, root = problem.view, problem.view.graph.space(family.root)
    sums = [torch.zeros(root.size, dtype=weights.dtype, device=weights.device) for _ in range(4)]
    for parameter, place in places:
        tensor = weights[parameter.name]
        moved = tensor
        for k, axis in enumerate(parameter.axes):
            if axis.space in maps:
                moved = maps[axis.space].apply(moved, k + 1, axis.power)
        weighed = (metric.weigh(parameter, tensor), metric.weigh(parameter, moved))
        factor, reach = metric.of(parameter.name), squared_reach(parameter, maps, metric.moments)
        own = weighed[0] * tensor
        for total, product in zip(sums, (weighed[0] * moved, own, weighed[1] * moved, reach * own), strict=True):
            total += factor * product.movedim(place + 1, 0).reshape(root.size, -1).sum(1)
    scale = (sums[1] * sums[2]).clamp_min(0).sqrt()
    tiny = torch.finfo(scale.dtype).tiny
    squared = bounded_squares(sums[3] / sums[1].clamp_min(tiny))
    cosine = measured_from_reach(sums[0] / scale.clamp_min(tiny), squared)
    return torch.where(scale > 0, cosine, torch.zeros_like(scale)), bool(sums[1].any())


def measured_from_reach(cosine: Tensor, squared: Tensor | float) -> Tensor:
    """Cosines of which those that are more than half as far from 1 as unrelated weights are measured from these.

    Args:
        cosine: The cosines.
        squared: r², how far the group moves what is read.
    """
    beside = 1 - (1 - cosine) / squared
    return torch.where(beside < 1 - _HALF**2, beside, cosine)


def negated_copies(problem: Problem, space: str) -> Tensor:
    """Which elements of a set have another with the opposite incoming weights, (size,) of bool."""
    rows = []
    for parameter in problem.view.graph.parameters:
        places = [k for k, axis in enumerate(parameter.axes) if axis.space == space and axis.power >= 0]
        if len(places) == 1 and parameter.kind != "bias":
            tensor = problem.view[parameter.name]
            rows.append(tensor.movedim(places[0] + 1, 1).reshape(tensor.shape[places[0] + 1], -1))
    if not rows:
        return torch.zeros(problem.graph.extent(space), dtype=torch.bool)
    unit = torch.nn.functional.normalize(torch.cat(rows, 1), dim=1)
    lowest: Tensor = (unit @ unit.mT).amin(1)
    return lowest <= -MATCHED


def categories(problem: Problem, family: Family, maps: Maps, cosine: Tensor, unmatched: Tensor) -> Tensor:
    """The category of every element of a family's root, as an index into `CATEGORIES`."""
    element = maps[family.root]
    size = len(cosine)
    kind = torch.full((size,), CATEGORIES.index("none"))
    if isinstance(element, LinearMap):
        return kind
    assert isinstance(element, Monomial)
    matched = (cosine.cpu() >= MATCHED) & ~unmatched
    stays = element.perm.cpu() == torch.arange(size)
    negated = torch.zeros(size, dtype=torch.bool) if element.scale is None else element.scale.cpu() < 0
    kind[negated_copies(problem, family.root).cpu()] = CATEGORIES.index("negated copy")
    kind[matched & stays & ~negated] = CATEGORIES.index("self-symmetric")
    kind[matched & stays & negated] = CATEGORIES.index("self-negated")
    kind[matched & ~stays & ~negated] = CATEGORIES.index("mirrored")
    kind[matched & ~stays & negated] = CATEGORIES.index("mirrored+negated")
    return kind
