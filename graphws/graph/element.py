"""What one group element does to one space: a monomial map (permutation and scales) or an invertible matrix.

Conventions.  A monomial map sends a vector x over the space to ``x'[i] = scale[i] * x[perm[i]]``; a linear map sends it
to ``A x``.  An axis of power p (see `graphws.graph.Axis`) is scaled by ``scale[i]**p``; under a matrix, power 1 gets A
and power -1 its inverse transpose.  ``a.compose(b)`` is a after b.  Every tensor here may carry one leading batch
axis, for an element of its own per network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from graphws.errors import GraphError
from graphws.shown import Shown

LEAST_GATHERED = 4096
"""Numbers from which on entries of the last axis are gathered one by one, which is then faster than to select them."""
LEAST_OF_FAMILIES = 128
"""Sizes from which on a matrix is worth a look whether it consists of blocks."""


def _along(vector: Tensor, tensor: Tensor, axis: int) -> Tensor:
    """`vector` of shape (n,) or (batch, n), shaped to broadcast along `axis` of `tensor`."""
    shape = [1] * tensor.ndim
    shape[axis] = vector.shape[-1]
    if vector.ndim == 2:
        shape[0] = vector.shape[0]
    return vector.reshape(shape)


@dataclass(frozen=True, eq=False, repr=False)
class Monomial(Shown):
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

    def __str__(self) -> str:
        scaled = " with scales" if self.scale is not None else ""
        each = f", one for each of {self.batch} networks" if self.batch is not None else ""
        return f"permutation of {self.size}{scaled}{each}"

    def apply(self, tensor: Tensor, axis: int, power: int) -> Tensor:
        """Acts on one axis of a (batch, ...) tensor.

        Raises:
            GraphError: Where the axis has another length than the space.
        """
        if tensor.shape[axis] != self.size:
            raise GraphError(f"an axis of {tensor.shape[axis]} cannot follow a map of {self.size} elements")
        if self.perm.ndim == 1 and (axis % tensor.ndim < tensor.ndim - 1 or tensor.numel() < LEAST_GATHERED):
            moved = tensor.index_select(axis, self.perm)
        else:
            moved = tensor.gather(axis, _along(self.perm, tensor, axis).expand(tensor.shape))
        if self.scale is None or power == 0:
            return moved
        scale = _along(self.scale.to(tensor.dtype) ** power, tensor, axis)
        return moved.mul_(scale) if self.scale.ndim == 1 else moved * scale  # in place: tensors may be large

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


@dataclass(frozen=True, eq=False, repr=False)
class LinearMap(Shown):
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

    def __str__(self) -> str:
        each = f", one for each of {self.batch} networks" if self.batch is not None else ""
        return f"matrix of {self.size}{each}"

    def apply(self, tensor: Tensor, axis: int, power: int) -> Tensor:
        """Acts on one axis of a (batch, ...) tensor; defined for powers 1, -1 and 0."""
        if power == 0:
            return tensor
        if power not in (1, -1):
            raise GraphError(f"a general linear map cannot act on an axis of power {power}: only on 1, 0 and -1")
        if self._families is not None:
            rows, columns, blocks = self._families
            blocks = (blocks if power == 1 else torch.linalg.inv(blocks).mT).to(tensor.dtype)
            read = torch.movedim(tensor, axis, 0)[columns.flatten()]
            mixed = torch.bmm(blocks, read.reshape(*columns.shape, -1)).reshape(read.shape)
            return torch.movedim(mixed[rows.flatten().argsort()], 0, axis)
        weight = (self.weight if power == 1 else self._inverse.mT).to(tensor.dtype)
        if weight.ndim == 2:
            return torch.movedim(torch.tensordot(tensor, weight, dims=([axis], [1])), -1, axis)
        rows = torch.movedim(tensor, axis, 1)
        mixed = torch.bmm(weight, rows.reshape(*rows.shape[:2], -1))
        return torch.movedim(mixed.reshape(rows.shape), 1, axis)

    def compose(self, other: LinearMap) -> LinearMap:
        """self after other."""
        if self._families is not None and other.weight.ndim == 2:
            return LinearMap(self.apply(other.weight.unsqueeze(0), 1, 1).squeeze(0))
        return LinearMap(self.weight @ other.weight)

    def inverse(self) -> LinearMap:
        """The map that undoes this one."""
        return LinearMap(self._inverse)

    @cached_property
    def _inverse(self) -> Tensor:
        inverse: Tensor = torch.linalg.inv(self.weight)
        return inverse

    @cached_property
    def _families(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Rows (h, d), columns (h, d) and blocks (h, d, d) of a matrix that is all zero elsewhere.

        So are those of a space inside another, where the elements of one parent mix among themselves: acting block by
        block takes h times less.  None for any other matrix, and for one for each network.
        """
        if self.weight.ndim > 2 or self.size < LEAST_OF_FAMILIES or self.weight.is_meta:
            return None
        filled = self.weight != 0
        first = filled.to(torch.uint8).argmax(1)  # the columns of a family start at the same place for all of its rows
        counts = first.unique(return_counts=True)[1]
        if len(counts) < 2 or not bool((counts == counts[0]).all()):
            return None
        rows = first.argsort(stable=True).reshape(len(counts), -1)
        columns = filled[rows[:, 0]].nonzero()[:, 1]
        if columns.numel() != self.size:
            return None
        columns = columns.reshape(rows.shape)
        blocks = self.weight[rows.unsqueeze(2), columns.unsqueeze(1)]
        return (rows, columns, blocks) if blocks.count_nonzero() == filled.count_nonzero() else None

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
    if isinstance(first, LinearMap) and isinstance(second, LinearMap):
        return first.compose(second)
    if first.batch != second.batch:
        dtype = first.weight.dtype if isinstance(first, LinearMap) else second.matrix().dtype
        return LinearMap(first.matrix(dtype) @ second.matrix(dtype))
    if isinstance(first, LinearMap):  # columns in another order
        assert isinstance(second, Monomial)
        return LinearMap(_on_matrix(second.inverse(), first.weight, 2, -1))
    assert isinstance(second, LinearMap)
    return LinearMap(_on_matrix(first, second.weight, 1, 1))


def _on_matrix(element: Monomial, weight: Tensor, axis: int, power: int) -> Tensor:
    """Acts on rows (axis 1) or columns (axis 2) of a matrix, or of one for each network."""
    if weight.ndim == 3:
        return element.apply(weight, axis, power)
    return element.apply(weight.unsqueeze(0), axis, power).squeeze(0)


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
