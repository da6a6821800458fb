"""Heads compared by what no matrix inside them changes: the products Q^T K and O V.

Two heads that differ by an invertible matrix between queries and keys have different weights and one product.  So heads
are paired before anything is known of the matrices inside them: by the cosines of their products, each summed over the
kinds of products that a head has, once the stream of one network is moved by the current estimate.  Biases stand
beside the weights as one more column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from graphws.graph import Parameter, Weights
from graphws.graph.element import SpaceElement
from graphws.operations.merge import HeadPair, head_pairs

Products = dict[str, list[Tensor]]
"""For each space of heads its products, each (heads, numbers written, numbers read)."""


def head_products(weights: Weights, known: Mapping[str, SpaceElement] | None = None) -> Products:
    """The products of every head of one network.

    Law: elements of the group that act inside heads do not change them.

    Args:
        weights: A batch of one.
        known: Maps of spaces outside of the heads, which act first.
    """
    found: Products = {}
    for pair in head_pairs(weights.graph):
        parent = pair.space.parent
        hosts = {pair.head(p).space for p in (*pair.into, *pair.out, *pair.into_bias, *pair.out_bias)}
        if parent is None or hosts != {parent}:
            continue
        left = _columns(weights, pair, [*pair.into, *pair.into_bias], known or {})
        right = _columns(weights, pair, [*pair.out, *pair.out_bias], known or {})
        found.setdefault(parent, []).append(left.mT @ right)
    return found


def head_worth(first: Products, second: Products, heads: str) -> Tensor:
    """How well head i of the one answers to head j of the other, (heads, heads): sums of products' cosines."""
    pairs = zip(first[heads], second[heads], strict=True)
    return torch.stack([torch.einsum("ixy,jxy->ij", _unit(ours), _unit(theirs)) for ours, theirs in pairs]).sum(0)


def _unit(products: Tensor) -> Tensor:
    """All heads of one network together have norm 1, so that a head that does much counts for much."""
    found: Tensor = products / products.norm().clamp_min(torch.finfo(products.dtype).tiny)
    return found


def _columns(
    weights: Weights, pair: HeadPair, parameters: Sequence[Parameter], known: Mapping[str, SpaceElement]
) -> Tensor:
    """What stands on one side of a space inside heads, (heads, d, columns)."""
    columns = []
    for parameter in parameters:
        tensor = weights[parameter.name]
        for k, axis in enumerate(parameter.axes):
            if axis.space != pair.space.name and axis.space in known:
                tensor = known[axis.space].apply(tensor, k + 1, axis.power)
        moved = Weights(weights.graph, {**weights.tensors, parameter.name: tensor})
        columns.append(pair.columns(moved, parameter, pair.head(parameter))[0])
    return torch.cat(columns, -1)
