"""Maps of flattened tokens and pictures as a permutation of positions and a map of features, ρ = τ ⊗ φ."""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.errors import UsageError
from graphws.graph import LinearMap, Monomial
from graphws.graph.element import SpaceElement


def reordered(element: SpaceElement, order: Tensor) -> SpaceElement:
    """The same map when coordinates are listed in another order: number i is the old coordinate order[i]."""
    if isinstance(element, LinearMap):
        return LinearMap(element.weight[order][:, order])
    back = order.argsort()
    return Monomial(back[element.perm[order]], None if element.scale is None else element.scale[order])


def factor(element: SpaceElement, tokens: int, features: int, what: str = "tokens") -> tuple[Tensor, SpaceElement]:
    """τ and φ with element = τ ⊗ φ.

    Raises:
        UsageError: Where the map is no such product.
    """
    refused = UsageError(f"the group does not move whole {what} alike: it must permute them and act on all in one way")
    if isinstance(element, LinearMap):
        blocks = element.weight.reshape(tokens, features, tokens, features).transpose(1, 2)
        tau = blocks.abs().sum((2, 3)).argmax(1)
        phi = blocks[0, tau[0]]
        whole = torch.zeros_like(blocks)
        whole[torch.arange(tokens), tau] = phi
        if not torch.allclose(whole, blocks, atol=1e-9):
            raise refused
        return tau, LinearMap(phi)
    perm = element.perm.reshape(tokens, features)
    tau, inner = perm[:, 0] // features, perm % features
    alike = bool((perm // features == tau.unsqueeze(1)).all()) and bool((inner == inner[0]).all())
    scale = None if element.scale is None else element.scale.reshape(tokens, features)
    if not alike or (scale is not None and bool((scale != scale[0]).any())):
        raise refused
    return tau, Monomial(inner[0], None if scale is None else scale[0])
