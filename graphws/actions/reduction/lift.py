"""γ: a latent symmetry of the small network as one of the large (paper I, equation 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.actions.reduction.maps import SpaceMap
from graphws.errors import GraphError
from graphws.graph import LinearMap, Monomial
from graphws.graph.element import SpaceElement


def lift_neurons(found: SpaceMap, element: SpaceElement) -> Monomial:
    """γ on a set: the copies of an element move as a block, inactive elements stay.

    Raises:
        GraphError: On a matrix, or where elements with different numbers of copies are exchanged.
    """
    if isinstance(element, LinearMap):
        raise GraphError(f"space {found.space!r}: a matrix acts on a space of neurons")
    perm = torch.arange(found.size)
    scale = torch.ones(found.size, dtype=torch.float64)
    copies = [(found.copies == j).nonzero().flatten().tolist() for j in range(found.reduced)]
    for i, j in enumerate(element.perm.tolist()):
        if len(copies[i]) != len(copies[j]):
            raise GraphError(
                f"space {found.space!r}: elements {i} and {j} have {len(copies[i])} and {len(copies[j])} copies, which "
                "no symmetry of the large network exchanges"
            )
        factor = 1.0 if element.scale is None else float(element.scale[i])
        for target, origin in zip(copies[i], copies[j], strict=True):
            perm[target] = origin
            scale[target] = factor * found.scale[target] / found.scale[origin]
    return Monomial(perm, scale)


def lift_blocks(basis: Tensor, element: SpaceElement, families: int, kept: Tensor) -> LinearMap:
    """γ on the dimensions of heads, an element of GL(r) wr S of those that stayed as one of GL(d) wr S of all.

    U_p are the d x r columns of family p in the basis, N_p complete them to an orthonormal basis of ℝ^d.  A block k_pq,
    which takes family q to p, becomes U_p k_pq U_qᵀ + N_p N_qᵀ: a homomorphism, and again one block a row.

    Args:
        basis: (families · d, kept · r) orthonormal columns.
        element: The small network's map.
        families: Number of families before.
        kept: Which of them stayed, (kept,).
    """
    count = len(kept)
    small = element.matrix(basis.dtype).reshape(count, basis.shape[1] // count, count, -1)
    columns = basis.reshape(families, -1, count, basis.shape[1] // count)[kept, :, torch.arange(count)]
    rest = torch.linalg.qr(columns, mode="complete").Q[..., columns.shape[-1] :]
    size = columns.shape[1]
    whole = torch.eye(families * size, dtype=basis.dtype).reshape(families, size, families, size).clone()
    for p in range(count):
        whole[kept[p]] = 0.0
        for q in range(count):
            if bool((small[p, :, q] != 0).any()):
                block = columns[p] @ small[p, :, q] @ columns[q].mT + rest[p] @ rest[q].mT
                whole[kept[p], :, kept[q]] = block
    return LinearMap(whole.reshape(families * size, families * size))
