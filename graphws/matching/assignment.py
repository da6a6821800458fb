"""From scores to maps: assignment problems, signs, wreath products and polar factors.

A set is an assignment problem.  A signed space takes |C| for the odd part and reads the sign off the chosen entry.  A
nested family is solved from the inside: for every pair of parent elements the best map between their children is worth
something, and these values join the parents' own scores; then the chosen pairs keep their children's maps.  With h
heads of d dimensions that is h² small problems and one of size h, never a search over h!·(d!)^h.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph import Action, LinearMap, Monomial, NetworkGraph, Space
from graphws.graph.element import SpaceElement
from graphws.matching.family import Family, children
from graphws.matching.linear import nearest_orthogonal
from graphws.matching.scores import Score


def best_permutation(values: Tensor) -> Tensor:
    """The permutation p that maximises Σ_i values[i, p[i]], (n,); solved on the CPU.

    Raises:
        GraphError: Where the values are not finite.
    """
    return best_permutations(values.unsqueeze(0))[0]


def best_permutations(values: Tensor) -> Tensor:
    """`best_permutation` of each of a batch, (batch, n)."""
    tables = values.detach().double().cpu().numpy()
    if not np.isfinite(tables).all():
        raise GraphError("the scores hold NaN or infinity: are all weights finite?")
    found = np.empty(tables.shape[:2], dtype=np.int64)
    for k, table in enumerate(tables):
        found[k] = linear_sum_assignment(table, maximize=True)[1]
    return torch.from_numpy(found)


def best_monomial(score: Score, action: Action) -> Monomial:
    """The best permutation, with the signs that a signed or monomial action allows; sizes are left to the gauge."""
    perm = best_permutation(score.value(action)).to(score.odd.device)
    return Monomial(perm, signs_of(score.odd, perm, action))


def signs_of(odd: Tensor, perm: Tensor, action: Action) -> Tensor | None:
    """The signs of the chosen entries odd[..., i, perm[i]], or None where the action has none."""
    if action not in (Action.SIGNED, Action.MONOMIAL):
        return None
    chosen = odd.gather(-1, perm.unsqueeze(-1)).squeeze(-1)
    return torch.where(chosen < 0, -torch.ones_like(chosen), torch.ones_like(chosen))


def assign_family(
    graph: NetworkGraph,
    family: Family,
    scores: Mapping[str, Score],
    fixed: Mapping[str, SpaceElement] | None = None,
) -> dict[str, SpaceElement]:
    """The best map of every space of a family; one for each of a batch where scores have a batch axis in front.

    Law: the result is an element of the graph's group restricted to the family: children follow their parents, scales
    are signs where the action allows them, and linear spaces get orthogonal matrices.

    Args:
        graph: The graph.
        family: The spaces to solve for.
        scores: Scores of its spaces; one that is missing has none.
        fixed: Maps that are given; with a space's map come those of its parents.

    Raises:
        GraphError: Where scores are missing for all of them, or are not finite.
    """
    if not scores:
        raise GraphError(f"nothing is known about space {family.root!r}: no parameter speaks about it")
    like = next(iter(scores.values())).odd
    solver = FamilySolver(graph, scores, like, fixed)
    maps: dict[str, SpaceElement] = {}
    origin = torch.zeros(*like.shape[:-2], 1, dtype=torch.long, device=like.device)
    solver.pick(graph.space(family.root), origin, maps)
    return maps


class FamilySolver:
    """The inner problems of one family: what each pair of parents is worth, and the maps between their children.

    Scores may have a batch axis in front, as have all tensors here then, and the maps.
    """

    def __init__(
        self,
        graph: NetworkGraph,
        scores: Mapping[str, Score],
        like: Tensor,
        fixed: Mapping[str, SpaceElement] | None = None,
    ) -> None:
        self.graph, self.like = graph, like
        self.scores, self.fixed = scores, fixed or {}
        self._totals: dict[str, Score] = {}

    def children(self, space: Space) -> list[Space]:
        """The spaces nested directly in one."""
        return children(self.graph, space.name)

    def total(self, space: Space) -> Score:
        """The space's own scores plus what the best maps of its children are worth for every pair of elements."""
        if space.name not in self._totals:
            own = self.scores.get(space.name)
            n = self.graph.extent(space.name)
            nothing = self.like.new_zeros(*self.like.shape[:-2], n, n)
            total = own or Score(nothing, nothing)
            for child in self.children(space):
                total = Score(total.odd, total.even + self.worth(child))
            self._totals[space.name] = total
        return self._totals[space.name]

    def blocks(self, space: Space) -> Score:
        """The scores as (…, parents, parents, size, size)."""
        total, size = self.total(space), space.size
        families = total.size // size
        shape = (*total.odd.shape[:-2], families, size, families, size)
        return Score(*(part.reshape(shape).transpose(-3, -2) for part in (total.odd, total.even)))

    def worth(self, space: Space) -> Tensor:
        """The best value of mapping the children of parent j to those of parent i, (…, parents, parents)."""
        blocks = self.blocks(space)
        if space.action is Action.LINEAR and space.moves:
            nuclear: Tensor = torch.linalg.svdvals(blocks.odd).sum(-1)
            return nuclear + blocks.even.diagonal(dim1=-2, dim2=-1).sum(-1)
        values = blocks.value(space.action if space.moves else Action.PERMUTATION)
        if not space.moves:
            return values.diagonal(dim1=-2, dim2=-1).sum(-1)
        table = values.detach().double().cpu().numpy()
        if not np.isfinite(table).all():
            raise GraphError("the scores hold NaN or infinity: are all weights finite?")
        best = np.empty(table.shape[:-2])
        for pair in np.ndindex(*best.shape):
            rows, columns = linear_sum_assignment(table[pair], maximize=True)
            best[pair] = table[pair][rows, columns].sum()
        return torch.from_numpy(best).to(self.like)

    def pick(self, space: Space, origin: Tensor, maps: dict[str, SpaceElement]) -> None:
        """Fixes the map of a space whose parents are moved by `origin`, (…, parents), then those of its children."""
        given = self.fixed.get(space.name)
        if given is not None:
            maps[space.name] = given
            if isinstance(given, Monomial):
                for child in self.children(space):
                    self.pick(child, given.perm, maps)
            return
        blocks, places = self.blocks(space), origin[..., None, None, None]
        odd, even = (part.take_along_dim(places, -3).squeeze(-3) for part in (blocks.odd, blocks.even))
        if space.moves and space.action is Action.LINEAR:
            maps[space.name] = LinearMap(placed_blocks(nearest_orthogonal(odd), origin))
            return
        if space.moves:
            value = Score(odd, even).value(space.action).flatten(0, -3)
            inner = best_permutations(value).to(origin.device).reshape(*origin.shape, space.size)
            scale = signs_of(odd, inner, space.action)
        else:
            inner, scale = torch.arange(space.size, device=origin.device).expand(*origin.shape, -1), None
        perm = (origin.unsqueeze(-1) * space.size + inner).flatten(-2)
        maps[space.name] = Monomial(perm, None if scale is None else scale.flatten(-2))
        for child in self.children(space):
            self.pick(child, perm, maps)


def placed_blocks(blocks: Tensor, origin: Tensor) -> Tensor:
    """(…, parents, d, d) blocks as one matrix that sends the children of origin[…, i] to those of i."""
    families, size = blocks.shape[-3:-1]
    whole = blocks.new_zeros(*blocks.shape[:-3], families, families, size, size)
    places = origin[..., None, None, None].expand(*origin.shape, 1, size, size)
    placed = whole.scatter(-3, places, blocks.unsqueeze(-3)).transpose(-3, -2)
    return placed.reshape(*blocks.shape[:-3], families * size, families * size)
