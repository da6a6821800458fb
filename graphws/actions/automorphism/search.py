"""All automorphisms of a network: colour refinement, individualisation, backtracking.

Refinement colours neurons by what they see until nothing more can be told apart.  If all colours are different, only
the identity is left.  Else one vertex of a cell is singled out and colours are refined again, down to a discrete
colouring: the *first path*, with base points v₁, v₂, ….  From its end upward, every other vertex w of the cell of v_k
is tried: is there an automorphism that fixes v₁ … v_{k-1} and takes v_k to w?  A second path is refined in step with
the first, and given up where the colours differ.  Vertices in the orbit of one that was found, or has failed, are
skipped, so the search needs about as many paths as there are generators.  The generators found form a strong generating
set: the order of the group is the product of the orbits' lengths.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.actions.automorphism.neurons import Neurons, mix, signed_spaces
from graphws.actions.pictures.joined_axes import grids, picture_view
from graphws.errors import GraphError, UsageError, nearest
from graphws.graph import Action, GroupElement, Monomial, NetworkGraph, Weights
from graphws.operations.canonical_gauge import canonical_element
from graphws.shown import Shown

ENDS = ("input", "output")
"""Roles of the free spaces that are permuted where nothing else is said."""


@dataclass(frozen=True, eq=False, repr=False)
class Automorphisms(Shown):
    """The automorphisms of one network.

    Attributes:
        graph: Its graph.
        generators: Elements that generate the group; none where only the identity is left.
        order: How many automorphisms there are.
        refinements: How much work it was.
    """

    graph: NetworkGraph
    generators: tuple[GroupElement, ...]
    order: int
    refinements: int

    def on(self, space: str) -> list[Tensor]:
        """The permutation of one space by each generator; vectors move as x'[i] = ± x[permutation[i]]."""
        size = self.graph.extent(space)
        every = torch.arange(size)
        found = (g.maps.get(space) for g in self.generators)
        return [m.perm if isinstance(m, Monomial) else every for m in found]

    def elements(self, most: int = 10_000) -> Iterator[GroupElement]:
        """Every automorphism, the identity first.

        Raises:
            GraphError: Where there are more than `most`.
        """
        if self.order > most:
            raise GraphError(f"{self.order} automorphisms are more than {most}: use the generators")
        identity = GroupElement(self.graph)
        seen, waiting = {_key(identity): identity}, [identity]
        yield identity
        while waiting:
            element = waiting.pop()
            for generator in self.generators:
                product = generator @ element
                if _key(product) not in seen:
                    seen[_key(product)] = product
                    waiting.append(product)
                    yield product

    def __str__(self) -> str:
        moved = [s.name for s in self.graph.spaces if any(s.name in g.maps for g in self.generators)]
        return f"{self.order} automorphisms, {len(self.generators)} generators, moving {', '.join(moved) or 'nothing'}"


def _key(element: GroupElement) -> tuple[tuple[int, ...], ...]:
    keys = []
    for space in element.graph.spaces:
        found = element.maps.get(space.name)
        if isinstance(found, Monomial):
            sign = torch.ones(found.size) if found.scale is None else found.scale.sign()
            keys.append(tuple(((found.perm + 1) * sign.long()).tolist()))
        else:
            keys.append(tuple(range(1, element.graph.extent(space.name) + 1)))
    return tuple(keys)


def automorphisms(
    weights: Weights,
    *,
    movable: Collection[str] | None = None,
    signed: Collection[str] = (),
    tolerance: float = 1e-6,
    budget: int = 2000,
) -> Automorphisms:
    """Every permutation of inputs and outputs that extends to an automorphism of the network.

    In a network that convolves, inputs are channels, and taps and pixels move too, as one turn or mirror of all
    pictures; the elements found are for its picture view (`graphws.actions.pictures.joined_axes`).  They are symmetries
    of its weights: strides and padding that are not the same on both sides may break them.

    Laws: each generator g has g.act(weights) = weights to the tolerance; the group holds every such element, among the
    permutations (and signs, where the action allows them) of the hidden spaces.  Matrices of linear spaces are not
    searched.  Dead and copied neurons have automorphisms of their own that move nothing else: reduce first.

    Args:
        weights: One network (a batch of one).  Positive scales (ReLU) are divided out first.
        movable: Free spaces to permute; inputs, outputs, taps and pixels where None.
        signed: Free spaces whose elements may change sign besides.
        tolerance: Largest difference of weights that count as equal, relative to their root mean square.
        budget: Most colour refinements; each costs a few times as much as reading the weights.

    Raises:
        UsageError: On several networks, or an unknown space.
        GraphError: Where the budget is used up.
    """
    if weights.batch != 1:
        raise UsageError(f"one network is searched at a time: got a batch of {weights.batch}")
    weights = picture_view(weights)
    graph, places = weights.graph, grids(weights.graph)
    free = [s.name for s in graph.spaces if not s.moves and s.parent is None]
    for name in (*(movable or ()), *signed):
        if name not in free:
            raise UsageError(f"{name!r} is no free space of this network" + nearest(name, free))
    if movable is None:
        movable = [name for name in free if graph.space(name).role in ENDS or name in places]
    exact = weights.to("cpu", torch.float64)
    gauge = None
    if any(s.moves and s.action in (Action.SCALING, Action.MONOMIAL) for s in graph.spaces):
        gauge = _single(canonical_element(exact))
        exact = gauge.act(exact)
    tensors = {name: x[0].detach() for name, x in exact.items()}
    spaces = signed_spaces(graph) | (set(signed) & set(movable))
    neurons = Neurons(graph, tensors, movable, spaces, tolerance, places)
    search = _Search(neurons, exact, tolerance, budget)
    generators, order = search.all()
    if gauge is not None:
        back = gauge.inverse()
        generators = [back @ g @ gauge for g in generators]
    return Automorphisms(graph, tuple(generators), order, search.spent)


def _single(element: GroupElement) -> GroupElement:
    """An element for a batch of one, without the batch."""
    maps = {}
    for name, m in element.maps.items():
        assert isinstance(m, Monomial)
        assert m.scale is not None  # canonical_element gives every map a scale
        maps[name] = Monomial(m.perm[0], m.scale[0])
    return GroupElement(element.graph, maps)


class _Search:
    """One search, with its budget."""

    def __init__(self, neurons: Neurons, weights: Weights, tolerance: float, budget: int) -> None:
        self.neurons, self.weights, self.tolerance, self.budget = neurons, weights, tolerance, budget
        self.spent = 0
        self.base: list[int] = []
        self.path: list[Tensor] = []
        self.found: list[Tensor] = []

    def all(self) -> tuple[list[GroupElement], int]:
        """Generators and the order of the group."""
        self.path = [self._refine(self.neurons.colours)]
        while (cell := _cell(self.path[-1])) is not None:
            self.base.append(int(cell[0]))
            self.path.append(self._single_out(self.path[-1], self.base[-1]))
        order = 1
        for level in reversed(range(len(self.base))):
            order *= self._level(level)
        return [self._element(p) for p in self.found], order

    def _refine(self, colours: Tensor) -> Tensor:
        if self.spent >= self.budget:
            raise GraphError(
                f"the search gave up after {self.budget} refinements with {len(self.found)} generators found: reduce "
                "the network first, lower the tolerance, or raise the budget"
            )
        self.spent += 1
        return self.neurons.refine(colours)

    def _single_out(self, colours: Tensor, vertex: int) -> Tensor:
        changed = colours.clone()
        changed[vertex] = mix(changed[vertex : vertex + 1], salt=7)[0]
        return self._refine(changed)

    def _level(self, level: int) -> int:
        """Tries every vertex that the base point of a level may go to; the length of its orbit."""
        point, colours = self.base[level], self.path[level]
        cell = (colours == colours[point]).nonzero().flatten().tolist()
        failed: set[int] = set()
        for vertex in cell:
            if vertex in self._orbit({point}) or vertex in failed:
                continue
            after = self._single_out(colours, vertex)
            made = self._extend(level + 1, after)
            if made is None:
                failed |= self._orbit({vertex})
            else:
                self.found.append(made)
        return len(self._orbit({point}))

    def _orbit(self, start: set[int]) -> set[int]:
        """What the generators found so far make of some vertices."""
        orbit, waiting = set(start), list(start)
        while waiting:
            vertex = waiting.pop()
            for p in self.found:
                image = int(p[vertex])
                if image not in orbit:
                    orbit.add(image)
                    waiting.append(image)
        return orbit

    def _extend(self, level: int, colours: Tensor) -> Tensor | None:
        """An automorphism that takes the first path, from `level` on, to colours refined in step; None without one."""
        first = self.path[level]
        if not torch.equal(first.sort().values, colours.sort().values):
            return None
        if level == len(self.base):
            made = torch.empty_like(first)
            made[first.argsort()] = colours.argsort()
            return made if self._holds(made) else None
        for vertex in (colours == first[self.base[level]]).nonzero().flatten().tolist():
            made_below = self._extend(level + 1, self._single_out(colours, vertex))
            if made_below is not None:
                return made_below
        return None

    def _holds(self, images: Tensor) -> bool:
        """Whether a relabelling of the vertices keeps partners together and every weight as it is."""
        partner = self.neurons.partner
        if not torch.equal(images[partner], partner[images]):
            return False
        for block in self.neurons.plane:
            rows, columns = (images[self.neurons.part(name)] - self.neurons.start[name] for name in block.spaces)
            if not torch.equal(block.labels[rows][:, columns], block.labels):
                return False
        element = self._element(images)
        moved = element.act(self.weights)
        for name, x in self.weights.items():
            if not x.is_floating_point():  # a counter
                continue
            scale = float(x.square().mean().sqrt()) or 1.0
            if float((moved[name] - x).abs().max()) > 4 * self.tolerance * scale:
                return False
        return True

    def _element(self, images: Tensor) -> GroupElement:
        maps = {}
        for space, size in self.neurons.sizes.items():
            begin = self.neurons.start[space]
            local = images[begin : begin + size] - begin
            sign = torch.where(local >= size, -1.0, 1.0).double()
            perm = local % size
            if bool((sign < 0).any()) or not torch.equal(perm, torch.arange(size)):
                maps[space] = Monomial(perm, sign if space in self.neurons.signed else None)
        return GroupElement(self.neurons.graph, maps)


def _cell(colours: Tensor) -> Tensor | None:
    """The smallest cell of two or more vertices (of those, the first by colour), or None."""
    values, counts = colours.unique(return_counts=True)
    several = counts > 1
    if not bool(several.any()):
        return None
    smallest = counts[several].min()
    chosen = values[several & (counts == smallest)][0]
    cell: Tensor = (colours == chosen).nonzero().flatten()
    return cell
