"""Intertwiner groups: the linear maps that an activation lets through.

The intertwiners of an activation σ on ℝⁿ are the invertible A for which there is a B with σ ∘ A = B ∘ σ (paper I,
section 5.1).  They are what may act on a layer's neurons without changing the function, and so where latent group
actions have to be looked for:

=============  ==========================================  =====================================================
action         A                                           activations
=============  ==========================================  =====================================================
permutation    permutations                                any
signed         permutations with signs                     odd ones: tanh, sine; even ones, where B has no signs
scaling        permutations with positive scales           ReLU, leaky ReLU; ReLU², where B has squared scales
monomial       permutations with non-zero scales           powers t^m, where B has scales to the m
linear         GL(n)                                       none
=============  ==========================================  =====================================================

Inside attention heads the group is a wreath product, GL(d) wr S_h: heads are permuted, each with its own matrix.

The table is a claim about functions, which `graphws.actions.intertwiners.measured` puts to the test.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from graphws.errors import UsageError, nearest
from graphws.graph import Action, GroupElement, LinearMap, Monomial, NetworkGraph, Space
from graphws.graph.element import SpaceElement, compose
from graphws.operations import ACTIVATIONS
from graphws.shown import Shown

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True, repr=False)
class Intertwiners(Shown):
    """The intertwiner group of one space.

    Args:
        action: Which maps belong to it.
        size: Number of neurons; inside heads, dimensions of a head.
        heads: Number of heads, for the wreath product; None for a plain layer.
        exponent: m, where a scale a of A is a scale |a|^m of B, with its sign unless `even`; 1 for most activations.
        even: Whether B has no signs, as for even activations.

    Raises:
        UsageError: On a size below 1.
    """

    action: Action
    size: int
    heads: int | None = None
    exponent: float = 1
    even: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "action", Action(self.action))
        if self.size < 1 or (self.heads is not None and self.heads < 1):
            raise UsageError(f"an intertwiner group needs at least one neuron, got {self.size} in {self.heads} heads")

    @staticmethod
    def of(activation: str, size: int, exponent: int | None = None) -> Intertwiners:
        """The group of a named activation.

        Raises:
            UsageError: On a name that is not in `graphws.operations.ACTIVATIONS`.
        """
        if activation not in ACTIVATIONS:
            raise UsageError(f"unknown activation {activation!r}" + nearest(activation, ACTIVATIONS))
        power = (exponent or 2) if activation == "power" else 1
        return Intertwiners(ACTIVATIONS[activation].action, size, exponent=power, even=power % 2 == 0)

    @cached_property
    def _graph(self) -> NetworkGraph:
        if self.heads is None:
            return NetworkGraph((Space("neurons", self.size, action=self.action),), ())
        heads = Space("heads", self.heads)
        return NetworkGraph((heads, Space("neurons", self.size, "nested", "heads", action=self.action)), ())

    @property
    def extent(self) -> int:
        """Number of coordinates that the group acts on."""
        return self._graph.extent("neurons")

    def sample(self, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> SpaceElement:
        """A random element: permutations are uniform, scales within e^±1, matrices of condition number below e."""
        return self._graph.group().random(generator, actions="rich", dtype=dtype).maps["neurons"]

    def identity(self) -> SpaceElement:
        """The element that moves nothing."""
        return Monomial(torch.arange(self.extent))

    def act(self, element: SpaceElement, values: Tensor) -> Tensor:
        """A x for every row x of (points, extent) values."""
        return element.apply(values.unsqueeze(0), values.ndim, 1).squeeze(0)

    def compose(self, first: SpaceElement, second: SpaceElement) -> SpaceElement:
        """`first` after `second`."""
        return compose(first, second)

    def inverse(self, element: SpaceElement) -> SpaceElement:
        """The element that undoes another."""
        return element.inverse()

    def partner(self, element: SpaceElement) -> SpaceElement:
        """B with σ ∘ A = B ∘ σ: A itself, or for powers and even activations the same permutation with other scales."""
        if isinstance(element, LinearMap) or element.scale is None or (self.exponent == 1 and not self.even):
            return element
        size = element.scale.abs() ** self.exponent
        return Monomial(element.perm, size if self.even else element.scale.sign() * size)

    def contains(self, element: SpaceElement) -> bool:
        """Whether an element belongs to the group.

        Heads are read off where the blocks of a matrix stand; a matrix with one entry in every row and column is taken
        for what it is, a permutation with scales.
        """
        if element.size != self.extent:
            return False
        if isinstance(element, LinearMap) and self.action is not Action.LINEAR:
            element = _as_monomial(element) or element
        maps = {"neurons": element}
        if self.heads is not None:
            blocks = element.matrix().abs().reshape(self.heads, self.size, self.heads, self.size).sum((1, 3))
            perm = blocks.argmax(1)
            if perm.unique().numel() != self.heads:
                return False
            maps["heads"] = Monomial(perm)
        return self._graph.group().contains(GroupElement(self._graph, maps))

    def defect(self, function: Function, element: SpaceElement, values: Tensor) -> float:
        """‖σ(A x) - B σ(x)‖ / ‖σ(A x)‖ over (points, extent) values: 0 for an intertwiner of σ."""
        moved = function(self.act(element, values))
        gap = moved - self.act(self.partner(element), function(values))
        return float(gap.norm() / moved.norm().clamp_min(torch.finfo(values.dtype).tiny))


def _as_monomial(element: LinearMap) -> Monomial | None:
    """The permutation with scales that a matrix is, to rounding; None where it is none.  Scales near ±1 are ±1."""
    matrix = element.weight
    filled = matrix.abs() > 1e-9 * matrix.abs().max()
    if matrix.ndim != 2 or not bool((filled.sum(0) == 1).all()) or not bool((filled.sum(1) == 1).all()):
        return None
    scale = matrix[filled]
    sign = scale.sign()
    return Monomial(filled.to(torch.long).argmax(1), torch.where((scale - sign).abs() < 1e-9, sign, scale))
