"""Linear spaces: what is written into them, or read from them, may span fewer dimensions than they have.

Nothing pointwise happens in a linear space (a hidden layer without activation, the dimensions of an attention head), so
any basis will do.  The space shrinks to the span of what is written; then to the span of what is read of that; each
time to the same number of dimensions in every parent.  For W₂ W₁ this leaves rank(W₂ W₁) dimensions: the submodel of a
linear network (paper I, section 5.1), and the low-rank heads of section 5.2.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from graphws.actions.reduction.rules import typical
from graphws.actions.reduction.shrink import resized
from graphws.actions.reduction.slices import Place, Tensors
from graphws.graph import NetworkGraph


def own_places(graph: NetworkGraph, space: str) -> list[Place]:
    """The axes that the space itself labels."""
    return [
        Place(parameter.name, k, axis.power, space)
        for parameter in graph.parameters
        for k, axis in enumerate(parameter.axes)
        if axis.space == space
    ]


def spans(
    graph: NetworkGraph, tensors: Tensors, space: str, written: bool, tolerance: float
) -> tuple[Tensor, float] | None:
    """A smaller space in which everything written into (or read from) a linear space lies.

    Returns:
        The orthonormal bases (parents, size, smaller), and the largest relative singular value that is left out; None
        where the space is full.
    """
    block = _block(graph, tensors, space, written)
    if block is None:
        return None
    left, values, _ = torch.linalg.svd(block, full_matrices=True)
    figures = _relative(values, graph.space(space).size)
    rank = max(1, int((figures > tolerance).sum(1).max()))
    if rank == graph.space(space).size:
        return None
    return left[:, :, :rank], float(figures[:, rank:].max())


def rank_figures(graph: NetworkGraph, tensors: Tensors, space: str, written: bool) -> Tensor:
    """The relative singular values of what is written into (or read from) a linear space: for each dimension the
    largest over parents, since all of them keep equally many."""
    block = _block(graph, tensors, space, written)
    if block is None:
        return torch.zeros(0, dtype=torch.float64)
    return _relative(torch.linalg.svdvals(block), graph.space(space).size).amax(0)


def _block(graph: NetworkGraph, tensors: Tensors, space: str, written: bool) -> Tensor | None:
    """(parents, size, numbers): one side of a linear space, every parameter in units of its typical row."""
    size = graph.space(space).size
    parents = graph.extent(space) // size
    blocks = []
    for place in own_places(graph, space):
        if place.written is written:
            rows = tensors[place.parameter].movedim(place.axis, 0)
            rows = rows.reshape(parents, size, -1)
            blocks.append(rows / typical(rows.flatten(0, 1).norm(dim=1)))
    return torch.cat(blocks, dim=2) if blocks else None


def _relative(values: Tensor, size: int) -> Tensor:
    """Singular values of every parent, as many as dimensions, over the largest of all."""
    values = torch.nn.functional.pad(values, (0, size - values.shape[-1]))
    return values / values.max().clamp_min(torch.finfo(values.dtype).tiny)


def project(graph: NetworkGraph, tensors: Tensors, space: str, bases: Tensor) -> tuple[NetworkGraph, dict[str, Tensor]]:
    """The graph and the parameters with the space in new, fewer coordinates.

    The bases are orthonormal, so what is written (power 1) and what is read (power -1) transform alike.
    """
    parents, size, rank = bases.shape
    edited = dict(tensors)
    for place in own_places(graph, space):
        rows = edited[place.parameter].movedim(place.axis, 0)
        shape = rows.shape
        made = bases.mT @ rows.reshape(parents, size, -1)
        edited[place.parameter] = made.reshape(parents * rank, *shape[1:]).movedim(0, place.axis)
    return resized(graph, replace(graph.space(space), size=rank)), edited


def block_diagonal(bases: Tensor) -> Tensor:
    """(parents, size, rank) bases as one (parents · size, parents · rank) matrix."""
    whole: Tensor = torch.block_diag(*bases)
    return whole
