"""The contrastive loss NT-Xent: cross entropy of finding, among all views of a batch, the other view of a network."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from graphws.layers.processes import rows_of_processes


def nt_xent(
    views: Float[Tensor, "batch 2 size"], temperature: float, together: bool = False
) -> Float[Tensor, " batch"]:
    r"""The loss of each network, the mean over its two views (Chen et al. 2020, equation 1; paper D, appendix J).

    Of the view i of a network, whose other view is j, it is

        -log( exp(cos(z_i, z_j) / τ) / Σ_{k ≠ i} exp(cos(z_i, z_k) / τ) ),

    k going over the 2N views of all N networks.  Where all views are the same, it is log(2N - 1).

    Args:
        views: Two vectors for each network.
        temperature: τ.
        together: Compare with the networks of all processes; every process must ask at the same point.  The gradient
            of the sum over processes is then that of the joined batch.
    """
    with torch.autocast(views.device.type, enabled=False):
        exact = views if views.dtype == torch.float64 else views.float()
        vectors = functional.normalize(exact, dim=-1)
        everyone, start = rows_of_processes(vectors) if together else (vectors, 0)
        scores = vectors.flatten(0, 1) @ everyone.flatten(0, 1).T / temperature
        own = torch.arange(len(scores), device=views.device) + 2 * start  # rows 2k and 2k + 1 are views of network k
        scores = scores.scatter(1, own[:, None], -torch.inf)
        losses: Tensor = functional.cross_entropy(scores, own ^ 1, reduction="none").unflatten(0, (-1, 2)).mean(1)
        return losses
