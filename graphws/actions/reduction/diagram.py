"""The reduction of an MLP as a submodel in the sense of definition 3.2, to be put to the test.

`submodel_of` gives layers f_i and f̃_i and the maps α, α*, β, γ as functions; `graphws.actions.submodel.check_submodel`
evaluates the commuting diagram and the equivariance of α and α* on them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from graphws.actions.reduction.constants import Layer, layer_of
from graphws.actions.reduction.maps import SpaceMap
from graphws.actions.reduction.result import Reduction, _lift
from graphws.actions.submodel import Model, Submodel, identity, linear
from graphws.errors import GraphError
from graphws.graph import NetworkGraph, Weights
from graphws.graph.element import SpaceElement

Affine = tuple[Tensor, Tensor]


def chain_of(graph: NetworkGraph) -> list[tuple[str, Layer]]:
    """The hidden layers of an MLP, first to last, each with its space.

    Raises:
        GraphError: Where the graph is no chain of linear maps and activations.
    """
    found = [(s.name, layer) for s in graph.spaces if s.moves and (layer := layer_of(graph, s.name)) is not None]
    chained = all(list(before.readers) == [after.weight] for (_, before), (_, after) in itertools.pairwise(found))
    if not found or not chained or len(found[-1][1].readers) != 1 or len(found) != sum(s.moves for s in graph.spaces):
        raise GraphError("a diagram of layers needs an MLP: a chain of linear maps and activations")
    return found


def submodel_of(reduction: Reduction) -> Submodel:
    """The reduced network as a submodel of the original's architecture.

    Raises:
        GraphError: Where the network is no MLP.
    """
    chain = chain_of(reduction.source)
    maps = [reduction.maps[name] for name, _ in chain]
    layers: list[Callable[[Tensor, Affine], Tensor]] = [_affine(layer) for _, layer in chain]
    model = Model((*layers, _affine(None)))
    embeddings = [m.before for m in maps]
    inverses = [m.alpha_star for m in maps]
    betas = [
        _beta(embeddings[i] if i < len(maps) else None, inverses[i - 1] if i else None) for i in range(len(maps) + 1)
    ]
    return Submodel(
        model,
        model,
        (identity, *(linear(m.alpha) for m in maps), identity),
        (identity, *(linear(matrix) for matrix in inverses), identity),
        tuple(betas),
        (None, *(_gamma(m) for m in maps), None),
        _act,
        _act,
    )


def layer_parameters(weights: Weights) -> list[Affine]:
    """θ_1, …, θ_L of one MLP: pairs (W, b), zero where a layer has no bias."""
    chain = [layer for _, layer in chain_of(weights.graph)]
    last = next(iter(chain[-1].readers.items()))
    names = [*((layer.weight, layer.bias) for layer in chain), last]
    pairs = []
    for weight, bias in names:
        matrix = weights[weight][0].double()
        pairs.append((matrix, weights[bias][0].double() if bias else torch.zeros(len(matrix), dtype=torch.float64)))
    return pairs


def _affine(layer: Layer | None) -> Callable[[Tensor, Affine], Tensor]:
    def apply(x: Tensor, theta: Affine) -> Tensor:
        z = x @ theta[0].mT + theta[1]
        return z if layer is None else layer.value(z)

    return apply


def _beta(left: Tensor | None, right: Tensor | None) -> Callable[[Affine], Affine]:
    def beta(theta: Affine) -> Affine:
        weight = theta[0] if right is None else theta[0] @ right
        return (weight, theta[1]) if left is None else (left @ weight, left @ theta[1])

    return beta


def _gamma(found: SpaceMap) -> Callable[[SpaceElement], SpaceElement]:
    return lambda element: _lift(found, element)


def _act(space: int, symmetry: SpaceElement, x: Tensor) -> Tensor:
    return symmetry.apply(x, x.ndim - 1, 1)
