"""Each layer's own action on a space that several layers write, as a residual stream.

One ρ acts on all of a stream, and one layer that does not follow hides what another does by itself.  So for every
weight with an axis on the stream the action is solved for again from this weight alone, with the maps of its other axes
as they were found.  What it matches is compared with chance: the same weight, its other axes' numbers in a random order
and with random signs, has the same lengths and angles and no reason to know the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.measures.categories import MATCHED, measured_from_reach
from graphws.actions.measures.equivariance import stays_inside
from graphws.actions.measures.reach import bounded, squared_reach
from graphws.actions.problem import Maps, Problem
from graphws.actions.reduction.reading import reading
from graphws.actions.search.projection import homomorphism
from graphws.actions.search.search import Candidate
from graphws.graph import Action, Monomial, Parameter
from graphws.matching import Family, Score, families
from graphws.shown import Shown

DRAWS = 3
"""Random orders that matches are compared with."""


@dataclass(frozen=True, repr=False)
class OwnAction(Shown):
    """What one weight says of a stream by itself.

    Attributes:
        space: The stream.
        parameter: The weight.
        writes: Whether it writes the stream; it reads it otherwise.
        size: Elements of the stream.
        matched: How many of them the weight's own action matches, under every element of the group.
        moved: How many of these go elsewhere under some element.
        error: ‖ρθ - θ‖ / (√2 ‖θ‖) under its own action, divided by how far the group moves its other side.
        stream_matched: How many the stream's one action matches in this weight.
        stream_error: The error under that.
        all_matched: How many that matches in all weights together that write the stream.
        chance: The most that were matched in the same weight at random orders and signs of its other numbers.
    """

    space: str
    parameter: str
    writes: bool
    size: int
    matched: int
    moved: int
    error: float
    stream_matched: int
    stream_error: float
    all_matched: int
    chance: int

    def __str__(self) -> str:
        what = "writes" if self.writes else "reads"
        return (
            f"{self.parameter} {what} {self.space}: {self.matched} of {self.size} matched by its own action "
            f"({self.moved} of them go elsewhere, by chance at most {self.chance} match; error {self.error:.1e}), "
            f"{self.stream_matched} by the stream's (error {self.stream_error:.1e}), "
            f"{self.all_matched} in all that is written into it"
        )


def own_actions(problem: Problem, best: Candidate, shares: Mapping[str, float]) -> tuple[OwnAction, ...]:
    """The own action of every weight on every stream: a set of neurons or channels that several weights write.

    Args:
        problem: The problem.
        best: The action that was found.
        shares: For each space the share of its elements that are matched in all that is written into it.
    """
    found = []
    for family in families(problem.view.graph):
        space = problem.view.graph.space(family.root)
        if len(family.spaces) > 1 or space.action is Action.LINEAR:
            continue
        sides = _sides(problem, family)
        if sum(_writes(problem, parameter, k) for parameter, k in sides) > 1:
            found += [_own(problem, best, family, parameter, k, shares.get(family.root, 0.0)) for parameter, k in sides]
    return tuple(found)


def _sides(problem: Problem, family: Family) -> list[tuple[Parameter, int]]:
    """The weights with one axis on a family, and that axis; none that lead from it to itself."""
    found = []
    for parameter in problem.view.graph.parameters:
        places = [k for k, axis in enumerate(parameter.axes) if axis.space == family.root]
        alone = len(parameter.axes) == 1 or parameter.kind == "bias"
        if len(places) == 1 and not alone and not stays_inside(problem.view.graph, parameter):
            found.append((parameter, places[0]))
    return found


def _writes(problem: Problem, parameter: Parameter, k: int) -> bool:
    """Whether a weight writes the space of an axis; in front of a norm, which takes scales back, its power is 0."""
    return parameter.axes[k].power > 0 or (
        parameter.axes[k].power == 0 and (parameter.name, k) not in reading(problem.graph)
    )


def _own(problem: Problem, best: Candidate, family: Family, parameter: Parameter, k: int, share: float) -> OwnAction:
    tensor, root = problem.view[parameter.name], family.root
    given = [maps[root] for maps in best.maps]
    own, matched, error = _solved(problem, best, family, parameter, k, tensor)
    stream, stream_error = _judged(best.maps, given, parameter, k, tensor)
    stays = torch.arange(tensor.shape[k + 1])
    moved = torch.zeros(len(stays), dtype=torch.bool)
    for element in own:
        assert isinstance(element, Monomial)
        moved |= element.perm.cpu() != stays
    rng, by_chance = torch.Generator().manual_seed(0), []
    rows = tensor.movedim(k + 1, 1).flatten(2)
    for _ in range(DRAWS):
        order = torch.randperm(rows.shape[2], generator=rng)
        signs = 2 * torch.randint(0, 2, (rows.shape[2],), generator=rng) - 1
        turned = rows[:, :, order.to(rows.device)] * signs.to(rows)
        turned = turned.reshape(tensor.movedim(k + 1, 1).shape).movedim(1, k + 1)
        by_chance.append(int(_solved(problem, best, family, parameter, k, turned)[1].sum()))
    return OwnAction(
        root,
        parameter.name,
        _writes(problem, parameter, k),
        len(stays),
        int(matched.sum()),
        int((matched & moved).sum()),
        error,
        int((stream & ~best.unmatched[root]).sum()),
        stream_error,
        round(share * len(stays)),
        max(by_chance),
    )


def _solved(
    problem: Problem, best: Candidate, family: Family, parameter: Parameter, k: int, tensor: Tensor
) -> tuple[list[Monomial], Tensor, float]:
    """The homomorphism that suits one weight, which elements it matches, and its error."""
    rows = tensor.movedim(k + 1, 0).flatten(1).double().cpu()
    scores: list[dict[str, Score]] = [{}]
    for g in range(1, problem.order):
        product = rows @ _image(best.maps[g], parameter, k, tensor).mT
        parts = (product, torch.zeros_like(product))
        scores.append({family.root: Score(*(parts if parameter.axes[k].power % 2 else parts[::-1]))})
    maps, alone = homomorphism(problem.view.graph, family, scores, problem.table)
    own = [each[family.root] for each in maps]
    matched, error = _judged(best.maps, own, parameter, k, tensor)
    return [element for element in own if isinstance(element, Monomial)], matched & ~alone, error


def _image(maps: Maps, parameter: Parameter, k: int, tensor: Tensor) -> Tensor:
    """A weight with all axes but one moved, as (elements of that axis, numbers)."""
    for place, axis in enumerate(parameter.axes):
        if place != k and axis.space in maps:
            tensor = maps[axis.space].apply(tensor, place + 1, axis.power)
    return tensor.movedim(k + 1, 0).flatten(1).double().cpu()


def _judged(
    maps: Sequence[Maps], own: Sequence[object], parameter: Parameter, k: int, tensor: Tensor
) -> tuple[Tensor, float]:
    """Which elements a weight matches when the k-th axis is moved by `own`, and the largest error."""
    rows = tensor.movedim(k + 1, 0).flatten(1).double().cpu()
    good, worst = torch.ones(len(rows), dtype=torch.bool), 0.0
    others = Parameter(parameter.name, tuple(a for j, a in enumerate(parameter.axes) if j != k), parameter.kind)
    for g in range(1, len(maps)):
        element = own[g]
        assert isinstance(element, Monomial)
        image = _image(maps[g], parameter, k, tensor)[element.perm.cpu()]
        if element.scale is not None and parameter.axes[k].power % 2:
            image = image * element.scale.cpu().double().sign().unsqueeze(1)
        reach = bounded(_reach_of(others, maps[g]))
        sizes = rows.norm(dim=1) * image.norm(dim=1)
        cosine = measured_from_reach((rows * image).sum(1) / sizes.clamp_min(torch.finfo(rows.dtype).tiny), reach**2)
        good &= (cosine >= MATCHED) & (sizes > 0)
        whole = float(rows.norm())
        worst = max(worst, float((image - rows).norm()) / (2**0.5 * whole) / reach if whole else 0.0)
    return good, worst


def _reach_of(others: Parameter, maps: Maps) -> float:
    """r² of all axes but the stream's, read or written: what a reader of the stream writes tells its elements apart."""
    stays = 1.0
    for axis in others.axes:
        if axis.space in maps:
            single = Parameter(others.name, (type(axis)(axis.space, -1),), others.kind)
            stays *= 1 - squared_reach(single, {axis.space: maps[axis.space]}, {})
    return 1 - stays
