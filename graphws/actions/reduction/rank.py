"""Linear spaces: what is written into them, or read from them, may span fewer dimensions than they have.

Nothing pointwise happens in a linear space (a hidden layer without activation, the dimensions of an attention head), so
any basis will do.  The space shrinks to the span of what is written; then to the span of what is read of that; each
time to the same number of dimensions in every parent.  Where a parent uses fewer than the others, both sides are zero
in those that it does not use, so that nothing arbitrary stays.  For W₂ W₁ this leaves rank(W₂ W₁) dimensions: the
submodel of a linear network (paper I, section 5.1), and the low-rank heads of section 5.2.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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


@dataclass(frozen=True, eq=False)
class Span:
    """Fewer coordinates of a linear space that hold one side of it.

    Attributes:
        bases: (parents, size, smaller), orthonormal columns.
        used: (parents, smaller), which of them the parent needs; the others are there for the parents that need more.
        figure: The largest relative singular value that is left out.
    """

    bases: Tensor
    used: Tensor
    figure: float


def spans(graph: NetworkGraph, tensors: Tensors, space: str, written: bool, tolerance: float) -> Span | None:
    """A smaller space in which everything written into (or read from) a linear space lies.

    None where the space is full: every parent uses all dimensions, or none of the two sides uses the rest.
    """
    block = _block(graph, tensors, space, written)
    if block is None:
        return None
    size = graph.space(space).size
    left, values, _ = torch.linalg.svd(block, full_matrices=True)
    figures = _relative(values, size)
    used = figures > tolerance
    rank = max(1, int(used.sum(1).max()))
    if rank == size:
        other = _block(graph, tensors, space, not written)
        if other is None or bool(used.all()):
            return None
        idle = (left.mT @ other).norm(dim=2)[~used]
        if float(idle.max()) <= tolerance * float(other.norm()):
            return None
    return Span(left[:, :, :rank], used[:, :rank], float(figures.masked_fill(used, 0.0).max()))


def rank_table(graph: NetworkGraph, tensors: Tensors, space: str, written: bool) -> Tensor:
    """(parents, size): the singular values of what is written into (or read from) each parent's dimensions, over the
    largest of all; no rows where nothing is."""
    size = graph.space(space).size
    block = _block(graph, tensors, space, written)
    if block is None:
        return torch.zeros(0, size, dtype=torch.float64)
    return _relative(torch.linalg.svdvals(block), size)


def rank_figures(graph: NetworkGraph, tensors: Tensors, space: str, written: bool) -> Tensor:
    """For each dimension the largest relative singular value over parents, since all of them keep equally many."""
    table = rank_table(graph, tensors, space, written)
    return table.amax(0) if len(table) else table.flatten()


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


def completed(span: Span) -> Span:
    """The same coordinates and further ones, as many as there were: in those, the space keeps its size."""
    rest = span.bases.shape[1] - span.bases.shape[2]
    bases = torch.linalg.qr(span.bases, mode="complete").Q[:, :, span.bases.shape[2] :]
    idle = torch.zeros(len(bases), rest, dtype=torch.bool)
    return Span(torch.cat([span.bases, bases], 2), torch.cat([span.used, idle], 1), span.figure)


def project(graph: NetworkGraph, tensors: Tensors, space: str, span: Span) -> tuple[NetworkGraph, dict[str, Tensor]]:
    """The graph and the parameters with the space in new coordinates, zero in those that a parent does not use.

    The bases are orthonormal, so what is written (power 1) and what is read (power -1) transform alike.
    """
    parents, size, rank = span.bases.shape
    bases = span.bases * span.used.unsqueeze(1)
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
