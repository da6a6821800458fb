"""The gauge for matching: unit neurons and orthonormal bases.

Scores compare numbers, so scales and bases that leave the function alone must be removed first.  In this gauge

* a neuron of a positively homogeneous activation has incoming norm 1;
* a linear space has incoming weights with W Wᵀ = 1, inside each head for a nested one (a QR gauge of the values); one
  that nothing writes has outgoing weights with OᵀO = 1.  Where W leaves directions unwritten, both sides are used:
  W Wᵀ + c (OᵀO)⁻¹ = 1 up to a factor, with a number c that no basis changes.

If a finite group acts on the inputs by orthogonal matrices and the network is exactly equivariant, every latent action
is then a signed permutation, or orthogonal on linear spaces: nothing is lost by looking only for those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from graphws.graph import Action, GroupElement, LinearMap, Monomial, Parameter, Space, Weights
from graphws.graph.element import SpaceElement


def matching_gauge(weights: Weights) -> GroupElement:
    """The group element that moves one network to the gauge for matching.

    Laws: ``forward`` of the moved weights is that of the old; scales are positive; applying it twice changes nothing
    more (to rounding).  Directions of a linear space that neither side determines are left alone.

    Args:
        weights: A batch of one, without axes that run inside parents (see `graphws.matching.scored_parameters`).
    """
    graph = weights.graph
    tensors = dict(weights.tensors)
    beside: dict[str, list[Parameter]] = {space.name: [] for space in graph.spaces}
    for parameter in graph.parameters:
        for name in set(parameter.spaces):
            beside[name].append(parameter)
    maps: dict[str, SpaceElement] = {}
    for space in graph.spaces:  # in order: a space's incoming norms depend on the gauge of the spaces before it
        if not space.moves or space.action in (Action.PERMUTATION, Action.SIGNED):
            continue
        incoming = _beside(tensors, beside[space.name], space, power=1)
        if space.action is Action.LINEAR:
            whitening = _whitening(incoming, _beside(tensors, beside[space.name], space, power=-1), space)
            if whitening is not None:
                maps[space.name] = LinearMap(whitening)
        elif incoming is not None:
            norm = incoming.norm(dim=1)
            scale = torch.where(norm > 0, 1 / norm, torch.ones_like(norm))
            maps[space.name] = Monomial(torch.arange(len(scale), device=scale.device), scale)
        if space.name in maps:
            for parameter in beside[space.name]:
                for k, axis in enumerate(parameter.axes):
                    if axis.space == space.name:
                        tensors[parameter.name] = maps[space.name].apply(tensors[parameter.name], k + 1, axis.power)
    return GroupElement(graph, maps)


def _beside(tensors: Mapping[str, Tensor], parameters: Sequence[Parameter], space: Space, power: int) -> Tensor | None:
    """Everything on the space's axes of one power, (extent, numbers): weights, or biases where there are none."""
    for biases in (False, True):
        rows = []
        for parameter in parameters:
            places = [k for k, axis in enumerate(parameter.axes) if axis.space == space.name]
            if len(places) != 1 or parameter.axes[places[0]].power != power or (parameter.kind == "bias") != biases:
                continue
            tensor = tensors[parameter.name]
            rows.append(tensor.movedim(places[0] + 1, 1).reshape(tensor.shape[places[0] + 1], -1))
        if rows:
            return torch.cat(rows, dim=1)
    return None


def _whitening(incoming: Tensor | None, outgoing: Tensor | None, space: Space) -> Tensor | None:
    """The symmetric k, block by block, after which the space's Gram matrix is 1 on the directions that it knows."""
    read = None if outgoing is None else _gram(outgoing, space)
    if incoming is None:
        return None if read is None else _blocks(_power(read, 0.5))
    gram = _gram(incoming, space)
    if read is not None:
        share = (gram * read).sum() / read.shape[:2].numel()  # tr(W Wᵀ OᵀO), which no basis changes
        both = _blank(gram).any(1) & ~_blank(read).any(1)
        gram[both] += share * torch.linalg.inv(read[both])
    return _blocks(_power(gram, -0.5))


def _blocks(parts: Tensor) -> Tensor:
    """(parents, d, d) as one block-diagonal matrix."""
    whole: Tensor = torch.block_diag(*parts)
    return whole


def _gram(rows: Tensor, space: Space) -> Tensor:
    """R Rᵀ inside each parent, (parents, d, d)."""
    blocks = rows.reshape(-1, space.size, rows.shape[1])
    return blocks @ blocks.mT


def _blank(gram: Tensor) -> Tensor:
    """Which eigenvalues are 0 to rounding, in ascending order, (parents, d)."""
    return _zeros(torch.linalg.eigvalsh(gram))


def _zeros(values: Tensor) -> Tensor:
    floor = values.amax(-1, keepdim=True) * 100 * values.shape[-1] * torch.finfo(values.dtype).eps
    return values <= floor


def _power(gram: Tensor, exponent: float) -> Tensor:
    """A power of a symmetric matrix; 1 on the directions where it is 0."""
    values, vectors = torch.linalg.eigh(gram)
    tiny = torch.finfo(values.dtype).tiny
    factor = torch.where(_zeros(values), torch.ones_like(values), values.clamp_min(tiny) ** exponent)
    powered: Tensor = vectors @ (factor.unsqueeze(-1) * vectors.mT)
    return powered
