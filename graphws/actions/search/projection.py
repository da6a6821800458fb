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
from graphws.graph.element import SpaceElement
from graphws.matching import Family, Score, assign_family
from graphws.matching.assignment import FamilySolver, best_permutation, placed_blocks, signs_of
from graphws.matching.match import same_map

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
    inverse = (table == 0).int().argmax(1)
    both = {name: _symmetric([each[name] for each in scores[1:]], inverse) for name in scores[1]}
    maps = _whole(assign_family(graph, family, both))
    size = {name: float(each.odd.abs().amax(-1).median()) for name, each in both.items()}
    unmatched = _inconsistent(graph, family, maps, table)
    for turn in range(1, rounds + 1):
        if not bool(unmatched.any()):  # votes for maps that agree already change nothing
            break
        weight = 2 * turn / rounds / m
        voted = {}
        for name in family.spaces:  # a space that nothing scores follows the votes alone
            votes = _votes(graph, maps, name, table, inverse)[1:]
            own = both.get(name)
            voted[name] = (
                Score(votes, torch.zeros_like(votes))
                if own is None
                else Score(own.odd + (weight * size[name] * votes).to(own.odd), own.even)
            )
        new = _whole(assign_family(graph, family, voted))
        settled = _equal(new, maps)
        maps = new
        unmatched = _inconsistent(graph, family, maps, table)
        if settled:
            break
    maps = _with_identity(maps, unmatched)
    for name, element in maps.items():
        if isinstance(element, LinearMap):
            parent = graph.space(name).parent
            parents = 1 if parent is None else graph.extent(parent)
            corrected = newton(list(element.matrix()), table, orthogonal=True, parents=parents)
            maps[name] = LinearMap(torch.stack(corrected))
    each = [identity, *({name: _one(element, g) for name, element in maps.items()} for g in range(1, m))]
    return each, unmatched


def _symmetric(scores: Sequence[Score], inverse: Tensor) -> Score:
    """The scores of k_g together with those of k_g⁻¹ the other way round, (elements but the identity, n, n)."""
    odd, even = torch.stack([s.odd for s in scores]), torch.stack([s.even for s in scores])
    back = inverse[1:] - 1
    return Score((odd + odd[back].mT) / 2, (even + even[back].mT) / 2)


def _whole(maps: Maps) -> Maps:
    """Maps of all elements but the identity with the identity in front."""
    found: Maps = {}
    for name, element in maps.items():
        if isinstance(element, Monomial):
            perm, scale = element.perm, element.scale
            first = torch.arange(element.size).unsqueeze(0)
            scale = None if scale is None else torch.cat([torch.ones_like(scale[:1]), scale])
            found[name] = Monomial(torch.cat([first, perm]), scale)
        else:
            eye = torch.eye(element.size, dtype=element.weight.dtype).unsqueeze(0)
            found[name] = LinearMap(torch.cat([eye, element.weight]))
    return found


def _one(element: SpaceElement, g: int) -> SpaceElement:
    if isinstance(element, LinearMap):
        return LinearMap(element.weight[g])
    return Monomial(element.perm[g], None if element.scale is None else element.scale[g])


def _votes(graph: NetworkGraph, maps: Maps, name: str, table: Tensor, inverse: Tensor) -> Tensor:
    """Σ_h k_gh k_h⁻¹ as matrices, (elements, n, n): where the other elements say that k_g goes."""
    element, m = maps[name], len(table)
    if isinstance(element, LinearMap):
        return _linear_votes(element.weight, maps.get(graph.space(name).parent or ""), table, inverse)
    vote = element.select(table).compose(element.select(inverse))
    scale = torch.ones_like(vote.perm, dtype=torch.float64) if vote.scale is None else vote.scale.double()
    total = torch.zeros(m, vote.size, vote.size, dtype=torch.float64)
    return total.scatter_add(2, vote.perm.transpose(1, 2), scale.transpose(1, 2))


def _linear_votes(weight: Tensor, origin: SpaceElement | None, table: Tensor, inverse: Tensor) -> Tensor:
    """The votes of matrices, block by block: block i of k_g comes from the children of parent origin[g, i]."""
    m, size = weight.shape[:2]
    perm = origin.perm if isinstance(origin, Monomial) else torch.zeros(m, 1, dtype=torch.long)
    parents = perm.shape[1]
    parted = weight.reshape(m, parents, size // parents, parents, size // parents).transpose(2, 3)
    blocks = parted.take_along_dim(perm[..., None, None, None], 2).squeeze(2)
    total = torch.zeros(m, *parted.shape[1:], dtype=torch.float64)
    rows = torch.arange(parents)
    for products, voted in zip(table, total, strict=True):
        middle = perm[products]
        votes = blocks[products] @ blocks[inverse.unsqueeze(1), middle]
        voted.index_put_((rows.expand(m, -1), perm[inverse].gather(1, middle)), votes.double(), accumulate=True)
    return total.transpose(2, 3).reshape(m, size, size)


def _equal(first: Maps, second: Maps) -> bool:
    for name, a in first.items():
        b = second[name]
        if isinstance(a, Monomial) and isinstance(b, Monomial):
            if not same_map(a, b):
                return False
        elif not torch.allclose(a.matrix(), b.matrix(), atol=1e-6):
            return False
    return True


def _inconsistent(graph: NetworkGraph, family: Family, maps: Maps, table: Tensor) -> Tensor:
    """The elements of the root on which the k_g are no homomorphism, closed under the k_g."""
    root = graph.space(family.root)
    good = torch.ones(root.size, dtype=torch.bool)
    for element in maps.values():
        if isinstance(element, LinearMap):
            continue
        every = torch.arange(len(table))
        product, wanted = element.select(every.unsqueeze(1)).compose(element.select(every)), element.select(table)
        same = product.perm == wanted.perm
        if product.scale is not None and wanted.scale is not None:
            same &= product.scale == wanted.scale
        good &= same.flatten(0, 1).all(0).reshape(root.size, -1).all(1)
    moves = maps[root.name]
    if isinstance(moves, LinearMap):
        return ~good
    while True:
        closed = good & good[moves.perm].all(0)
        if torch.equal(closed, good):
            return ~good
        good = closed


def _with_identity(maps: Maps, unmatched: Tensor) -> Maps:
    """The maps with unmatched elements of the root, and their children, staying where they are."""
    if not bool(unmatched.any()):
        return dict(maps)
    result: Maps = {}
    for name, element in maps.items():
        stays = unmatched.repeat_interleave(element.size // len(unmatched))
        if isinstance(element, Monomial):
            scale = None if element.scale is None else torch.where(stays, torch.ones_like(element.scale), element.scale)
            result[name] = Monomial(torch.where(stays, torch.arange(element.size), element.perm), scale)
        else:
            eye = torch.eye(element.size, dtype=element.weight.dtype)
            result[name] = LinearMap(torch.where(stays.unsqueeze(1), eye, element.weight))
    return result
