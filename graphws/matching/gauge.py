"""The gauge for matching: unit neurons and orthonormal bases.

Scores compare numbers, so scales and bases that leave the function alone must be removed first.  In this gauge

* a neuron of a positively homogeneous activation has incoming norm 1;
* a linear space has incoming weights with W Wᵀ = 1, inside each head for a nested one (a QR gauge of the values); one
  that nothing writes has such outgoing weights.

If a finite group acts on the inputs by orthogonal matrices and the network is exactly equivariant, every latent action
is then a signed permutation, or orthogonal on linear spaces: nothing is lost by looking only for those.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.graph import Action, GroupElement, LinearMap, Monomial, NetworkGraph, Space, Weights
from graphws.graph.element import SpaceElement


def matching_gauge(weights: Weights) -> GroupElement:
    """The group element that moves one network to the gauge for matching.

    Laws: ``forward`` of the moved weights is that of the old; scales are positive; applying it twice changes nothing
    more (to rounding).  Directions of a linear space into which nothing is written are left alone.

    Args:
        weights: A batch of one.
    """
    graph = weights.graph
    maps: dict[str, SpaceElement] = {}
    for space in graph.spaces:  # in order: a space's incoming norms depend on the gauge of the spaces before it
        if not space.moves or space.action in (Action.PERMUTATION, Action.SIGNED):
            continue
        moved = GroupElement(graph, maps).act(weights)
        incoming = _beside(moved, space, power=1)
        if space.action is Action.LINEAR:
            rows = incoming if incoming is not None else _beside(moved, space, power=-1)
            if rows is not None:
                whitening = LinearMap(_whitening(rows, space))  # symmetric, so its inverse moves the other side by it
                maps[space.name] = whitening if incoming is not None else whitening.inverse()
        elif incoming is not None:
            norm = incoming.norm(dim=1)
            scale = torch.where(norm > 0, 1 / norm, torch.ones_like(norm))
            maps[space.name] = Monomial(torch.arange(len(scale), device=scale.device), scale)
    return GroupElement(graph, maps)


def _beside(weights: Weights, space: Space, power: int) -> Tensor | None:
    """Everything on the space's axes of one power, (extent, numbers): weights, or biases where there are none."""
    for biases in (False, True):
        rows = []
        for parameter in weights.graph.parameters:
            places = [k for k, axis in enumerate(parameter.axes) if axis.space == space.name]
            if len(places) != 1 or parameter.axes[places[0]].power != power or (parameter.kind == "bias") != biases:
                continue
            tensor = weights[parameter.name]
            rows.append(tensor.movedim(places[0] + 1, 1).reshape(tensor.shape[places[0] + 1], -1))
        if rows:
            return torch.cat(rows, dim=1)
    return None


def _whitening(incoming: Tensor, space: Space) -> Tensor:
    """The symmetric k, block by block, with (k W)(k W)ᵀ = 1 on the directions that W writes."""
    blocks = incoming.reshape(-1, space.size, incoming.shape[1])
    values, vectors = torch.linalg.eigh(blocks @ blocks.mT)
    floor = values.amax(-1, keepdim=True) * 100 * space.size * torch.finfo(values.dtype).eps
    factor = torch.where(values > floor, values.clamp_min(torch.finfo(values.dtype).tiny).rsqrt(), 1.0)
    mixed = vectors @ (factor.unsqueeze(-1) * vectors.mT)
    whole: Tensor = torch.block_diag(*mixed)
    return whole


def conjugated(graph: NetworkGraph, element: GroupElement, gauge: GroupElement) -> GroupElement:
    """The element that does before the gauge what `element` does after it: gauge⁻¹ · element · gauge."""
    assert element.graph == graph
    return gauge.inverse() @ element @ gauge
