"""One gauge for both networks, also where spaces lean on each other.

`graphws.matching.matching_gauge` fixes space after space, each by what is written into it.  In a residual stream that
does not come to rest: the layers that read the stream decide its scale, and their own scales are fixed by what the
stream brings.  For such graphs this module takes the weights of *least norm* among all that differ by scales and linear
maps.  They exist and are unique up to signs, permutations and orthogonal maps (the theorem of Kempf and Ness), and at
them every moment map of the norm vanishes: incoming and outgoing squares balance,

    Σ power · ‖w_axis‖² = 0 for every neuron,        Σ_{power 1} W W^T = Σ_{power -1} W W^T for every linear space.

Space by space both have closed or one-dimensional solutions, each of which lowers the norm.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.graph import Action, GroupElement, LinearMap, Monomial, NetworkGraph, Parameter, Space, Weights
from graphws.graph.element import SpaceElement
from graphws.matching import matching_gauge

_AT_REST = 1e-10
_FREE = (Action.SCALING, Action.MONOMIAL, Action.LINEAR)


def settled_gauge(weights: Weights) -> GroupElement:
    """The element that moves one network to a gauge that is at rest: `matching_gauge` where it is, else least norm."""
    element = matching_gauge(weights)
    moved = element.act(weights)
    return element if _change(moved, matching_gauge(moved).act(moved)) < _AT_REST else least_norm_gauge(weights)


def averaging_gauge(weights: Weights, settled: GroupElement | None = None) -> GroupElement:
    """The element that moves one network to the gauge in which means are taken: least norm, from a settled gauge.

    Law: as `least_norm_gauge`; spaces that this leaves alone stand in the settled gauge.

    Args:
        weights: A batch of one.
        settled: Its `settled_gauge`, where that is known.
    """
    first = settled_gauge(weights) if settled is None else settled
    return least_norm_gauge(first.act(weights)) @ first if is_free(weights.graph) else first


def is_free(graph: NetworkGraph) -> bool:
    """Whether some space has scales or bases that no function tells apart."""
    return any(space.moves and space.action in _FREE for space in graph.spaces)


def least_norm_gauge(weights: Weights, sweeps: int = 500) -> GroupElement:
    """The element that moves one network to least norm, by scales and symmetric linear maps.

    Law: weights that differ by an element of the group come out alike up to signs, permutations and orthogonal maps.
    A neuron without incoming or without outgoing weights is left alone, and so is a linear space without full rank on
    both sides; one with weights on one side only gets orthonormal ones there.

    Args:
        weights: A batch of one.
        sweeps: At most so many rounds over the spaces.
    """
    graph = weights.graph
    element, moved = GroupElement(graph), weights
    rich = [s for s in graph.spaces if s.moves and s.action in _FREE]
    for _ in range(sweeps):
        before = moved
        for space in rich:
            found = _linear(moved, space) if space.action is Action.LINEAR else _scales(moved, space)
            if found is not None:
                step = GroupElement(graph, {space.name: found})
                element, moved = step @ element, step.act(moved)
        if _change(before, moved) < 64 * torch.finfo(weights.floating).eps:
            break
    return element


def _change(first: Weights, second: Weights) -> float:
    return max(
        (float((x - second[n]).norm() / x.norm().clamp_min(torch.finfo(x.dtype).tiny)) for n, x in first.items()),
        default=0.0,
    )


def _axes(weights: Weights, space: Space) -> list[tuple[int, Tensor]]:
    """Power and (elements, everything else) of each axis that the space labels, but for those that do not scale."""
    found = []
    for parameter in weights.graph.parameters:
        for k, axis in enumerate(parameter.axes):
            if axis.space == space.name and axis.power:
                tensor = weights[parameter.name]
                rows = _inside(weights, parameter, k) if axis.inner else tensor.movedim(k + 1, 1)
                found.append((axis.power, rows.reshape(rows.shape[1], -1)))
    return found


def _inside(weights: Weights, parameter: Parameter, k: int) -> Tensor:
    """A tensor with an inner axis as (1, all children, everything else): parents and children come to one axis."""
    graph = weights.graph
    space, host = graph.space(parameter.axes[k].space), graph.host(parameter, k)
    assert host is not None
    assert space.parent is not None
    apart = weights[parameter.name].movedim((host + 1, k + 1), (1, 2))
    split: Tensor = apart.unflatten(1, (graph.extent(space.parent), -1)).transpose(2, 3)
    return split.flatten(1, 2)


def _scales(weights: Weights, space: Space) -> SpaceElement | None:
    """The scales at which Σ_p ‖w_p‖² s^(2p) is least, neuron by neuron: Newton's method in log s, which is convex."""
    axes = _axes(weights, space)
    if not axes:
        return None
    powers = torch.tensor([float(p) for p, _ in axes], dtype=weights.dtype, device=weights.device)
    squares = torch.stack([rows.square().sum(1) for _, rows in axes])
    both = (squares[powers > 0].sum(0) > 0) & (squares[powers < 0].sum(0) > 0)
    log = torch.zeros_like(squares[0])
    for _ in range(30):
        terms = squares * torch.exp(2 * powers.unsqueeze(1) * log)
        slope, bend = powers @ terms, 2 * powers.square() @ terms
        log = log - torch.where(
            both, slope / bend.clamp_min(torch.finfo(bend.dtype).tiny), torch.zeros_like(log)
        ).clamp(-1, 1)
    twice = any(p.spaces.count(space.name) > 1 for p in weights.graph.parameters)
    log = log / 2 if twice else log  # both ends of such a tensor move at once
    return Monomial(torch.arange(len(log), device=log.device), torch.exp(log))


def _linear(weights: Weights, space: Space) -> SpaceElement | None:
    """The symmetric k with k P k = k⁻¹ Q k⁻¹, where P and Q are the squares of what is written and read."""
    grams: dict[int, Tensor] = {}
    for power, rows in _axes(weights, space):
        blocks = rows.reshape(-1, space.size, rows.shape[1])
        grams[power] = grams.get(power, 0) + blocks @ blocks.mT
    if not grams or not set(grams) <= {1, -1} or not all(_full(gram) for gram in grams.values()):
        return None
    if len(grams) == 1:  # matching can read one side only: unit squares, as in the other gauge
        ((power, gram),) = grams.items()
        return LinearMap(torch.block_diag(*_power(gram, -0.5 * power)))
    root, back = _power(grams[1], 0.5), _power(grams[1], -0.5)
    square = back @ _power(root @ grams[-1] @ root, 0.5) @ back  # the geometric mean of P⁻¹ and Q
    return LinearMap(torch.block_diag(*_power(square, 0.5)))


def _full(gram: Tensor) -> bool:
    values = torch.linalg.eigvalsh(gram)
    return bool((values[..., 0] > values[..., -1] * 1e-10).all())


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
    return torch.matmul(vectors * values.clamp_min(0).pow(exponent).unsqueeze(-2), vectors.mT)
