"""From scores to homomorphisms: maps k_g of one family for every element g of a finite group, with k_g k_h = k_gh.

* A group of order 2 needs an involution.  The assignment is solved on (C + Cᵀ)/2; cycles longer than two are cut into
  pairs and fixed points in the best way (a path's dynamic programme).  Inside nested families the same is done again
  for every parent that stays, while a pair of parents gets a map and its inverse.
* Any other finite group is *synchronised*: each k_g is solved for on its own, then again with the votes of k_{gh} k_h⁻¹
  added to its scores, ever more strongly.  What is left inconsistent is marked unmatched and stays: of the rest the
  largest closed set is kept, on which the k_g are a homomorphism exactly.
* On linear spaces an almost-homomorphism is corrected by N_g <- mean_h N_gh N_h⁻¹, Newton's iteration; for order 2 it
  is that of the matrix sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphws.actions.search.almost_homomorphisms import newton
from graphws.graph import Action, LinearMap, Monomial, NetworkGraph, Space
from graphws.graph.element import SpaceElement, compose
from graphws.matching import Family, Score, assign_family
from graphws.matching.assignment import FamilySolver, best_permutation, placed_blocks, signs_of

Maps = dict[str, SpaceElement]


def involution(graph: NetworkGraph, family: Family, scores: Mapping[str, Score]) -> Maps:
    """The best element of order 2 (or 1) on a family."""
    even = {name: (s + s.transposed).scaled(0.5) for name, s in scores.items()}
    like = next(iter(even.values())).odd
    solver = FamilySolver(graph, even, like)
    maps: Maps = {}
    _pick(graph, solver, graph.space(family.root), torch.zeros(1, dtype=torch.long, device=like.device), maps)
    return maps


def _pick(graph: NetworkGraph, solver: FamilySolver, space: Space, origin: Tensor, maps: Maps) -> None:
    """Fixes the map of a space whose parents are exchanged by the involution `origin`, then those of its children."""
    blocks, parents = solver.blocks(space), torch.arange(len(origin), device=origin.device)
    odd, even = blocks.odd[parents, origin], blocks.even[parents, origin]
    if space.moves and space.action is Action.LINEAR:
        left, _, right = torch.linalg.svd(odd)
        maps[space.name] = LinearMap(placed_blocks(left @ right, origin))
        return
    inner = torch.arange(space.size, device=origin.device).repeat(len(origin), 1)
    scale = None
    if space.moves:
        value = Score(odd, even).value(space.action)
        for i, j in enumerate(origin.tolist()):
            if i == j:
                inner[i] = torch.from_numpy(_pairs(value[i]))
            elif i < j:
                inner[i] = best_permutation(value[i])
                inner[j] = inner[i].argsort()
        scale = signs_of(odd, inner, space.action)
    perm = (origin.unsqueeze(1) * space.size + inner).flatten()
    maps[space.name] = Monomial(perm, None if scale is None else scale.flatten())
    for child in solver.children(space):
        _pick(graph, solver, child, perm, maps)


def _pairs(value: Tensor) -> NDArray[np.int64]:
    """The permutation of fixed points and exchanges that maximises Σ value[i, p[i]] within the assignment's cycles."""
    table = value.detach().double().cpu().numpy()
    free = best_permutation(value).numpy()
    perm, seen = free.copy(), np.zeros(len(free), dtype=bool)
    for start in range(len(free)):
        cycle = []
        while not seen[start]:
            seen[start] = True
            cycle.append(start)
            start = int(free[start])
        if len(cycle) > 2:
            for i, j in _cut(cycle, table):
                perm[i], perm[j] = j, i
    return perm


def _cut(cycle: list[int], value: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The best pairs of neighbours and fixed points of a cycle: its closing edge is either unused or used."""
    gain, pairs = _path(cycle, value)
    closing, rest = _path(cycle[1:-1], value)
    closing += 2 * value[cycle[0], cycle[-1]]
    return pairs if gain >= closing else [*rest, (cycle[0], cycle[-1])]


def _path(nodes: list[int], value: NDArray[np.float64]) -> tuple[float, list[tuple[int, int]]]:
    """The same for a path, by dynamic programming."""
    gains, paired = [0.0], [False]
    for k, node in enumerate(nodes):
        alone = gains[k] + value[node, node]
        together = gains[k - 1] + 2 * value[nodes[k - 1], node] if k else -np.inf
        gains.append(float(max(alone, together)))
        paired.append(bool(together > alone))
    pairs, k = [], len(nodes)
    while k:
        pairs.append((nodes[k - 2], nodes[k - 1]) if paired[k] else (nodes[k - 1], nodes[k - 1]))
        k -= 2 if paired[k] else 1
    return gains[-1], pairs


def homomorphism(
    graph: NetworkGraph, family: Family, scores: Sequence[Mapping[str, Score]], table: Tensor, rounds: int = 10
) -> tuple[list[Maps], Tensor]:
    """Maps k_g of a family for every element of a group, and which elements of its root stayed unmatched.

    Args:
        graph: The graph.
        family: The family.
        scores: For each element g of the group the scores of k_g; those of the identity are not looked at.
        table: (m, m) multiplication table, 0 the identity.
        rounds: At most so many rounds of voting.

    Returns:
        list[Maps], Tensor: k_g for each g, a homomorphism exactly on sets and to rounding on linear spaces; which
        elements of the root are unmatched, (root size,).
    """
    m = len(table)
    identity: Maps = {name: Monomial(torch.arange(graph.extent(name))) for name in family.spaces}
    nobody = torch.zeros(graph.space(family.root).size, dtype=torch.bool)
    if m == 1:
        return [identity], nobody
    if m == 2:
        return [identity, involution(graph, family, scores[1])], nobody
    inverse = [int((table[g] == 0).nonzero()[0, 0]) for g in range(m)]
    both = [
        {name: (s + scores[inverse[g]][name].transposed).scaled(0.5) for name, s in scores[g].items()} for g in range(m)
    ]
    maps = [identity, *(assign_family(graph, family, both[g]) for g in range(1, m))]
    size = {
        name: float(torch.stack([both[g][name].odd.abs().amax(1) for g in range(1, m)]).median()) for name in both[1]
    }
    unmatched = _inconsistent(graph, family, maps, table)
    for turn in range(1, rounds + 1):
        if not bool(unmatched.any()):  # votes for maps that agree already change nothing
            break
        new = [identity]
        for g in range(1, m):
            votes = _votes(maps, g, table, inverse)
            weight = 2 * turn / rounds / m
            voted = {
                name: Score(s.odd + (weight * size[name] * votes[name]).to(s.odd), s.even)
                for name, s in both[g].items()
            }
            for name in family.spaces:  # a space that nothing scores follows the votes alone
                voted.setdefault(name, Score(votes[name], torch.zeros_like(votes[name])))
            new.append(assign_family(graph, family, voted))
        settled = all(_equal(a, b) for a, b in zip(new, maps, strict=True))
        maps = new
        unmatched = _inconsistent(graph, family, maps, table)
        if settled:
            break
    maps = [_with_identity(graph, family, k, unmatched) for k in maps]
    for name in family.spaces:
        if isinstance(maps[1][name], LinearMap):
            parent = graph.space(name).parent
            parents = 1 if parent is None else graph.extent(parent)
            corrected = newton([k[name].matrix() for k in maps], table, orthogonal=True, parents=parents)
            maps = [{**k, name: LinearMap(c)} for k, c in zip(maps, corrected, strict=True)]
    return maps, unmatched


def _votes(maps: Sequence[Maps], g: int, table: Tensor, inverse: Sequence[int]) -> dict[str, Tensor]:
    """Σ_h k_gh k_h⁻¹ as matrices: where the other elements say that k_g goes."""
    total: dict[str, Tensor] = {}
    for h in range(len(table)):
        for name, element in maps[int(table[g, h])].items():
            vote = compose(element, maps[inverse[h]][name])
            if name not in total:
                total[name] = torch.zeros(vote.size, vote.size, dtype=torch.float64)
            if isinstance(vote, Monomial):
                scale = 1.0 if vote.scale is None else vote.scale.double()
                total[name][torch.arange(vote.size), vote.perm] += scale
            else:
                total[name] += vote.matrix()
    return total


def _equal(first: Maps, second: Maps) -> bool:
    for name, a in first.items():
        b = second[name]
        if isinstance(a, Monomial) and isinstance(b, Monomial):
            scales = [1.0 if x.scale is None else x.scale for x in (a, b)]
            if not torch.equal(a.perm, b.perm) or not bool(torch.as_tensor(scales[0] == scales[1]).all()):
                return False
        elif not torch.allclose(a.matrix(), b.matrix(), atol=1e-6):
            return False
    return True


def _inconsistent(graph: NetworkGraph, family: Family, maps: Sequence[Maps], table: Tensor) -> Tensor:
    """The elements of the root on which the k_g are no homomorphism, closed under the k_g."""
    root, m = graph.space(family.root), len(table)
    good = torch.ones(root.size, dtype=torch.bool)
    for name in family.spaces:
        if any(isinstance(k[name], LinearMap) for k in maps[1:]):
            continue
        for g in range(m):
            for h in range(m):
                product, wanted = compose(maps[g][name], maps[h][name]), maps[int(table[g, h])][name]
                assert isinstance(product, Monomial)
                assert isinstance(wanted, Monomial)
                same = product.perm == wanted.perm
                if product.scale is not None or wanted.scale is not None:
                    scales = [torch.ones(len(same)) if x.scale is None else x.scale for x in (product, wanted)]
                    same &= scales[0] == scales[1]
                good &= same.reshape(root.size, -1).all(1)
    while True:
        closed = good.clone()
        for k in maps:
            element = k[root.name]
            assert isinstance(element, Monomial) or root.action is Action.LINEAR
            if isinstance(element, Monomial):
                closed &= good[element.perm]
        if torch.equal(closed, good):
            return ~good
        good = closed


def _with_identity(graph: NetworkGraph, family: Family, maps: Maps, unmatched: Tensor) -> Maps:
    """The maps with unmatched elements of the root, and their children, staying where they are."""
    if not bool(unmatched.any()):
        return maps
    result: Maps = {}
    for name, element in maps.items():
        stays = unmatched.repeat_interleave(element.size // len(unmatched))
        rows = torch.arange(element.size)
        if isinstance(element, Monomial):
            scale = None if element.scale is None else torch.where(stays, torch.ones_like(element.scale), element.scale)
            result[name] = Monomial(torch.where(stays, rows, element.perm), scale)
        else:
            weight = element.weight.clone()
            weight[stays] = torch.eye(element.size, dtype=weight.dtype)[stays]
            result[name] = LinearMap(weight)
    return result
