"""How far a group moves what a layer reads, as a share of how far unrelated inputs are apart; at most 1.

What hardly moves a layer's input leaves every layer nearly equivariant, whatever its weights are: an exchange of two
inputs of a hundred, pictures that are nearly their own mirror image, a layer most of whose neurons stay.  So errors are
divided by the reach, and cosines are measured from it.  The reach of what is not moved at all is 1, since errors are 0
there anyway.

* On values: ‖ρ h - h‖ / (√2 ‖h - mean‖), over all that the layer starts from.
* In weights, for inputs of covariance Σ (1 where nothing is known): r² = 1 - tr(ρ Σ) / tr(Σ); over several axes the
  traces' shares are multiplied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from graphws.actions.computation.latent_values import centred_norm
from graphws.graph import Monomial, Parameter
from graphws.graph.element import SpaceElement

_STAYS = 1e-6
"""Reach below which nothing is moved but by rounding."""


def reach_of_values(pairs: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The reach of values (1, points, …, features), given as pairs of them and of their images."""
    gap, spread = 0.0, 0.0
    for value, image in pairs:
        if value.is_floating_point():
            gap += float((image - value).square().sum())
            spread += float(centred_norm(value)) ** 2
    return bounded(gap / (2 * spread) if spread > 0 else 0.0)


def squared_reach(parameter: Parameter, maps: Mapping[str, SpaceElement], moments: Mapping[str, Tensor]) -> float:
    """r² of what a parameter reads, between 0 and 2; 0 where it reads nothing that is moved."""
    stays = 1.0
    for axis in parameter.axes:
        if axis.power < 0 and axis.space in maps:
            stays *= _trace_share(maps[axis.space], moments.get(axis.space))
    return 1.0 - stays


def bounded(squared: float) -> float:
    """A reach from its square."""
    return 1.0 if squared <= _STAYS**2 else min(1.0, squared**0.5)


def bounded_squares(squared: Tensor) -> Tensor:
    """The squares of reaches, as `bounded` leaves them."""
    return torch.where(squared <= _STAYS**2, torch.ones_like(squared), squared.clamp(max=1.0))


def _trace_share(element: SpaceElement, moment: Tensor | None) -> float:
    """tr(ρ Σ) / tr(Σ)."""
    if isinstance(element, Monomial) and element.batch is None:
        rows = torch.arange(element.size, device=element.perm.device)
        scale = torch.ones(element.size) if element.scale is None else element.scale
        table = None if moment is None else moment.to(element.perm.device)
        picked = (element.perm == rows).double() if table is None else table[element.perm, rows].double()
        total = float(element.size if table is None else table.trace())
        return float((scale.to(picked) * picked).sum()) / total if total > 0 else 1.0
    table = torch.eye(element.size, dtype=torch.float64) if moment is None else moment.double().cpu()
    whole = float(table.trace())
    return float((element.matrix().double().cpu() * table.mT).sum()) / whole if whole > 0 else 1.0
