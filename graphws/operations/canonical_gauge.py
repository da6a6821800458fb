"""Gauge fixing: one representative of all networks that differ by signs or scales of their neurons.

The rich actions of a graph leave the function alone: a neuron of an odd activation may change the sign of everything it
reads and writes, one of a positively homogeneous activation may be scaled up before and down after.  Whoever reads the
weights need not learn that, if every network is first moved to a *canonical gauge*:

* signed space: every neuron's bias is ≥ 0.  Where a bias is exactly 0, or there is none, the sum of the neuron's
  incoming weights is ≥ 0, and where that is 0 or may not be used, the sum of its outgoing weights;
* positively scaling space: every neuron's incoming weights have norm 1.  Where they are all 0 the bias has; a neuron
  with neither is left alone;
* monomial space: both, scales first.

The move is the action of a group element, so it changes the function only by rounding.  It commutes with permutations
(a neuron's sign and scale do not depend on the order of the others), which leaves the permutations for equivariant
layers, and it is the same for all networks of one gauge class.

A sum over the neurons of another space means something only once that space's own signs are fixed.  So biases decide
first, everywhere; then the remaining neurons in the order of the graph's spaces, from sums over fixed spaces alone.
A parameter that a space labels twice (a residual d × d weight) decides nothing: its diagonal does not feel signs.  Nor
do counters and masks, which are no floats.

A space of a *linear* action (the keys of a head, a bottleneck without activation) is left as it is: a representative
of all invertible matrices would not commute with permutations, so equivariant layers could not follow.
`graphws.operations.gauge_left` says which spaces these are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphws.graph.element import Monomial, SpaceElement
from graphws.graph.group import GroupElement
from graphws.graph.network import NetworkGraph
from graphws.graph.parameter import Parameter
from graphws.graph.space import Action, Space
from graphws.graph.weights import Weights

_SIGNED = (Action.SIGNED, Action.MONOMIAL)
_SCALED = (Action.SCALING, Action.MONOMIAL)


def canonical_gauge(weights: Weights) -> Weights:
    """The same functions, in the canonical gauge.

    Laws: ``forward`` is unchanged; ``canonical_gauge`` of the result is the result; it commutes with permutations;
    networks that differ by signs and scales that the group allows get the same weights (all to rounding).  Matrices of
    linear spaces are not among these: see `gauge_left`.
    """
    return canonical_element(weights).act(weights)


def gauge_left(graph: NetworkGraph) -> tuple[str, ...]:
    """Names of the spaces whose action is richer than permutations and that `canonical_gauge` leaves as they are."""
    return tuple(space.name for space in graph.spaces if space.moves and space.action is Action.LINEAR)


def canonical_element(weights: Weights) -> GroupElement:
    """The group element, one for each network, that moves `weights` to the canonical gauge."""
    graph = weights.graph
    scales: dict[str, SpaceElement] = {}
    for space in graph.spaces:
        if space.moves and space.action in _SCALED:
            here = GroupElement(graph, scales).act(weights)
            scales[space.name] = _monomial(graph, space, _unit(here, space))
    element = GroupElement(graph, scales)
    return _signs(element.act(weights)) @ element


def _monomial(graph: NetworkGraph, space: Space, scale: Tensor) -> Monomial:
    perm = torch.arange(graph.extent(space.name), device=scale.device)
    return Monomial(perm.expand(scale.shape), scale)


def _touching(weights: Weights, space: Space) -> list[tuple[Parameter, int, int]]:
    """Parameters of floats that the whole space labels once, with the position and power of that axis."""
    found = []
    for parameter in weights.graph.parameters:
        if not weights[parameter.name].is_floating_point():
            continue
        places = [k for k, axis in enumerate(parameter.axes) if axis.space == space.name and not axis.inner]
        if len(places) == 1:
            found.append((parameter, places[0], parameter.axes[places[0]].power))
    return found


def _neurons(tensor: Tensor, axis: int) -> Tensor:
    """(batch, neurons, everything else)."""
    return tensor.movedim(axis + 1, 1).flatten(2) if tensor.ndim > 2 else tensor.unsqueeze(2)


def _unit(weights: Weights, space: Space) -> Tensor:
    """What to multiply each neuron by so that its incoming norm is 1, (batch, extent)."""
    norms = []
    for kind in ("weight", "bias"):
        squares = [
            _neurons(weights[parameter.name], axis).square().sum(2)
            for parameter, axis, power in _touching(weights, space)
            if power == 1 and (parameter.kind == "bias") == (kind == "bias")
        ]
        if squares:
            norms.append(torch.stack(squares).sum(0).sqrt())
    scale = torch.ones(weights.batch, weights.graph.extent(space.name), dtype=weights.floating, device=weights.device)
    for norm in reversed(norms):  # weights last: they decide wherever they can
        scale = torch.where(norm > 0, 1 / norm, scale)
    return scale


def _signs(weights: Weights) -> GroupElement:
    """The element of signs that fixes every signed space of weights whose scales are fixed."""
    graph = weights.graph
    spaces = [space for space in graph.spaces if space.moves and space.action in _SIGNED]
    signs = {
        space.name: torch.zeros(weights.batch, graph.extent(space.name), dtype=weights.floating, device=weights.device)
        for space in spaces
    }
    for space in spaces:
        for parameter, axis, power in _touching(weights, space):
            if parameter.kind == "bias" and power % 2 and not _others(graph, parameter, space):
                _decide(signs[space.name], _neurons(weights[parameter.name], axis).sum(2))
    unfixed = {space.name for space in spaces if _undecided(signs[space.name], space, weights)}
    for space in spaces:
        if space.name not in unfixed:
            continue
        fixed = GroupElement(
            graph, {name: _monomial(graph, graph.space(name), _or_one(s)) for name, s in signs.items()}
        )
        here = fixed.act(weights)
        touching = [entry for entry in _touching(weights, space) if entry[0].kind != "bias" and entry[2] % 2]
        for parameter, axis, _ in sorted(touching, key=lambda entry: entry[2] < 0):  # incoming first
            if not _others(graph, parameter, space) & unfixed:
                _decide(signs[space.name], _neurons(here[parameter.name], axis).sum(2))
        unfixed.discard(space.name)
    return GroupElement(graph, {space.name: _monomial(graph, space, _or_one(signs[space.name])) for space in spaces})


def _undecided(signs: Tensor, space: Space, weights: Weights) -> bool:
    """Whether biases leave a sign of a space open.

    A program that is exported cannot look: it takes a space for decided where biases can decide it.
    """
    if torch.compiler.is_exporting():
        biases = [entry for entry in _touching(weights, space) if entry[0].kind == "bias"]
        return not any(power % 2 and not _others(weights.graph, bias, space) for bias, _, power in biases)
    return bool((signs == 0).any())


def _others(graph: NetworkGraph, parameter: Parameter, space: Space) -> set[str]:
    """The other signed spaces of a parameter."""
    names = {name for name in parameter.spaces if name != space.name}
    return {name for name in names if graph.space(name).moves and graph.space(name).action in _SIGNED}


def _decide(signs: Tensor, sums: Tensor) -> None:
    """Fills the signs that are still 0 from sums."""
    signs.copy_(torch.where(signs == 0, sums.sign(), signs))


def _or_one(signs: Tensor) -> Tensor:
    return torch.where(signs == 0, torch.ones_like(signs), signs)
