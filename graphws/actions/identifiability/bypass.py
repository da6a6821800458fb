"""Two ways in which a nonlinear layer can be linear, and how much of it is.

* *Bypass.*  ReLU, GELU, SiLU, softplus and others obey σ(x) - σ(-x) = c x.  Two neurons with opposite rows then carry a
  linear function through the layer, and any matrix, not only a permutation, may act on it (paper I, section 5.1).
* *Small signals.*  A neuron that stays where its activation is nearly straight is nearly linear, whatever the
  activation: ν = 1 - corr(z, σ(z))² over probe data is 0 for a linear neuron.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.graph import Operation


def bypass_constant(operation: Operation) -> float | None:
    """c, where σ(x) - σ(-x) = c x for all x and σ is not odd; None otherwise.

    >>> bypass_constant(Operation("gelu", ("x",), ("y",)))
    1.0
    >>> bypass_constant(Operation("tanh", ("x",), ("y",))) is None
    True
    """
    x = torch.linspace(0.05, 8, 200, dtype=torch.float64)
    above, below = operation(x), operation(-x)
    if torch.allclose(above, -below, atol=1e-12):
        return None
    ratio = (above - below) / x
    if float(ratio.max() - ratio.min()) > 1e-6 or float(ratio.abs().max()) < 1e-6:
        return None
    return round(float(ratio.mean()), 6)


def negated_share(rows: Tensor, cosine: float = 0.9) -> float:
    """Share of the neurons whose row of weights has a negated copy in the layer: cosine below -`cosine`."""
    unit = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    return float(((unit @ unit.mT).amin(dim=1) < -cosine).double().mean())


def nonlinearity(before: Tensor, after: Tensor) -> Tensor:
    """ν = 1 - corr(z, σ(z))² of every neuron, from values (points, neurons) before and after the activation.

    A neuron that does not vary at all has ν = 0: nothing tells it from a linear one.
    """
    z, h = before.double() - before.double().mean(0), after.double() - after.double().mean(0)
    together = (z * h).sum(0) ** 2
    apart = z.square().sum(0) * h.square().sum(0)
    return torch.where(apart > 0, 1 - together / apart.clamp_min(1e-300), 0.0).clamp(0, 1)
