"""What one group element does to one space: a monomial map (permutation and scales) or an invertible matrix.

Conventions.  A monomial map sends a vector x over the space to ``x'[i] = scale[i] * x[perm[i]]``; a linear map sends it
to ``A x``.  An axis of power p (see `graphws.graph.Axis`) is scaled by ``scale[i]**p``; under a matrix, power 1 gets A
and power -1 its inverse transpose.  ``a.compose(b)`` is a after b.  Every tensor here may carry one leading batch
axis, for an element of its own per network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from graphws.errors import GraphError


def _along(vector: Tensor, tensor: Tensor, axis: int) -> Tensor:
    """`vector` of shape (n,) or (batch, n), shaped to broadcast along `axis` of `tensor`."""
    shape = [1] * tensor.ndim
    shape[axis] = vector.shape[-1]
    if vector.ndim == 2:
        shape[0] = vector.shape[0]
    return vector.reshape(shape)


@dataclass(frozen=True, eq=False)
class Monomial:
    """x'[i] = scale[i] * x[perm[i]].

    Args:
        perm: (n,) or (batch, n), each row a permutation of range(n).
        scale: The same shape, non-zero; all ones where None.
    """

    perm: Tensor
    scale: Tensor | None = None

    @property
    def size(self) -> int:
        """Number of elements of the space."""
        return self.perm.shape[-1]

    @property
    def batch(self) -> int | None:
        """Number of networks, or None for one element for all."""
        return self.perm.shape[0] if self.perm.ndim == 2 else None

    def apply(self, tensor: Tensor, axis: int, power: int) -> Tensor:
        """Acts on one axis of a (batch, ...) tensor."""
        if self.perm.ndim == 1:
            moved = tensor.index_select(axis, self.perm)
        else:
            moved = tensor.gather(axis, _along(self.perm, tensor, axis).expand(tensor.shape))
        if self.scale is None or power == 0:
            return moved
        return moved * _along(self.scale.to(tensor.dtype) ** power, tensor, axis)

    def compose(self, other: Monomial) -> Monomial:
        """self after other."""
        first, second = torch.broadcast_tensors(self.perm, other.perm)
        perm = second.gather(-1, first)
        if self.scale is None and other.scale is None:
            return Monomial(perm)
        one = torch.ones((), device=perm.device)
        inner = other.scale.expand(second.shape).gather(-1, first) if other.scale is not None else one
        outer = self.scale.expand(perm.shape) if self.scale is not None else one
        return Monomial(perm, outer * inner)

    def inverse(self) -> Monomial:
        """The map that undoes this one."""
        perm = self.perm.argsort(-1)
        return Monomial(perm, None if self.scale is None else 1 / self.scale.gather(-1, perm))

    def select(self, index: Tensor) -> Monomial:
        """Of a map for each network, those of some."""
        return Monomial(self.perm[index], None if self.scale is None else self.scale[index])

    def matrix(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """The same map as a matrix, shape (n, n) or (batch, n, n)."""
        matrix = torch.nn.functional.one_hot(self.perm, self.size).to(dtype)
        return matrix if self.scale is None else matrix * self.scale.to(dtype).unsqueeze(-1)


@dataclass(frozen=True, eq=False)
class LinearMap:
    """x' = A x.

    Args:
        weight: A, shape (n, n) or (batch, n, n), invertible.
    """

    weight: Tensor

    @property
    def size(self) -> int:
        """Number of elements of the space."""
        return self.weight.shape[-1]

    @property
    def batch(self) -> int | None:
        """Number of networks, or None for one element for all."""
        return self.weight.shape[0] if self.weight.ndim == 3 else None

    def apply(self, tensor: Tensor, axis: int, power: int) -> Tensor:
        """Acts on one axis of a (batch, ...) tensor; defined for powers 1, -1 and 0."""
        if power == 0:
            return tensor
        if power not in (1, -1):
            raise GraphError(f"a general linear map cannot act on an axis of power {power}: only on 1, 0 and -1")
        weight = self.weight.to(tensor.dtype)
        if power == -1:
            weight = torch.linalg.inv(weight).mT
        if weight.ndim == 2:
            return torch.movedim(torch.tensordot(tensor, weight, dims=([axis], [1])), -1, axis)
        rows = torch.movedim(tensor, axis, 1)
        mixed = torch.bmm(weight, rows.reshape(*rows.shape[:2], -1))
        return torch.movedim(mixed.reshape(rows.shape), 1, axis)

    def compose(self, other: LinearMap) -> LinearMap:
        """self after other."""
        return LinearMap(self.weight @ other.weight)

    def inverse(self) -> LinearMap:
        """The map that undoes this one."""
        return LinearMap(torch.linalg.inv(self.weight))

    def select(self, index: Tensor) -> LinearMap:
        """Of a map for each network, those of some."""
        return LinearMap(self.weight[index])

    def matrix(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """A itself."""
        return self.weight.to(dtype)


SpaceElement = Monomial | LinearMap


def compose(first: SpaceElement, second: SpaceElement) -> SpaceElement:
    """`first` after `second`; a monomial map among matrices becomes a matrix."""
    if isinstance(first, Monomial) and isinstance(second, Monomial):
        return first.compose(second)
    dtype = first.weight.dtype if isinstance(first, LinearMap) else second.matrix().dtype
    return LinearMap(first.matrix(dtype) @ second.matrix(dtype))


def stack(elements: Sequence[SpaceElement]) -> SpaceElement:
    """One map for each of several networks, from single ones; monomial maps among matrices become matrices."""
    return concatenate([_as_batch(element) for element in elements])


def concatenate(elements: Sequence[SpaceElement]) -> SpaceElement:
    """The maps of several batches of networks as those of one batch; see `stack`."""
    monomials = [element for element in elements if isinstance(element, Monomial)]
    if len(monomials) < len(elements):
        dtype = next(element.weight.dtype for element in elements if isinstance(element, LinearMap))
        return LinearMap(torch.cat([element.matrix(dtype) for element in elements]))
    perm = torch.cat([element.perm for element in monomials])
    known = [element.scale for element in monomials if element.scale is not None]
    if not known:
        return Monomial(perm)
    scales = [known[0].new_ones(m.perm.shape) if m.scale is None else m.scale for m in monomials]
    return Monomial(perm, torch.cat(scales))


def _as_batch(element: SpaceElement) -> SpaceElement:
    if isinstance(element, LinearMap):
        return LinearMap(element.weight.unsqueeze(0))
    return Monomial(element.perm.unsqueeze(0), None if element.scale is None else element.scale.unsqueeze(0))
