"""Linear maps between spaces: the nearest orthogonal one, and the best invertible one.

A space without an activation may be moved by any invertible matrix.  In the gauge of `graphws.matching.unit_gauge` the
matrices that matter are orthogonal, and the best is the polar factor of the scores (Procrustes).  Outside it, incoming
tensors want A ≈ k B and outgoing ones A k ≈ B; both at once is a Sylvester equation with symmetric coefficients.
"""

from __future__ import annotations

import torch
from torch import Tensor


def nearest_orthogonal(scores: Tensor) -> Tensor:
    """The orthogonal Q that maximises <Q, C>: the polar factor of C, for (…, n, n) scores."""
    left, _, right = torch.linalg.svd(scores)
    return torch.matmul(left, right)


def two_sided_least_squares(
    first_in: Tensor, second_in: Tensor, first_out: Tensor | None = None, second_out: Tensor | None = None
) -> Tensor:
    """The matrix k that minimises ‖A_in - k B_in‖² + ‖A_out k - B_out‖².

    Its normal equation k (B_in B_inᵀ) + (A_outᵀ A_out) k = A_in B_inᵀ + A_outᵀ B_out is solved by diagonalising both
    Gram matrices; directions that neither side sees get 0.

    Args:
        first_in: A_in, (n, numbers).
        second_in: B_in, the same shape.
        first_out: A_out, (numbers, n), or None.
        second_out: B_out, the same shape.

    Returns:
        Tensor: k, (n, n).
    """
    right, mixed = second_in @ second_in.mT, first_in @ second_in.mT
    left = torch.zeros_like(right)
    if first_out is not None and second_out is not None:
        left, mixed = first_out.mT @ first_out, mixed + first_out.mT @ second_out
    low, u = torch.linalg.eigh(left)
    high, v = torch.linalg.eigh(right)
    total = low.unsqueeze(1) + high.unsqueeze(0)
    floor = torch.finfo(total.dtype).eps * total.shape[0] * total.max().clamp_min(torch.finfo(total.dtype).tiny)
    rotated = u.mT @ mixed @ v
    solved = torch.where(total > floor, rotated / total.clamp_min(floor), torch.zeros_like(rotated))
    return torch.matmul(u @ solved, v.mT)
