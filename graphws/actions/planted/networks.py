"""Networks with a hidden symmetry that is known: what extraction is tested on.

`plant` draws an action of a finite group at random on every space of a graph, and weights that are exactly equivariant
under it:

* a set is a disjoint union of orbits G/H with randomly chosen subgroups H and, on signed spaces, characters H -> ±1;
* a nested set over an orbit G/H is induced from an action of H on the children of one parent;
* weights are random ones averaged over the group, Σ_g ρ(g)·θ;
* at last scales and bases that the activations allow are drawn, and action and weights conjugated by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.groups.placing import Placed
from graphws.graph import Action, GroupElement, Monomial, NetworkGraph, Space, Weights
from graphws.graph.element import SpaceElement
from graphws.matching.family import children

Maps = dict[str, SpaceElement]
Subgroup = frozenset[int]


@dataclass(frozen=True, eq=False)
class Planted:
    """A network and the action that is hidden in it.

    Attributes:
        weights: A batch of one.
        actions: For each element of the group the map of every space; `GroupElement(graph, actions[g])` leaves the
            weights as they are.
    """

    weights: Weights
    actions: tuple[Maps, ...]

    def noisy(self, level: float, generator: torch.Generator) -> Weights:
        """The weights with normal noise of `level` times the root mean square of each tensor."""

        def add(x: Tensor) -> Tensor:
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
            return x + level * x.square().mean().sqrt() * noise

        return self.weights.map(add)


def plant(
    graph: NetworkGraph,
    placed: Placed,
    generator: torch.Generator,
    *,
    rich: bool = True,
    condition: float | None = None,
) -> Planted:
    """An exactly equivariant network whose hidden action is drawn at random.

    Args:
        graph: Its graph.
        placed: The group on the graph's free spaces.
        generator: Source of randomness.
        rich: Whether to hide the action behind random scales and bases too.
        condition: Condition number of those bases; whatever normal numbers give where None.  Errors of a matrix that
            noise makes grow with it.
    """
    table = placed.symmetry.table
    actions: list[Maps] = [dict(maps) for maps in placed.maps]
    draw = _Draw(table, generator)
    for space in graph.spaces:
        if space.moves and space.parent is None:
            draw.family(graph, space, actions)
    start = {p.name: torch.randn(1, *graph.shape(p.name), generator=generator).double() for p in graph.parameters}
    images = [GroupElement(graph, maps).act(Weights(graph, start)) for maps in actions]
    mean = {p.name: torch.stack([image[p.name] for image in images]).mean(0) for p in graph.parameters}
    weights = Weights(graph, {name: _normalised(graph, name, tensor) for name, tensor in mean.items()})
    if not rich:
        return Planted(weights, tuple(actions))
    hide = GroupElement(graph, {s.name: _scales(graph, s, generator, condition) for s in graph.spaces if s.moves})
    back = hide.inverse()
    hidden = [(hide @ GroupElement(graph, maps) @ back).maps for maps in actions]
    return Planted(hide.act(weights), tuple(dict(maps) for maps in hidden))


def recovery(
    found: Sequence[Mapping[str, SpaceElement]], truth: Sequence[Mapping[str, SpaceElement]]
) -> dict[str, float]:
    """For each space with a monomial action the share of its elements that go where they should, signs included.

    Args:
        found: For each element of the group the maps found, in the gauge of `truth`.
        truth: The maps that were planted.
    """
    shares: dict[str, list[float]] = {}
    for ours, theirs in list(zip(found, truth, strict=True))[1:]:
        for name, element in theirs.items():
            other = ours.get(name)
            if isinstance(element, Monomial) and isinstance(other, Monomial):
                same = element.perm == other.perm
                signs = [torch.ones(len(same)) if x.scale is None else x.scale.sign() for x in (element, other)]
                shares.setdefault(name, []).append(float((same & (signs[0] == signs[1])).double().mean()))
    return {name: sum(values) / len(values) for name, values in shares.items()}


def _normalised(graph: NetworkGraph, name: str, tensor: Tensor) -> Tensor:
    """Weights with rows of mean norm 1, biases a tenth as large as drawn."""
    if graph.parameter(name).kind == "bias":
        return 0.1 * tensor
    rows = tensor.flatten(2) if tensor.ndim > 2 else tensor
    norm: Tensor = rows.norm(dim=-1).mean()
    return tensor / norm


def _scales(graph: NetworkGraph, space: Space, generator: torch.Generator, condition: float | None) -> SpaceElement:
    """A random scale of every neuron, or basis of every block, that the space's action allows."""
    single = NetworkGraph(
        (
            Space("parents", graph.extent(space.name) // space.size),
            Space("x", space.size, "nested", "parents", space.action),
        ),
        (),
    )
    element = single.group().random(generator, actions="rich").maps["x"]
    identity = Monomial(torch.arange(element.size))
    if isinstance(element, Monomial):
        return identity if element.scale is None else Monomial(identity.perm, element.scale)
    blocks = element.weight.reshape(-1, space.size, element.size // space.size, space.size)
    mixed = blocks.sum(2)  # one block a parent is not 0
    if condition is not None:
        left, _, right = torch.linalg.svd(mixed)
        stretch = condition ** torch.linspace(0, 1, space.size, dtype=mixed.dtype)
        mixed = left @ (stretch.unsqueeze(-1) * right)
    return type(element)(torch.block_diag(*mixed))


class _Draw:
    """Random actions of a group given by its table."""

    def __init__(self, table: Tensor, generator: torch.Generator) -> None:
        self.table, self.generator = table, generator
        self.order = len(table)
        self.subgroups = self._all_subgroups()

    def _closure(self, elements: set[int]) -> Subgroup:
        closed = {0} | elements
        while True:
            grown = closed | {int(self.table[a, b]) for a in closed for b in closed}
            if grown == closed:
                return frozenset(closed)
            closed = grown

    def _all_subgroups(self) -> list[Subgroup]:
        """Subgroups of one or two generators (all of those of the groups of pictures)."""
        everyone = range(self.order)
        found = {self._closure({a, b}) for a in everyone for b in everyone}
        return sorted(found, key=lambda subgroup: (len(subgroup), sorted(subgroup)))

    def _pick(self, options: Sequence[Subgroup]) -> Subgroup:
        return options[int(torch.randint(len(options), (), generator=self.generator))]

    def orbits(self, size: int, inside: Subgroup, free: bool) -> list[Subgroup]:
        """Stabilisers of the orbits of a random set of `size` elements on which the subgroup `inside` acts.

        With `free`, all orbits are as large as they can be: the linear action on such a set holds every irreducible
        representation, so equivariant weights into and out of it have full rank.
        """
        options = [subgroup for subgroup in self.subgroups if subgroup <= inside]
        if free and size % len(inside) == 0:
            return [frozenset({0})] * (size // len(inside))
        found, left = [], size
        while left:
            fitting = [subgroup for subgroup in options if len(inside) // len(subgroup) <= left]
            found.append(self._pick(fitting))
            left -= len(inside) // len(found[-1])
        return found

    def character(self, stabiliser: Subgroup, signed: bool) -> dict[int, float]:
        """A random homomorphism to ±1: its kernel has index one or two."""
        kernels = [s for s in self.subgroups if s <= stabiliser and 2 * len(s) == len(stabiliser)] if signed else []
        kernel = self._pick([stabiliser, *kernels])
        return {h: 1.0 if h in kernel else -1.0 for h in stabiliser}

    def cosets(self, group: Subgroup, stabiliser: Subgroup) -> list[int]:
        """One representative of each coset rH of the stabiliser in the group."""
        representatives: list[int] = []
        covered: set[int] = set()
        for g in sorted(group):
            if g not in covered:
                representatives.append(g)
                covered |= {int(self.table[g, h]) for h in stabiliser}
        return representatives

    def transport(self, representatives: Sequence[int], stabiliser: Subgroup, g: int) -> list[tuple[int, int]]:
        """For each coset r_j H where g takes it, and by which h: g r_j = r_l h."""
        moved = []
        for r in representatives:
            product = int(self.table[g, r])
            for place, other in enumerate(representatives):
                h = next((h for h in stabiliser if int(self.table[other, h]) == product), None)
                if h is not None:
                    moved.append((place, h))
        return moved

    def family(self, graph: NetworkGraph, root: Space, actions: list[Maps]) -> None:
        """Draws the action on a root space and all that is nested in it."""
        everyone = frozenset(range(self.order))
        points = torch.randperm(root.size, generator=self.generator).tolist()
        self._level(graph, root, [(everyone, [0], [points])], actions)

    def _level(
        self,
        graph: NetworkGraph,
        space: Space,
        parents: list[tuple[Subgroup, list[int], list[list[int]]]],
        actions: list[Maps],
    ) -> None:
        """One space: for every orbit of parents (stabiliser, cosets, the points of each parent) an induced action."""
        extent = graph.extent(space.name)
        perms = [torch.arange(extent) for _ in range(self.order)]
        scales = [torch.ones(extent).double() for _ in range(self.order)]
        below: list[tuple[Subgroup, list[int], list[list[int]]]] = []
        inner = {child.name: child.size for child in children(graph, space.name)}
        for stabiliser, cosets, places in parents:
            start = 0
            for orbit in self.orbits(space.size, stabiliser, space.action is Action.LINEAR):
                signed = space.action in (Action.SIGNED, Action.MONOMIAL)
                sign = self.character(orbit, signed)
                representatives = self.cosets(stabiliser, orbit)
                width = len(representatives)
                whole = [int(self.table[c, r]) for c in cosets for r in representatives]
                points = [place[start + k] for place in places for k in range(width)]
                for g in range(self.order):
                    for source, (place, h) in zip(points, self.transport(whole, orbit, g), strict=True):
                        perms[g][points[place]] = source  # K_g e_j = sign e_l
                        scales[g][points[place]] = sign[h]
                below.append((orbit, whole, [[p] for p in points]))
                start += width
        for g in range(self.order):
            plain = space.action not in (Action.SIGNED, Action.MONOMIAL)
            actions[g][space.name] = Monomial(perms[g], None if plain else scales[g])
        for child in children(graph, space.name):
            size = inner[child.name]
            nested = [
                (orbit, whole, [[p[0] * size + k for k in range(size)] for p in points])
                for orbit, whole, points in below
            ]
            self._level(graph, child, nested, actions)
