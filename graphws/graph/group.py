"""The symmetry group of a graph's weight space, and its elements.

G is a product with one factor for each space that moves: the permutations of a set; for a nested space one permutation
for every parent element, moved along with the parents (a wreath product); and, beyond permutations, the signs, scales
or matrices that the space's action allows.  Paper D, equation 4, is the case of an MLP's hidden layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.graph.element import LinearMap, Monomial, SpaceElement, compose
from graphws.graph.network import NetworkGraph
from graphws.graph.parameter import Parameter
from graphws.graph.space import Action, Space
from graphws.graph.weights import Weights
from graphws.shown import Shown

Richness = Literal["permutation", "rich"]


@dataclass(frozen=True, eq=False, repr=False)
class GroupElement(Shown):
    """One element of G (or a batch of them, one per network).

    Args:
        graph: The graph that it acts on.
        maps: For each space that it moves, what it does there; every other space stays.

    Raises:
        GraphError: Where a map does not fit the size of its space.
    """

    graph: NetworkGraph
    maps: Mapping[str, SpaceElement] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, element in self.maps.items():
            if element.size != self.graph.extent(name):
                raise GraphError(f"space {name!r} has {self.graph.extent(name)} elements, the map {element.size}")

    def act(self, weights: Weights) -> Weights:
        """The moved weights: each axis follows its space's map with its own power.

        Law: ``(g @ h).act(w) = g.act(h.act(w))``.
        """
        if weights.graph != self.graph:
            raise GraphError("this group element belongs to another graph than the weights")
        batches = [element.batch for element in self.maps.values() if element.batch is not None]
        others = [batch for batch in batches if batch != weights.batch]  # no sets: exported lengths have no hash
        if others:
            raise GraphError(
                f"this group element is one for each of {max(others)} networks, the weights hold {weights.batch}"
            )
        return Weights(self.graph, {p.name: self.move(p, weights[p.name]) for p in self.graph.parameters})

    def move(self, parameter: Parameter, tensor: Tensor) -> Tensor:
        """What becomes of the tensor of one parameter, shape (batch, ...): itself where nothing moves it."""
        for k, axis in enumerate(parameter.axes):
            if axis.inner and (axis.space in self.maps or self.graph.space(axis.space).parent in self.maps):
                tensor = self._inside(tensor, parameter, k)
            elif not axis.inner and axis.space in self.maps:
                tensor = self.maps[axis.space].apply(tensor, k + 1, axis.power)
        return tensor

    def _inside(self, tensor: Tensor, parameter: Parameter, k: int) -> Tensor:
        """Acts on an inner axis: children and their parents are put on one axis, as the maps have it.

        The axis of the parents has moved before; what is left is the map of the children after the way back of the
        parents, which stays inside every family.
        """
        axis = parameter.axes[k]
        space, host = self.graph.space(axis.space), self.graph.host(parameter, k)
        assert host is not None
        assert space.parent is not None
        families = self.graph.extent(space.parent)
        left = self._within(space)
        split = tensor.unflatten(host + 1, (families, -1)).movedim(k + 2, host + 2)
        whole: Tensor = left.apply(split.flatten(host + 1, host + 2), host + 1, axis.power)
        apart: Tensor = whole.unflatten(host + 1, (families, -1)).movedim(host + 2, k + 2)
        return apart.flatten(host + 1, host + 2)

    def _within(self, space: Space) -> SpaceElement:
        """What the element does inside the families of a space, after its parents have moved."""
        own, above = self.maps.get(space.name), self.maps.get(space.parent or "")
        if above is None:
            return own if own is not None else Monomial(torch.arange(self.graph.extent(space.name)))
        back = _carried(above, space.size).inverse()
        return back if own is None else compose(own, back)

    def alone(self, *names: str) -> GroupElement:
        """The part of the element that belongs to some spaces; spaces inside of them are carried along.

        Law: the element is the product of its parts, those of parents acting first.

        Args:
            names: The spaces, in the order in which their parts act: parents first.
        """
        made = GroupElement(self.graph)
        for name in names:
            maps: dict[str, SpaceElement] = {name: self._within(self.graph.space(name))}
            for space in self.graph.spaces:
                if space.parent in maps:
                    maps[space.name] = _carried(maps[space.parent], space.size)
            made = GroupElement(self.graph, maps) @ made
        return made

    def compose(self, other: GroupElement) -> GroupElement:
        """self after other."""
        if other.graph != self.graph:
            raise GraphError("group elements of different graphs cannot be composed")
        maps = dict(other.maps)
        for name, element in self.maps.items():
            maps[name] = compose(element, maps[name]) if name in maps else element
        return GroupElement(self.graph, maps)

    __matmul__ = compose

    def inverse(self) -> GroupElement:
        """The element that undoes this one."""
        return GroupElement(self.graph, {name: element.inverse() for name, element in self.maps.items()})

    def select(self, index: Tensor) -> GroupElement:
        """Of an element for each network, those of some; every map must be one for each."""
        return GroupElement(self.graph, {name: element.select(index) for name, element in self.maps.items()})

    def __str__(self) -> str:
        moved = ", ".join(f"{name}: {element}" for name, element in self.maps.items())
        return f"GroupElement({moved or 'the identity'})"

    def to(self, device: torch.device | str) -> GroupElement:
        """Moved to a device."""
        moved: dict[str, SpaceElement] = {}
        for name, element in self.maps.items():
            if isinstance(element, LinearMap):
                moved[name] = LinearMap(element.weight.to(device))
            else:
                scale = None if element.scale is None else element.scale.to(device)
                moved[name] = Monomial(element.perm.to(device), scale)
        return GroupElement(self.graph, moved)


def _carried(above: SpaceElement, size: int) -> Monomial:
    """The children of moved parents, in the order that they had."""
    assert isinstance(above, Monomial)
    rows = torch.arange(size, device=above.perm.device)
    return Monomial((above.perm.unsqueeze(-1) * size + rows).flatten(-2))


@dataclass(frozen=True, repr=False)
class Group(Shown):
    """The group of a graph.

    Args:
        graph: The graph.
    """

    graph: NetworkGraph

    @property
    def factors(self) -> tuple[str, ...]:
        """One factor a moving space, as text: ``S_32``, ``S_4 wr S_8``."""
        texts = []
        for space in self.graph.spaces:
            if space.moves:
                outer = "".join(f" wr S_{p.size}" for p in reversed(self.graph.lineage(space.name)[:-1]) if p.moves)
                texts.append(f"S_{space.size}{outer}")
        return tuple(texts)

    def __str__(self) -> str:
        factors = " x ".join(self.factors) or "trivial"
        return f"Group(log10|G| = {self.graph.log10_order():.1f}: {factors})"

    def identity(self) -> GroupElement:
        """The element that moves nothing."""
        return GroupElement(self.graph)

    def random(
        self,
        generator: torch.Generator,
        batch: int | None = None,
        actions: Richness = "permutation",
        dtype: torch.dtype = torch.float64,
        moving: bool = False,
    ) -> GroupElement:
        """A random element, drawn on the generator's device.

        Permutations are uniform.  With ``actions="rich"`` the scales, signs or matrices that each space's action
        allows come on top: scales within e^±1, matrices of condition number below e.

        Args:
            generator: Source of randomness.
            batch: Draws one element for each of so many networks; None draws one for all.
            actions: ``permutation`` or ``rich``.
            dtype: Type of scales and matrices.
            moving: Leaves no space as it is: in place of the identity, which is likely on two elements, a cycle is
                drawn, and in place of positive signs alone a negative one too.
        """
        draw = _Draw(self.graph, generator, batch, dtype, moving)
        maps: dict[str, SpaceElement] = {}
        for space in self.graph.spaces:
            element = draw.permutation(space, maps.get(space.parent) if space.parent else None)
            if element is None:
                continue
            rich = actions == "rich" and space.moves
            maps[space.name] = draw.enrich(space, element) if rich else element
        return GroupElement(self.graph, maps)

    def contains(self, element: GroupElement, actions: Richness = "rich") -> bool:
        """Whether an element belongs to the group: permutations respect parents, scales respect the actions.

        Args:
            element: The candidate.
            actions: Whether the rich actions count, or permutations only.
        """
        if element.graph != self.graph:
            return False
        return all(_belongs(self.graph, space, element, actions) for space in self.graph.spaces)


@dataclass(frozen=True)
class _Draw:
    """Random maps of single spaces."""

    graph: NetworkGraph
    generator: torch.Generator
    batch: int | None
    dtype: torch.dtype
    moving: bool = False

    def _shape(self, *tail: int) -> tuple[int, ...]:
        return tail if self.batch is None else (self.batch, *tail)

    def _uniform(self, low: float, high: float, *tail: int) -> Tensor:
        device = self.generator.device
        unit = torch.rand(self._shape(*tail), generator=self.generator, dtype=self.dtype, device=device)
        return low + (high - low) * unit

    def permutation(self, space: Space, parent: SpaceElement | None) -> Monomial | None:
        """A uniform permutation of the space's extent that follows the parent's; None where nothing moves."""
        if not space.moves and parent is None:
            return None
        families = self.graph.extent(space.name) // space.size
        rows = torch.arange(space.size, device=self.generator.device)
        if space.moves:
            children = self._uniform(0, 1, families, space.size).argsort(-1)
            if self.moving:
                children = torch.where((children == rows).all(-1, keepdim=True), rows.roll(1), children)
        else:
            children = rows.expand(self._shape(families, space.size))
        if space.parent is None:
            return Monomial(children.flatten(-2))
        assert parent is None or isinstance(parent, Monomial)
        origin = parent.perm if parent else torch.arange(families, device=self.generator.device)
        return Monomial((origin.unsqueeze(-1) * space.size + children).flatten(-2))

    def enrich(self, space: Space, element: Monomial) -> SpaceElement:
        """The permutation with a random part of the space's action on top."""
        n = element.size
        if space.action is Action.PERMUTATION:
            return element
        if space.action is Action.LINEAR:
            blocks = self._uniform(-1, 1, n // space.size, space.size, space.size)
            left, _, right = torch.linalg.svd(blocks)
            spread = torch.exp(self._uniform(-0.5, 0.5, n // space.size, space.size))
            mixed = left @ (spread.unsqueeze(-1) * right)
            columns = element.perm.argsort(-1).unsqueeze(-2)
            whole = _block_diagonal(mixed)
            return LinearMap(whole.gather(-1, columns.expand(whole.shape)))
        sign = torch.where(self._uniform(-1, 1, n) < 0, -1.0, 1.0).to(self.dtype)
        if self.moving:
            sign[..., :1] = torch.where((sign > 0).all(-1, keepdim=True), -1.0, sign[..., :1])
        size = torch.exp(self._uniform(-1, 1, n))
        scale = {Action.SIGNED: sign, Action.SCALING: size, Action.MONOMIAL: sign * size}[space.action]
        return Monomial(element.perm, scale)


def _block_diagonal(blocks: Tensor) -> Tensor:
    """(…, h, d, d) blocks as one (…, h·d, h·d) matrix."""
    h, d = blocks.shape[-3], blocks.shape[-1]
    eye = torch.eye(h, dtype=blocks.dtype, device=blocks.device)
    whole = blocks.unsqueeze(-2) * eye.reshape(h, 1, h, 1)
    return whole.reshape(*blocks.shape[:-3], h * d, h * d)


def _belongs(graph: NetworkGraph, space: Space, element: GroupElement, actions: Richness) -> bool:
    """Whether what `element` does on one space is allowed there."""
    n = graph.extent(space.name)
    here = element.maps.get(space.name) or Monomial(torch.arange(n))
    if not _invertible(here):
        return False
    above = element.maps.get(space.parent) if space.parent else None
    families = n // space.size
    pattern = here.matrix().abs() > 1e-9 if isinstance(here, LinearMap) else here.matrix() != 0
    moved = pattern.reshape(*pattern.shape[:-2], families, space.size, families, space.size)
    origin = above.matrix() != 0 if above is not None else torch.eye(families, dtype=torch.bool)
    allowed = origin.reshape(*origin.shape[:-2], families, 1, families, 1)
    if space.parent is not None and bool((moved & ~allowed).any()):
        return False
    if isinstance(here, LinearMap):
        return actions == "rich" and space.action is Action.LINEAR and space.moves
    if not space.moves:
        rows = torch.eye(space.size, dtype=torch.bool).reshape(1, space.size, 1, space.size)
        return here.scale is None and not bool((moved & ~rows).any())
    if here.scale is None:
        return True
    if space.action is Action.LINEAR:
        return actions == "rich"
    if actions == "permutation" or space.action is Action.PERMUTATION:
        return bool((here.scale == 1).all())
    signed, scaled = bool((here.scale < 0).any()), bool((here.scale.abs() != 1).any())
    return {
        Action.SIGNED: not scaled,
        Action.SCALING: not signed,
        Action.MONOMIAL: True,
    }[space.action]


def _invertible(element: SpaceElement) -> bool:
    """Whether the map has an inverse: a matrix of full rank; a permutation with finite scales, none of them 0."""
    if isinstance(element, LinearMap):
        finite = bool(torch.isfinite(element.weight).all())
        return finite and bool((torch.linalg.matrix_rank(element.weight) == element.size).all())
    rows = torch.arange(element.size, device=element.perm.device)
    whole = bool((element.perm.sort(-1).values == rows).all())
    scale = element.scale
    return whole and (scale is None or bool((torch.isfinite(scale) & (scale != 0)).all()))
