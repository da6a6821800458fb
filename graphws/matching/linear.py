"""Linear maps between spaces: the nearest orthogonal one, and the best invertible one.

A space without an activation may be moved by any invertible matrix.  In the gauge of `graphws.matching.unit_gauge` the
matrices that matter are orthogonal, and the best is the polar factor of the scores (Procrustes).  Outside it, incoming
tensors want A ≈ k B and outgoing ones A k ≈ B; both at once is a Sylvester equation with symmetric coefficients.
"""

from __future__ import annotations

import scipy.linalg
import torch
from torch import Tensor

_NEARLY = 0.5
"""A gap ‖QᵀQ - 1‖ that `_STEPS` steps close: a step leaves at most 3/4 of its square and 1/4 of its cube."""
_STEPS = 6


def nearest_orthogonal(scores: Tensor) -> Tensor:
    """The orthogonal Q that maximises <Q, C>: the polar factor of C, for (…, n, n) scores.

    What is nearly orthogonal is corrected by Q <- Q (3 - QᵀQ) / 2, which squares the gap at each step; all
    its singular values are alike, on which a singular value decomposition may not converge.
    """
    eye = torch.eye(scores.shape[-1], dtype=scores.dtype, device=scores.device)
    gap, found = scores.mT @ scores - eye, scores
    if gap.numel() and float(gap.square().sum((-2, -1)).amax()) < _NEARLY**2:
        for _ in range(_STEPS):
            found = found @ (3 * eye - found.mT @ found) / 2
        return found
    try:
        left, _, right = torch.linalg.svd(scores)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        left, right = _decomposed(scores)
    return torch.matmul(left, right)


def _decomposed(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Singular vectors by the slower algorithm, which converges where the usual one does not."""
    flat = scores.detach().cpu().reshape(-1, *scores.shape[-2:])
    parts = [scipy.linalg.svd(table.numpy(), lapack_driver="gesvd") for table in flat]
    left, right = (torch.stack([torch.from_numpy(part[k]) for part in parts]).to(scores) for k in (0, 2))
    return left.reshape(scores.shape), right.reshape(scores.shape)


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
